//! Sessions with which no worker goes on.

use tracing::debug;

use crate::{
    facts::{EndReason, LossReason, Reason as _, SessionId},
    session::{ending::SessionEnd, live::LiveSession, record::Record},
    worker::service::Services,
};

/// A session with which this worker cannot go on.
pub(super) struct Loss {
    pub(super) reason: LossReason,
    /// What is known of it, if its record could be read.
    record: Option<Box<Record>>,
}

impl From<LossReason> for Loss {
    fn from(reason: LossReason) -> Self {
        Self {
            reason,
            record: None,
        }
    }
}

impl Loss {
    pub(super) fn of(reason: LossReason, record: Record) -> Self {
        Self {
            reason,
            record: Some(Box::new(record)),
        }
    }

    /// Counts and logs the end of the session.
    pub(super) fn note(&self, id: SessionId, services: &Services) {
        let words = self.reason.words();
        let Some(record) = &self.record else {
            // There may be very many of them; how many there were is told at the end.
            return debug!(session = %id, reason = self.reason.name(), "a session is lost, because {words}");
        };
        let counters = services.counters_of(&record.seat.listener);
        let session = LiveSession::taken_over(record, counters);
        let words = format!("its worker ended: {words}");
        SessionEnd::new(EndReason::Lost, words).note(&session);
    }
}
