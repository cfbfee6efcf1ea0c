//! The secrets with which workers make tickets for resumption.
//!
//! The supervisor keeps them, in memory alone, so that every worker and its successor have the same.
//! They change by the clock and belong to no generation.

use std::time::{Duration, Instant};

use crate::tls::tickets::{NoRandomness, ROTATION, TicketSecrets};

/// The pause before the next try after the system gave no random bytes.
const AGAIN: Duration = Duration::from_secs(60);

/// The secrets, and when they are to change.
#[derive(Debug)]
pub(in crate::supervisor) struct Tickets {
    secrets: TicketSecrets,
    due: Instant,
}

impl Tickets {
    /// Makes the first secret.
    pub(in crate::supervisor) fn new(now: Instant) -> Result<Self, NoRandomness> {
        let mut secrets = TicketSecrets::default();
        secrets.rotate()?;
        Ok(Self {
            secrets,
            due: now + ROTATION,
        })
    }

    /// Returns the secrets in use.
    pub(super) fn secrets(&self) -> &TicketSecrets {
        &self.secrets
    }

    /// Returns when they are to change.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn rotate(&mut self, now: Instant) -> Result<(), NoRandomness> {
        let rotated = self.secrets.rotate();
        self.due = now + if rotated.is_ok() { ROTATION } else { AGAIN };
        rotated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_change_by_the_clock() {
        let start = Instant::now();
        let mut tickets = Tickets::new(start).unwrap();
        assert_eq!(tickets.due(), start + ROTATION);
        assert_eq!(
            format!("{:?}", tickets.secrets()),
            "TicketSecrets(1 secrets)"
        );
        for _ in 0..3 {
            let due = tickets.due();
            tickets.rotate(due).unwrap();
            assert_eq!(tickets.due(), due + ROTATION);
        }
        assert_eq!(
            format!("{:?}", tickets.secrets()),
            "TicketSecrets(2 secrets)"
        );
    }
}
