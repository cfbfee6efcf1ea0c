//! The end of sessions that an operator wants.

use std::fmt::Write as _;

use super::MOST_ENDED_IDS;
use crate::facts::{Selection, SessionId, amount};

/// The end of sessions that is being confirmed.
#[derive(Debug)]
pub(super) struct End {
    pub(super) selection: Selection,
    pub(super) operator: String,
    pub(super) count: u64,
    pub(super) ids: Vec<SessionId>,
}

impl End {
    /// Begins with no session ended.
    pub(super) fn new(selection: Selection, operator: String) -> Self {
        Self {
            selection,
            operator,
            count: 0,
            ids: Vec::new(),
        }
    }

    /// Notes how many sessions a worker has told to end, and which.
    pub(super) fn add(&mut self, count: u64, ids: Vec<SessionId>) {
        self.count = self.count.saturating_add(count);
        self.ids.extend(ids);
        self.ids.truncate(MOST_ENDED_IDS);
    }

    /// Says what was done, for the log and the events.
    pub(super) fn sentence(&self, silent: &[u32]) -> String {
        let Self {
            selection,
            operator,
            count,
            ..
        } = self;
        let sessions = amount(*count, "session");
        let mut sentence =
            format!("{operator} has ended {sessions} with `proxyctl end {selection}`.");
        for pid in silent {
            let _ = write!(
                sentence,
                " Worker {pid} has not answered; it ends its sessions when it goes on."
            );
        }
        sentence
    }
}
