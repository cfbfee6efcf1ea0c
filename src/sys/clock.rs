//! Clocks that the standard library does not read.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns the time since some moment before the machine's start, behind the true one by a tick of the kernel
/// at most (1 to 10 ms). It stands still while the machine sleeps (`CLOCK_MONOTONIC_COARSE`).
///
/// Read it once before the process is confined: the first call finds where the kernel has put the code that
/// reads the clock without a system call.
pub fn coarse() -> Duration {
    duration(clock_gettime(ClockId::MonotonicCoarse))
}

/// Returns the time since the machine was started, also that for which it slept (`CLOCK_BOOTTIME`), by which
/// processes can compare when something was.
pub fn since_boot() -> Duration {
    duration(clock_gettime(ClockId::Boottime))
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_goes_on_and_is_hardly_behind() {
        let (began, before) = (Instant::now(), coarse());
        while coarse() == before {
            assert!(began.elapsed() < Duration::from_secs(1));
        }
        assert!(coarse() > before);
    }
}
