//! Goes on with the workers of supervisors that have ended, until other workers have their sessions.

use tracing::info;

use super::{
    Supervisor,
    orphans::{Action, Event},
    plan::{End, Exit, WorkerId},
    predecessor::{LeftWorker, Predecessor, doors::Orphan},
    state::WorkerBook,
};
use crate::{
    children::Along,
    control::EventKind,
    facts::amount,
    link::{FromWorker, ToWorker},
    session::record,
    sys::upgrade_points::{self, Point},
};

impl Supervisor {
    /// Goes on with the workers that were found, of which the book says that they were `living`, and tells operators of
    /// them. Must be called in a [`tokio::task::LocalSet`].
    pub(super) fn adopt(&mut self, predecessor: Predecessor, living: &[WorkerBook]) {
        let Predecessor {
            orphans,
            left,
            troubles,
            ..
        } = predecessor;
        for trouble in troubles {
            self.notices.events.add(EventKind::WorkersFound, trouble);
        }
        for worker in left {
            self.take_left(worker);
        }
        if orphans.is_empty() {
            return;
        }
        let sessions = orphans.iter().map(|it| it.kept.len() as u64).sum();
        self.notices.say(
            EventKind::WorkersFound,
            &format!(
                "{} of an earlier supervisor {} found, with {}. They serve until workers of this supervisor do.",
                amount(orphans.len() as u64, "worker"),
                if orphans.len() == 1 { "was" } else { "were" },
                amount(sessions, "session"),
            ),
        );
        for orphan in orphans {
            self.adopt_one(orphan, living);
        }
    }

    /// Has the sessions of a worker taken over that ended before it was found.
    fn take_left(&mut self, left: LeftWorker) {
        let (pid, slot) = (left.pid, left.slot);
        let id = self.plan.issue();
        let sessions = amount(self.workers.take_left(id, left), "session");
        self.notices.say(
            EventKind::WorkersFound,
            &format!(
                "Worker {pid} in slot {slot} of the program before this one ended before it was found; {sessions} of it \
                 can be taken over."
            ),
        );
    }

    fn adopt_one(&mut self, orphan: Orphan, living: &[WorkerBook]) {
        let id = self.id_of(orphan.about.origin, living);
        self.orphans.add(id, &orphan.about);
        for said in self.workers.adopt(id, orphan) {
            self.hear_orphan(id, said, Along::default());
        }
    }

    /// Returns the id under which a worker is gone on with: the one that it had, by which other workers know its board, or
    /// one that no worker has had.
    fn id_of(&mut self, origin: u64, living: &[WorkerBook]) -> WorkerId {
        let mut living = living.iter();
        let before = living
            .find(|it| it.origin == origin)
            .map(|it| WorkerId(it.id));
        let is_free = |id: &WorkerId| {
            self.plan.doing(*id).is_none()
                && self.workers.get(*id).is_none()
                && self.plan.has_issued(*id)
        };
        let before = before.filter(is_free);
        before.unwrap_or_else(|| self.plan.issue())
    }

    /// Takes a message of a worker of an earlier supervisor.
    pub(super) fn hear_orphan(&mut self, worker: WorkerId, said: FromWorker, along: Along) {
        match said {
            FromWorker::Beat => {
                self.tell_orphans(Event::Heard(worker));
                self.workers.tidy();
                self.place_sessions();
            }
            FromWorker::HandedOver { stays } => {
                self.tell_orphans(Event::HandedOver { worker, stays });
                if let Some(sentence) = self.orphans.stays(worker, stays) {
                    self.notices.say(EventKind::WorkerHandedOver, &sentence);
                }
            }
            FromWorker::Drained { cut } => {
                if self.orphans.is_draining(worker) {
                    self.note_cut(worker, cut);
                }
            }
            // It goes on as it is: it is neither handed generations nor sessions, and covers no slot.
            FromWorker::HasBoard
            | FromWorker::Accepts { .. }
            | FromWorker::Serving { .. }
            | FromWorker::Staged { .. }
            | FromWorker::Refused { .. }
            | FromWorker::Holds { .. }
            | FromWorker::TookOver { .. } => {}
            said => self.hear(worker, said, along),
        }
    }

    /// Has the workers of an earlier supervisor hand over once each slot has a worker of this one.
    pub(super) fn relieve_orphans(&mut self) {
        if !self.orphans.is_empty() && self.plan.is_manned() {
            self.tell_orphans(Event::Covered);
        }
    }

    /// Passes an event to what decides about the workers of an earlier supervisor, and carries out its actions.
    pub(super) fn tell_orphans(&mut self, event: Event) {
        for action in self.orphans.on(event, self.life.now()) {
            match action {
                Action::HandOver(worker) => {
                    let record = record::VERSION;
                    self.workers.tell(worker, ToWorker::HandOver { record });
                    upgrade_points::reach(Point::HandingOver);
                }
                Action::Offer(worker) => {
                    self.offer_sessions(worker);
                    upgrade_points::reach(Point::Offered);
                }
                Action::Leave(worker) => {
                    upgrade_points::reach(Point::Held);
                    self.workers.tell(worker, ToWorker::Leave);
                    upgrade_points::reach(Point::ToldToLeave);
                }
                Action::Drain(worker) => self.drain_worker(worker),
                Action::Kill(worker, _) => self.workers.kill(worker),
            }
        }
        // Some may have been left behind.
        self.exit_without_orphans();
    }

    /// Lets another worker have what it takes to go on with the sessions of a worker of an earlier supervisor.
    fn offer_sessions(&mut self, worker: WorkerId) {
        let offered = self.workers.offer_sessions(worker);
        self.orphans.offered(worker, offered);
        if offered == 0 {
            self.tell_orphans(Event::Held(worker));
        } else {
            self.place_sessions();
        }
    }

    /// Takes what a worker says that waits for others to leave their sessions.
    pub(super) fn holds(&mut self, heir: WorkerId, tables: &[u64]) {
        for worker in self.workers.offering(heir, tables) {
            self.tell_orphans(Event::Held(worker));
        }
    }

    /// Has the sessions of a worker of an earlier supervisor that has ended taken over; returns whether it was one.
    pub(super) fn orphan_ended(&mut self, worker: WorkerId, end: End) -> bool {
        let Some((ended, sentence)) = self.orphans.ended(worker, end) else {
            return false;
        };
        if let Some(sentence) = sentence {
            self.notices.say(EventKind::WorkerHandedOver, &sentence);
        }
        self.workers.leave_orphan(worker, end, ended);
        self.workers.exited(worker);
        self.place_sessions();
        if self.orphans.is_empty() {
            info!("no worker of an earlier supervisor is left");
        }
        self.exit_without_orphans();
        true
    }

    /// Ends the daemon as the plan has decided, once no worker of an earlier supervisor is left.
    pub(super) fn exit(&mut self, exit: Exit) {
        if let Some(exit) = self.orphans.exit(exit) {
            self.life.exit(exit);
        }
    }

    fn exit_without_orphans(&mut self) {
        if let Some(exit) = self.orphans.exit_now() {
            self.life.exit(exit);
        }
    }
}
