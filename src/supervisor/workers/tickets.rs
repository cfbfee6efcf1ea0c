//! The secrets with which workers make tickets for resumption.
//!
//! The supervisor keeps them, in memory alone, so that every worker and its successor have the same.
//! They change by the clock and belong to no generation.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::{
    supervisor::state::TicketsBook,
    tls::tickets::{NoRandomness, ROTATION, TicketSecrets},
};

/// The pause before the next try after the system gave no random bytes.
const AGAIN: Duration = Duration::from_secs(60);

/// The secrets, and when they are to change.
#[derive(Debug)]
pub(in crate::supervisor) struct Tickets {
    secrets: TicketSecrets,
    due: Instant,
}

impl Tickets {
    /// Goes on with the secrets that an earlier supervisor left; makes the first one if it left none. `now` is also `wall`
    /// by the wall clock.
    pub(in crate::supervisor) fn resume(
        book: TicketsBook,
        (now, wall): (Instant, Timestamp),
    ) -> Result<Self, NoRandomness> {
        let mut secrets = book.secrets;
        if secrets.is_empty() {
            secrets.rotate()?;
            let due = now + ROTATION;
            return Ok(Self { secrets, due });
        }
        let late = Duration::try_from(wall.duration_since(book.due)).ok();
        let Some(late) = late else {
            // A clock that was set back lets no secret grow older than it may.
            let left = Duration::try_from(book.due.duration_since(wall)).unwrap_or(ROTATION);
            let due = now + left.min(ROTATION);
            return Ok(Self { secrets, due });
        };
        secrets.rotate()?;
        if late >= ROTATION {
            secrets.rotate()?;
        }
        let since = Duration::from_secs(late.as_secs() % ROTATION.as_secs());
        let due = now + ROTATION.saturating_sub(since);
        Ok(Self { secrets, due })
    }

    /// Writes the secrets down for the next supervisor.
    pub(super) fn bequeath(&self, (now, wall): (Instant, Timestamp)) -> TicketsBook {
        let left = self.due.saturating_duration_since(now);
        TicketsBook {
            secrets: self.secrets.clone(),
            due: wall.checked_add(left).unwrap_or(wall),
        }
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
        let wall = Timestamp::now();
        let mut tickets = Tickets::resume(TicketsBook::default(), (start, wall)).unwrap();
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

    #[test]
    fn the_next_supervisor_goes_on_with_the_secrets_as_old_as_they_are() {
        let (start, wall) = (Instant::now(), Timestamp::now());
        let tickets = Tickets::resume(TicketsBook::default(), (start, wall)).unwrap();
        let secret = |tickets: &Tickets, at: usize| {
            serde_json::to_value(tickets.secrets()).unwrap()[at].clone()
        };
        let first = secret(&tickets, 0);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let resumed = |left_after: u64, found_after: u64| {
            let at = |after| (start + minutes(after), wall + minutes(after));
            let book = tickets.bequeath(at(left_after));
            Tickets::resume(book, at(found_after)).unwrap()
        };
        let soon = resumed(10, 20);
        assert_eq!((secret(&soon, 0), soon.secrets().len()), (first.clone(), 1));
        assert_eq!(soon.due(), start + minutes(60));
        let later = resumed(10, 90);
        assert_eq!(
            (secret(&later, 1), later.secrets().len()),
            (first.clone(), 2)
        );
        assert_eq!(later.due(), start + minutes(120));
        let too_late = resumed(10, 130);
        assert!(secret(&too_late, 0) != first && secret(&too_late, 1) != first);
        assert_eq!(too_late.due(), start + minutes(180));
        let mut set_back = tickets.bequeath((start, wall));
        set_back.due = wall + minutes(600);
        let set_back = Tickets::resume(set_back, (start, wall)).unwrap();
        assert_eq!(set_back.due(), start + ROTATION);
    }
}
