//! Asks sessions to be kept, or to send their sockets again: a few at a time, because each takes two descriptors more until
//! they are sent.

use std::sync::{Arc, Weak};

use crate::{link::worker::MOST_PAIRS, session::live::LiveSession};

/// How many sessions are asked at once: as many as two messages tell of.
const AT_ONCE: usize = 2 * MOST_PAIRS;

/// Sessions that are asked one after the other.
pub(in crate::worker) struct Asking {
    waiting: Vec<Weak<LiveSession>>,
    asked: Vec<Arc<LiveSession>>,
}

impl Asking {
    /// Will ask these sessions.
    pub(super) fn new<'s>(sessions: impl Iterator<Item = &'s Arc<LiveSession>>) -> Self {
        Self {
            waiting: sessions.map(Arc::downgrade).collect(),
            asked: Vec::new(),
        }
    }

    /// Asks the next sessions when those before have answered and all sockets are sent. Returns whether all sessions have
    /// answered.
    pub(super) fn go_on(&mut self, has_sent_all: bool) -> bool {
        self.asked.retain(|session| session.keep.is_waited_for());
        if !self.asked.is_empty() || !has_sent_all {
            return false;
        }
        while self.asked.len() < AT_ONCE
            && let Some(next) = self.waiting.pop()
        {
            if let Some(session) = next.upgrade() {
                session.is_to_be_kept();
                self.asked.push(session);
            }
        }
        self.asked.is_empty()
    }
}
