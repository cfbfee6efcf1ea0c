//! Writes down what the next supervisor goes on with, and has workers keep it.

use std::time::Instant;

use jiff::Timestamp;

use super::{
    Supervisor,
    state::{self, Book, Stamp},
    steps::Told,
};
use crate::control::{EventKind, RollbackStatus};

impl Supervisor {
    /// Tells what this supervisor goes on with, what its first load has found, and that a rollback has `ended` because it
    /// cannot be gone on with.
    pub(super) fn tell_predecessor(
        &mut self,
        sentence: &str,
        told: &Told,
        ended: Option<&RollbackStatus>,
    ) {
        self.notices.say(EventKind::Started, sentence);
        if let Some(rollback) = ended {
            let sentence = format!(
                "The rollback to generation {} has ended, because what it served cannot be served by this program; \
                 what is on disk is served.",
                rollback.to_generation
            );
            self.notices.say(EventKind::RollbackEnded, &sentence);
        }
        let events = &mut self.notices.events;
        self.loads.started(told, self.life.now(), events);
    }

    /// Writes the book if something has changed that is in it. Comes each time the loop turns.
    pub(super) fn bequeath(&mut self) {
        let stamp = self.stamp();
        if self.state.is_due(stamp, Instant::now()) {
            let book = self.book();
            self.state.write(stamp, book);
        }
    }

    /// Writes the book for the last time, because the supervisor leaves on purpose.
    pub(super) fn take_leave(&mut self) {
        let (stamp, book) = (self.stamp(), self.book());
        let left_at = Some(Timestamp::now());
        self.state.write(stamp, Book { left_at, ..book });
    }

    /// Writes the book again, because the supervisor has not left.
    pub(super) fn take_leave_back(&mut self) {
        let (stamp, book) = (self.stamp(), self.book());
        self.state.write(stamp, book);
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            generation: self.plan.generation(),
            last_error: self.loads.last_error().map(|it| it.at),
            events: self.notices.events.last(),
            hook: self.notices.hook.last_run_at(),
            workers: self.workers.changes(),
        }
    }

    fn book(&self) -> Book {
        let mut book = Book {
            loads: self.loads.bequeath(),
            stored: self.life.manager.stored(),
            upgrades: self.upgrades.book().clone(),
            ..Book::default()
        };
        book.ids.workers = self.plan.workers();
        self.notices.bequeath(&mut book);
        self.workers.bequeath(&mut book);
        book
    }

    /// Has every worker keep what the next supervisor is to get, and the service manager too, once a generation was written
    /// down. Until the first one is, the service manager keeps what the supervisor before this one has left.
    pub(super) fn take_state(&mut self, message: state::Message) {
        if self.state.take(message) {
            self.workers.leave_with(self.state.descriptors());
        }
        self.store();
    }
}
