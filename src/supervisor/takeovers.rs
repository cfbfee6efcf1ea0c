//! Brings the sessions of workers that ended to other workers.

use super::{
    Supervisor,
    plan::{End, Event, Successor, WorkerId},
    workers::Handed,
};
use crate::{control::EventKind, facts::LossCounts};

impl Supervisor {
    /// Takes a worker that has mapped its board into service.
    pub(super) fn has_board(&mut self, worker: WorkerId) {
        if self.workers.has_board(worker) {
            self.place_sessions();
            let current = self.loads.current();
            self.workers.begin_to_serve(worker, &current);
        }
    }

    /// Has the sessions of a worker that has ended taken over, and the worker replaced.
    pub(super) fn worker_ended(&mut self, worker: WorkerId, end: End) {
        let as_told = self.plan.ended_as_told(worker, end);
        let leaves = self.workers.leave(worker, end, as_told);
        self.tell(Event::Exited {
            worker,
            end,
            leaves,
        });
        self.workers.exited(worker);
        self.place_sessions();
    }

    /// Hands sessions that wait for a worker to the one that is to take them over, if it can take them by now.
    pub(super) fn place_sessions(&mut self) {
        for waiting in self.workers.waiting() {
            let heir = match self.plan.successor(waiting.slot, waiting.others) {
                Successor::Worker(heir) => heir,
                Successor::Later => continue,
                Successor::Never => {
                    self.workers.abandon(waiting.key);
                    continue;
                }
            };
            let handed = self.workers.hand_sessions(waiting.key, heir);
            if handed != Handed::NotYet {
                self.plan.has_placed(waiting.slot);
            }
            match handed {
                Handed::Now => self.tell(Event::Inherits(heir)),
                Handed::NotYet => {}
                Handed::Never => self.tell(Event::TookOver(heir)),
            }
        }
    }

    /// Takes a worker's report of the sessions that it took over.
    pub(super) fn took_over(
        &mut self,
        worker: WorkerId,
        tables: &[u64],
        counts: (u64, LossCounts),
    ) {
        let Some((is_all, sentence)) = self.workers.took_over(worker, tables, counts) else {
            return;
        };
        if let Some(sentence) = sentence {
            self.notices.say(EventKind::SessionsTakenOver, &sentence);
        }
        if is_all {
            self.tell(Event::TookOver(worker));
        }
    }
}
