//! Numbers of workers that are not used again, not even by the daemon's next start.

use jiff::Timestamp;

/// Makes the origins of workers, with which the ids of their sessions begin.
#[derive(Debug, Default)]
pub(super) struct Origins {
    last: u64,
}

impl Origins {
    /// Returns the origin of a worker that is started `now`: microseconds since 1970, or one more than the last
    /// if the clock has not gone on since that.
    pub(super) fn next(&mut self, now: Timestamp) -> u64 {
        let now = u64::try_from(now.as_microsecond()).unwrap_or(0);
        self.last = now.max(self.last + 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_workers_have_the_same_though_the_clock_is_set_back() {
        let mut origins = Origins::default();
        let at = |microseconds| Timestamp::from_microsecond(microseconds).unwrap();
        let all = [100, 100, 90, -5, 200].map(|it| origins.next(at(it)));
        assert_eq!(all, [100, 101, 102, 103, 200]);
    }
}
