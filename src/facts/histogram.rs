//! Durations, counted by how long they were.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many bounds a ladder has.
pub const BOUNDS: usize = 12;

/// How many counts a histogram has: one for each bound, and one for what was longer than all of them.
pub const BUCKETS: usize = BOUNDS + 1;

/// The longest durations that are counted for each bucket of a histogram, the shortest first.
pub type Ladder = [Duration; BOUNDS];

/// Bounds for what opens a session: a millisecond within a data centre, seconds where something is wrong.
pub const OPENING: Ladder = [
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
];

/// Bounds for how long a session lasts: one query, or a pool that stays for days.
pub const LASTING: Ladder = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(6 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
    Duration::from_secs(3 * 24 * 60 * 60),
    Duration::from_secs(7 * 24 * 60 * 60),
];

/// The longest duration that is believed of a worker, on average: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Durations, counted by how long they were; which [`Ladder`] they are counted by, those who count and read know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// How many were longer than the bound before and not longer than this one; the last is for what was longer than
    /// all bounds.
    pub buckets: [u64; BUCKETS],
    /// The sum of all durations, in microseconds.
    pub sum_us: u64,
}

/// Returns which bucket a duration is counted in.
pub fn bucket(ladder: &Ladder, duration: Duration) -> usize {
    let fits = ladder.iter().position(|bound| duration <= *bound);
    fits.unwrap_or(BOUNDS)
}

/// Returns a duration in microseconds.
pub fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&mut self, ladder: &Ladder, duration: Duration) {
        let count = &mut self.buckets[bucket(ladder, duration)];
        *count = count.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(microseconds(duration));
    }

    /// Adds another count of the same thing to this.
    pub fn add(&mut self, other: Self) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count = count.saturating_add(more);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// Returns how many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().copied().fold(0, u64::saturating_add)
    }

    /// Returns what is possible of it where at most `most` can have been counted in each bucket.
    #[must_use]
    pub fn possible(self, most: u64) -> Self {
        let buckets = self.buckets.map(|count| count.min(most));
        let all = Self { buckets, sum_us: 0 };
        let longest = microseconds(LONGEST).saturating_mul(all.count());
        Self {
            buckets,
            sum_us: self.sum_us.min(longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for microseconds in [0, 1000, 1001, 2500, 10_000_000, 10_000_001, 1 << 40] {
            histogram.observe(&OPENING, Duration::from_micros(microseconds));
        }
        let mut buckets = [0; BUCKETS];
        (buckets[0], buckets[1], buckets[11], buckets[12]) = (2, 2, 1, 2);
        assert_eq!(histogram.buckets, buckets);
        assert_eq!(histogram.sum_us, 20_004_502 + (1 << 40));
        assert_eq!(histogram.count(), 7);
    }

    #[test]
    fn bounds_rise() {
        for ladder in [OPENING, LASTING] {
            assert!(ladder.is_sorted());
        }
    }

    #[test]
    fn histograms_add_up_and_never_overflow() {
        let mut histogram = Histogram::default();
        histogram.observe(&LASTING, Duration::from_secs(3));
        let one = histogram;
        histogram.add(one);
        assert_eq!((histogram.count(), histogram.sum_us), (2, 6_000_000));
        let full = Histogram {
            buckets: [u64::MAX; BUCKETS],
            sum_us: u64::MAX,
        };
        histogram.add(full);
        assert_eq!(histogram, full);
        histogram.observe(&LASTING, Duration::MAX);
        assert_eq!(histogram, full);
    }

    #[test]
    fn what_a_worker_cannot_have_counted_is_not_believed() {
        let taken = Histogram {
            buckets: [u64::MAX, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            sum_us: u64::MAX,
        }
        .possible(5);
        assert_eq!(taken.buckets[..2], [5, 3]);
        assert_eq!(taken.sum_us, 8 * microseconds(LONGEST));
        let nothing = Histogram {
            sum_us: 7,
            ..Histogram::default()
        };
        assert_eq!(nothing.possible(5), Histogram::default());
    }

    #[test]
    fn what_another_version_has_not_written_is_zero() {
        let read: Histogram = serde_json::from_str("{\"more\": 1}").unwrap();
        assert_eq!(read, Histogram::default());
    }
}
