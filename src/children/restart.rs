//! When a child that ends or falls silent is replaced. The same holds for children of every role.

use std::time::Duration;

/// How long a child must have worked for its failure to count as the first in a row.
pub const HEALTHY: Duration = Duration::from_secs(10);

/// The wait before the third start in a row; the second happens at once.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait before a start.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Returns how long to wait before the next start after so many failures in a row.
#[must_use]
pub fn wait_after(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => FIRST_WAIT
            .saturating_mul(1_u32.checked_shl(more - 2).unwrap_or(u32::MAX))
            .min(LONGEST_WAIT),
    }
}

/// Returns how often a child's silence is measured that may be silent for `patience`. Each measurement adds
/// at most this much to it, so that a supervisor that was itself held up does not take its children for dead.
#[must_use]
pub fn look_interval(patience: Duration) -> Duration {
    patience / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_wait_longer_and_longer() {
        let waits: Vec<u128> = (1..=12).map(|n| wait_after(n).as_millis()).collect();
        assert_eq!(
            waits,
            [
                0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000
            ]
        );
        assert_eq!(wait_after(u32::MAX), LONGEST_WAIT);
    }
}
