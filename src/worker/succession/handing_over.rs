//! When a worker may leave its sessions to another one.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Asking;
use crate::session::{live::LiveSession, standing::Standing};

/// How often all sessions are looked at, at most.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// A worker that hands over its sessions.
pub(in crate::worker) struct HandingOver {
    pub(super) asking: Asking,
    /// Whether the records of its sessions can be what the next worker wants.
    pub(super) can_write: bool,
    /// How many sessions stay, as the supervisor was told last.
    pub(super) told: Option<u64>,
    /// Whether another worker can go on with all sessions.
    pub(super) may_leave: bool,
    looked: Option<Instant>,
    /// When to look again, if that was asked for too early.
    due: Option<Instant>,
}

/// How far a worker's sessions are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Sessions of which no other worker could go on with any yet: they are being opened or kept, or tell their peers
    /// that they have ended.
    pub(super) busy: u64,
    /// Sessions with which another worker can go on.
    pub(super) ready: u64,
    /// Sessions that end with this worker.
    pub(super) stay: u64,
}

/// What a worker does that hands over its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It waits for sessions that will be ready or over soon.
    Wait,
    /// It serves so many sessions until they have ended by themselves.
    Stay(u64),
    /// It leaves.
    Leave,
}

impl HandingOver {
    pub(super) fn new(asking: Asking, can_write: bool) -> Self {
        Self {
            asking,
            can_write,
            told: None,
            may_leave: false,
            looked: None,
            due: None,
        }
    }

    /// Returns when to go on although nothing has changed.
    pub(in crate::worker) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns whether it is time to look at all sessions.
    pub(super) fn may_look(&mut self, now: Instant) -> bool {
        let next = self.looked.map(|looked| looked + BETWEEN_LOOKS);
        self.due = next.filter(|next| now < *next);
        if self.due.is_none() {
            self.looked = Some(now);
        }
        self.due.is_none()
    }
}

impl Tally {
    /// Counts sessions, while the worker has the link with this number.
    pub(super) fn of(sessions: &[Arc<LiveSession>], link: u32, can_write: bool) -> Self {
        let mut tally = Self::default();
        for session in sessions {
            let count = match session.keep.standing(link) {
                _ if !session.has_opened() => &mut tally.busy,
                Standing::Pending if can_write => &mut tally.busy,
                Standing::Over => &mut tally.busy,
                Standing::Told if can_write => &mut tally.ready,
                Standing::Pending | Standing::Told | Standing::Stays => &mut tally.stay,
            };
            *count += 1;
        }
        tally
    }

    /// Decides what the worker does, which has so many tasks: one for each session, and others that belong to sessions
    /// that have ended.
    pub(super) fn verdict(self, tasks: u64) -> Verdict {
        match self {
            Self { stay: 1.., .. } => Verdict::Stay(self.stay),
            Self { busy: 0, ready, .. } if ready == tasks => Verdict::Leave,
            _ => Verdict::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(busy: u64, ready: u64, stay: u64) -> Tally {
        Tally { busy, ready, stay }
    }

    #[test]
    fn a_worker_leaves_when_another_can_go_on_with_every_session_and_nothing_else_runs() {
        assert_eq!(tally(0, 0, 0).verdict(0), Verdict::Leave);
        assert_eq!(tally(0, 7, 0).verdict(7), Verdict::Leave);
        assert_eq!(tally(0, 7, 0).verdict(8), Verdict::Wait);
        assert_eq!(tally(1, 7, 0).verdict(8), Verdict::Wait);
        // One has ended since, whose task has not.
        assert_eq!(tally(0, 6, 0).verdict(7), Verdict::Wait);
    }

    #[test]
    fn a_worker_stays_for_a_session_that_cannot_be_kept() {
        assert_eq!(tally(3, 7, 2).verdict(12), Verdict::Stay(2));
    }

    #[test]
    fn sessions_are_looked_at_once_in_a_while_and_never_too_late() {
        let mut handing_over = HandingOver::new(Asking::new([].into_iter()), true);
        let now = Instant::now();
        assert!(handing_over.may_look(now));
        assert!(!handing_over.may_look(now));
        assert_eq!(handing_over.due(), Some(now + BETWEEN_LOOKS));
        assert!(handing_over.may_look(now + BETWEEN_LOOKS));
        assert_eq!(handing_over.due(), None);
    }
}
