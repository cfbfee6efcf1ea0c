//! A timer by the wall clock, which also wakes when that clock is set.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use jiff::Timestamp;
use rustix::{
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use tokio::io::unix::AsyncFd;

/// A timer by the wall clock (`timerfd_create(2)`).
///
/// A sleep of tokio's is a time of the monotonic clock, and would be early or late after the wall clock
/// was set.
#[derive(Debug)]
pub struct WallTimer(AsyncFd<OwnedFd>);

#[expect(
    deprecated,
    reason = "its successor is unsafe, for a promise that an owned descriptor keeps"
)]
fn register(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(timer)
}

impl WallTimer {
    /// Makes a timer. Fails without a descriptor that is free, and outside a runtime.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        Ok(Self(register(timer)?))
    }

    /// Waits until the wall clock shows `moment`, or is set.
    ///
    /// May be dropped and called again at any time; a setting of the clock in between is not lost.
    pub async fn wait(&self, moment: Timestamp) -> io::Result<()> {
        match timerfd_settime(self.0.get_ref(), absolute(), &once_at(moment)) {
            Ok(_) => {}
            // The clock was set since the last call (`timerfd_settime(2)`).
            Err(Errno::CANCELED) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|timer| match rustix::io::read(timer.as_fd(), &mut [0; 8]) {
                Ok(_) | Err(Errno::CANCELED) => Ok(()),
                Err(error) => Err(error.into()),
            });
            if let Ok(done) = read {
                return done;
            }
        }
    }
}

fn absolute() -> TimerfdTimerFlags {
    TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET
}

/// A time of zero would stop the timer, so the first nanosecond after it stands for all before it.
fn once_at(moment: Timestamp) -> Itimerspec {
    let nothing = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let first = Timestamp::UNIX_EPOCH + std::time::Duration::from_nanos(1);
    let moment = moment.max(first);
    Itimerspec {
        it_interval: nothing,
        it_value: Timespec {
            tv_sec: moment.as_second(),
            tv_nsec: moment.subsec_nanosecond().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wait_until(moment: Timestamp) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            WallTimer::new().unwrap().wait(moment).await.unwrap();
        });
    }

    #[test]
    fn it_waits_for_a_moment_and_not_for_one_that_has_passed() {
        let moment = Timestamp::now() + Duration::from_millis(50);
        wait_until(moment);
        assert!(Timestamp::now() >= moment);
        wait_until(Timestamp::now() - Duration::from_secs(1));
        wait_until(Timestamp::MIN);
    }

    #[test]
    fn a_wait_that_was_dropped_leaves_nothing_behind() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let timer = WallTimer::new().unwrap();
            let far = Timestamp::now() + Duration::from_secs(3600);
            let dropped = tokio::time::timeout(Duration::ZERO, timer.wait(far)).await;
            assert!(dropped.is_err());
            let near = Timestamp::now() + Duration::from_millis(20);
            timer.wait(near).await.unwrap();
            assert!(Timestamp::now() >= near);
            let again = tokio::time::timeout(Duration::ZERO, timer.wait(far)).await;
            assert!(again.is_err());
        });
    }
}
