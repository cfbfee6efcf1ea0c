//! The wall clock: moments at which something is due, and jumps.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::sys::wall_timer::WallTimer;

/// From how much on a step of the wall clock is a jump. Certificates begin and end with whole seconds.
const JUMP: SignedDuration = SignedDuration::from_secs(1);

/// How often the clocks are compared, beside the kernel's word that the wall clock was set.
const LOOK: Duration = Duration::from_secs(60);

/// The same where the system has no timer by the wall clock.
const LOOK_WITHOUT_TIMER: Duration = Duration::from_millis(500);

/// What has happened by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The moment that was waited for has come.
    Due,
    /// The clock has jumped.
    Jumped(Jump),
}

/// How far the wall clock has jumped; negative if it was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump(SignedDuration);

impl std::fmt::Display for Jump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let direction = if self.0.is_negative() {
            "back"
        } else {
            "forward"
        };
        let seconds = self.0.abs().as_secs_f64();
        write!(f, "{direction} by {seconds:.1} s")
    }
}

/// Two clocks, read at the same time.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    /// The time since the machine's start, which cannot be set and which goes on while it is suspended.
    steady: Duration,
    /// What the wall clock shows.
    wall: Timestamp,
}

impl Clocks {
    fn read() -> Self {
        let since_boot = clock_gettime(ClockId::Boottime);
        Self {
            steady: Duration::try_from(since_boot).unwrap_or_default(),
            wall: Timestamp::now(),
        }
    }

    /// Returns the jump of the wall clock between this reading and a later one, if there was one.
    fn jump_to(self, later: Self) -> Option<Jump> {
        let steady = later.steady.saturating_sub(self.steady);
        let steady = SignedDuration::try_from(steady).unwrap_or(SignedDuration::MAX);
        let step = later.wall.duration_since(self.wall).saturating_sub(steady);
        (step.abs() >= JUMP).then_some(Jump(step))
    }
}

/// Waits for moments of the wall clock, and notices its jumps.
#[derive(Debug)]
pub(super) struct Clock {
    /// `None` if the system has none.
    timer: Option<WallTimer>,
    last: Clocks,
}

impl Clock {
    /// Begins to compare the clocks.
    pub(super) fn new() -> Self {
        let timer = WallTimer::new();
        if let Err(error) = &timer {
            warn!(
                "the kernel cannot tell when the clock is set: {error}; proxyd checks the clock every half second instead"
            );
        }
        Self {
            timer: timer.ok(),
            last: Clocks::read(),
        }
    }

    /// Waits until the wall clock shows `due`, if that is given, or has jumped.
    pub(super) async fn next(&mut self, due: Option<Timestamp>) -> Moment {
        loop {
            let now = Clocks::read();
            if let Some(moment) = self.look(now, due) {
                return moment;
            }
            self.wait(now.wall, due).await;
        }
    }

    /// Returns what has happened by `now`; a jump is told once.
    fn look(&mut self, now: Clocks, due: Option<Timestamp>) -> Option<Moment> {
        if let Some(jump) = self.last.jump_to(now) {
            self.last = now;
            return Some(Moment::Jumped(jump));
        }
        due.filter(|due| *due <= now.wall).map(|_| Moment::Due)
    }

    /// Waits until `due`, or until the clocks should be compared.
    async fn wait(&mut self, now: Timestamp, due: Option<Timestamp>) {
        let at_the_latest = |pause| {
            let look = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
            due.map_or(look, |due| due.min(look))
        };
        if let Some(timer) = &self.timer {
            match timer.wait(at_the_latest(LOOK)).await {
                Ok(()) => return,
                Err(error) => warn!("the kernel no longer tells when the clock is set: {error}"),
            }
            self.timer = None;
        }
        let pause = at_the_latest(LOOK_WITHOUT_TIMER).duration_since(now);
        tokio::time::sleep(Duration::try_from(pause).unwrap_or_default()).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clocks(steady_ms: u64, wall_ms: i64) -> Clocks {
        Clocks {
            steady: Duration::from_millis(steady_ms),
            wall: Timestamp::from_millisecond(wall_ms).unwrap(),
        }
    }

    #[test]
    fn a_clock_that_goes_on_has_not_jumped() {
        let start = clocks(1_000, 1_700_000_000_000);
        assert_eq!(start.jump_to(start), None);
        assert_eq!(start.jump_to(clocks(3_601_000, 1_700_003_600_000)), None);
        // It is slewed, or stepped by less than a second.
        assert_eq!(start.jump_to(clocks(2_000, 1_700_000_001_999)), None);
    }

    #[test]
    fn a_jump_is_told_with_its_direction_and_once() {
        let mut clock = Clock {
            timer: None,
            last: clocks(1_000, 1_700_000_000_000),
        };
        let ahead = clocks(2_000, 1_700_003_601_000);
        let Some(Moment::Jumped(jump)) = clock.look(ahead, None) else {
            panic!("it has jumped");
        };
        assert_eq!(jump.to_string(), "forward by 3600.0 s");
        assert_eq!(clock.look(ahead, None), None);
        let back = clocks(2_500, 1_700_000_001_000);
        let Some(Moment::Jumped(jump)) = clock.look(back, None) else {
            panic!("it has jumped");
        };
        assert_eq!(jump.to_string(), "back by 3600.5 s");
    }

    #[test]
    fn small_steps_in_one_direction_are_a_jump_together() {
        let mut clock = Clock {
            timer: None,
            last: clocks(0, 1_700_000_000_000),
        };
        assert_eq!(clock.look(clocks(1_000, 1_700_000_001_600), None), None);
        let moment = clock.look(clocks(2_000, 1_700_000_003_200), None);
        assert!(matches!(moment, Some(Moment::Jumped(_))));
    }

    #[test]
    fn what_is_due_is_due_by_the_wall_clock() {
        let mut clock = Clock {
            timer: None,
            last: clocks(0, 1_700_000_000_000),
        };
        let due = Some(Timestamp::from_millisecond(1_700_000_005_000).unwrap());
        assert_eq!(clock.look(clocks(4_999, 1_700_000_004_999), due), None);
        let moment = clock.look(clocks(5_000, 1_700_000_005_000), due);
        assert_eq!(moment, Some(Moment::Due));
        // The jump is told first, and then what is due by it.
        let ahead = clocks(5_000, 1_800_000_000_000);
        assert!(matches!(clock.look(ahead, due), Some(Moment::Jumped(_))));
        assert_eq!(clock.look(ahead, due), Some(Moment::Due));
    }

    #[test]
    fn without_a_timer_it_waits_all_the_same() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            for timer in [None, WallTimer::new().ok()] {
                let mut clock = Clock {
                    timer,
                    last: Clocks::read(),
                };
                let due = Timestamp::now() + Duration::from_millis(50);
                assert_eq!(clock.next(Some(due)).await, Moment::Due);
                assert!(Timestamp::now() >= due);
            }
        });
    }

    proptest! {
        #[test]
        fn no_readings_overflow(
            steady in any::<(u64, u64)>(),
            wall in (-377_705_023_201_i64..253_402_207_200, -377_705_023_201_i64..253_402_207_200),
        ) {
            let at = |steady, wall| Clocks {
                steady: Duration::from_millis(steady),
                wall: Timestamp::from_second(wall).unwrap(),
            };
            let _ = at(steady.0, wall.0).jump_to(at(steady.1, wall.1));
        }
    }
}
