//! A clock that is cheap to read.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns the time since some moment before the machine's start, behind the true one by a tick of the kernel
/// at most (1 to 10 ms). It stands still while the machine sleeps (`CLOCK_MONOTONIC_COARSE`).
///
/// Read it once before the process is confined: the first call finds where the kernel has put the code that
/// reads the clock without a system call.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_goes_on_and_is_hardly_behind() {
        let (began, before) = (Instant::now(), now());
        while now() == before {
            assert!(began.elapsed() < Duration::from_secs(1));
        }
        assert!(now() > before);
    }
}
