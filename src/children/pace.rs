//! How much of something a child may cause in a second.

use std::time::{Duration, Instant};

/// The time over which an amount is limited.
const WINDOW: Duration = Duration::from_secs(1);

/// What a child has caused lately of something that costs the supervisor.
#[derive(Debug)]
pub(super) struct Pace {
    most: u64,
    since: Instant,
    used: u64,
}

impl Pace {
    /// Allows `most` in a second.
    pub(super) fn new(most: u64, now: Instant) -> Self {
        Self {
            most,
            since: now,
            used: 0,
        }
    }

    /// Takes `amount` if that much is left; otherwise returns when there is more.
    pub(super) fn take(&mut self, amount: u64, now: Instant) -> Result<(), Instant> {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.used = 0;
        }
        // What is larger than all that is allowed in a second takes a second of its own.
        if self.used > 0 && self.used.saturating_add(amount) > self.most {
            return Err(self.since + WINDOW);
        }
        self.used = self.used.saturating_add(amount);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_second_has_more_than_is_allowed_and_each_wait_ends(
            steps in prop::collection::vec((1_u64..30, 0_u64..400), 1..100),
        ) {
            let begin = Instant::now();
            let mut pace = Pace::new(20, begin);
            let mut now = begin;
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (amount, wait) in steps {
                now += Duration::from_millis(wait);
                if let Err(later) = pace.take(amount, now) {
                    prop_assert!(later > now && later <= now + WINDOW);
                    now = later;
                    prop_assert_eq!(pace.take(amount, now), Ok(()));
                }
                taken.push((now, amount));
            }
            for (from, first) in &taken {
                let within = taken.iter().filter(|(at, _)| at >= from && *at < *from + WINDOW);
                let sum: u64 = within.map(|(_, amount)| amount).sum();
                // Two windows may touch, and one amount may be larger than a window.
                prop_assert!(sum <= 2 * 30 + first);
            }
        }
    }
}
