//! What the workers' owner leaves to the next supervisor.

use std::{os::fd::OwnedFd, sync::Arc, time::Instant};

use jiff::Timestamp;

use super::{Process, Workers};
use crate::{
    link::ToWorker,
    supervisor::{
        plan::WorkerId,
        state::{Book, WorkerBook, WorkersBook},
    },
};

impl Workers {
    /// Returns how often workers, or what they are handed, have changed; counts are no such change.
    pub(in crate::supervisor) fn changes(&self) -> u64 {
        self.changes
    }

    /// Has every worker, from now on, keep what the next supervisor is to get.
    pub(in crate::supervisor) fn leave_with(&mut self, left: Vec<Arc<OwnedFd>>) {
        self.left = left;
        for id in self.running() {
            self.hand_left(id);
        }
    }

    /// Has a worker keep what the next supervisor is to get.
    pub(super) fn hand_left(&self, id: WorkerId) {
        let process = self.processes.get(&id).filter(|_| !self.left.is_empty());
        if let Some(process) = process {
            process.child.send(ToWorker::MakeRoom);
            process.child.send_with(ToWorker::State, self.left.clone());
        }
    }

    /// Writes down what the next supervisor goes on with.
    pub(in crate::supervisor) fn bequeath(&self, book: &mut Book) {
        let (tables, sessions) = self.keeping.bequeath();
        let processes = self.processes.iter();
        book.workers = WorkersBook {
            living: processes.filter_map(|it| self.bequeath_of(it)).collect(),
            retired: self.retired.clone(),
            denied: self.denied_calls,
            sessions,
        };
        book.restarts.total = self.restarts;
        book.ids.tables = tables;
        self.origins.bequeath(&mut book.ids);
        self.numbers.bequeath(&mut book.ids);
        book.tickets = self.tickets.bequeath((Instant::now(), Timestamp::now()));
        book.clients = Some(self.boards.secret());
    }

    fn bequeath_of(&self, (id, process): (&WorkerId, &Process)) -> Option<WorkerBook> {
        // One that was not started has nothing.
        process.pid()?;
        Some(WorkerBook {
            id: id.0,
            origin: process.origin,
            counts: process.counts.clone(),
            denied: process.denied_calls,
            unkept: self.keeping.unkept_of(*id),
        })
    }
}
