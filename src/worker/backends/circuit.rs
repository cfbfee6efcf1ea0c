//! Failures in a row of what sessions connect to: a pause that grows with them, then one trial.

use std::time::{Duration, Instant};

/// How long something is left for last after its first failure.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An attempt to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Whether it is the one that finds out whether what failed is back.
    pub(super) is_trial: bool,
}

/// What became known by an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// It cannot be reached any more.
    Down,
    /// It can be reached again.
    Up,
}

/// Failures in a row, and until when the one that failed is left for last because of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Circuit {
    failures: u32,
    until: Option<Instant>,
}

impl Circuit {
    /// Whether it is left for last now.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until(now).is_some()
    }

    /// Returns until when it is left for last; `None` if it is not.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    fn pause(&mut self, now: Instant) {
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = SHORTEST_PAUSE.saturating_mul(1 << doublings);
        self.until = Some(now + pause.min(LONGEST_PAUSE));
    }

    /// Begins an attempt. The first after a pause is the only one until it has failed or another
    /// pause is over.
    pub(super) fn begin(&mut self, now: Instant) -> Attempt {
        let is_trial = self.failures > 0 && !self.is_paused(now);
        if is_trial {
            self.pause(now);
        }
        Attempt { is_trial }
    }

    /// Ends an attempt that failed. Sessions that failed together count once.
    pub(super) fn fail(&mut self, attempt: Attempt, now: Instant) -> News {
        let was_up = self.failures == 0;
        if was_up || attempt.is_trial {
            self.failures = self.failures.saturating_add(1);
            self.pause(now);
        }
        if was_up { News::Down } else { News::None }
    }

    /// Ends an attempt that succeeded: nothing has failed any more.
    pub(super) fn succeed(&mut self) -> News {
        let was_up = self.failures == 0;
        *self = Self::default();
        if was_up { News::None } else { News::Up }
    }
}
