//! What workers have kept of their sessions, and how it comes to another worker.

use std::{os::fd::OwnedFd, sync::Arc};

use tracing::info;

use super::{
    End, WorkerId, Workers, heard,
    keeping::{Ended, Waiting},
};
use crate::{
    facts::{KeepingCounts, LossCounts, LossReason, SessionId, UnkeptCounts},
    link::ToWorker,
    supervisor::orphans,
};

/// What became of sessions that a worker was to be handed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Handed {
    /// It was handed them.
    Now,
    /// It cannot take them yet.
    NotYet,
    /// It cannot take any, so they are lost.
    Never,
}

impl Workers {
    /// Returns what became of sessions whose worker ended, since the daemon started.
    pub(in crate::supervisor) fn keeping(&self) -> KeepingCounts {
        self.keeping.counts()
    }

    /// Returns why no session can be kept on this host, if none can.
    pub(in crate::supervisor) fn keeps_none(&self) -> Option<&str> {
        self.keeping.unsupported()
    }

    /// Keeps the sockets of so many sessions at most from now on.
    pub(in crate::supervisor) fn keep_at_most(&mut self, sessions: usize) {
        self.keeping.set_most(sessions);
    }

    /// Keeps the sockets of sessions of a worker.
    pub(in crate::supervisor) fn keep(
        &mut self,
        id: WorkerId,
        sessions: &[SessionId],
        sockets: Vec<OwnedFd>,
    ) {
        self.keeping.keep(id, sessions, sockets);
    }

    /// Closes the sockets that are kept of sessions that are over.
    pub(in crate::supervisor) fn over(&mut self, id: WorkerId, sessions: &[SessionId]) {
        self.keeping.over(id, sessions);
    }

    /// Notes how many sessions a worker could not keep, as far as that is possible.
    pub(in crate::supervisor) fn unkept(&mut self, id: WorkerId, counts: &UnkeptCounts) {
        if let Some(process) = self.processes.get(&id) {
            let most = heard::most(process.child.started.elapsed());
            self.keeping.note_unkept(id, counts, most);
        }
    }

    /// Makes a worker that was started its table, and hands it over.
    pub(super) fn hand_table(&mut self, id: WorkerId) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let table = self.keeping.begin(id, process.origin);
        self.send_table(id, table);
    }

    fn send_table(&self, id: WorkerId, table: Option<(u64, Arc<OwnedFd>)>) {
        if let (Some(process), Some((number, table))) = (self.processes.get(&id), table) {
            let message = ToWorker::Table { number };
            process.child.send_with(message, vec![table]);
        }
    }

    /// Takes what a worker that has ended leaves, unless it ended as it was told; returns whether sessions
    /// that were left in its slot wait for a worker.
    pub(in crate::supervisor) fn leave(&mut self, id: WorkerId, end: End, as_told: bool) -> bool {
        let Some(process) = self.processes.get(&id) else {
            return false;
        };
        let (slot, pid) = (process.slot, process.pid().unwrap_or(0));
        let most = heard::most(process.child.started.elapsed());
        let ended = Ended {
            slot,
            pid,
            end,
            was_killed: process.child.was_killed(),
            as_told,
            handed_over: false,
            unkept: self.boards.unkept(id).min(most),
        };
        if ended.unkept > 0 && !as_told {
            let lost = ended.unkept;
            info!(
                slot,
                pid, lost, "sessions that were not kept ended with their worker"
            );
        }
        self.keeping.end(id, ended);
        self.keeping.waits_in(slot)
    }

    /// Takes what a worker of an earlier supervisor that has ended leaves, unless it ended as it was told.
    pub(in crate::supervisor) fn leave_orphan(
        &mut self,
        id: WorkerId,
        end: End,
        how: orphans::Ended,
    ) {
        if let Some((table, heirs)) = self.keeping.end_offer(id) {
            for heir in heirs {
                self.tell(heir, ToWorker::Ended { table });
            }
        }
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let most = heard::most(process.child.started.elapsed());
        // It has said that no other process need have any more.
        let unkept = if how.handed_over {
            0
        } else {
            self.boards.unkept(id)
        };
        let ended = Ended {
            slot: process.slot,
            pid: process.pid().unwrap_or(0),
            end,
            was_killed: process.child.was_killed(),
            as_told: how.as_told,
            handed_over: how.handed_over,
            unkept: unkept.min(most),
        };
        self.keeping.end(id, ended);
    }

    /// Lets another worker have what it takes to go on with the sessions of a worker that still serves them; returns how many
    /// sessions these are.
    pub(in crate::supervisor) fn offer_sessions(&mut self, id: WorkerId) -> u64 {
        let process = self.processes.get(&id);
        let about = process.map(|it| (it.slot, it.pid().unwrap_or(0)));
        about.map_or(0, |about| self.keeping.offer(id, about))
    }

    /// Returns the workers that still serve the sessions of these tables, as far as `heir` was handed them.
    pub(in crate::supervisor) fn offering(&self, heir: WorkerId, tables: &[u64]) -> Vec<WorkerId> {
        self.keeping.offering(heir, tables)
    }

    /// Returns the sessions that wait for a worker to take them over.
    pub(in crate::supervisor) fn waiting(&self) -> Vec<Waiting> {
        self.keeping.waiting()
    }

    /// Hands a worker sessions that wait, to take them over.
    pub(in crate::supervisor) fn hand_sessions(&mut self, waiting: u64, heir: WorkerId) -> Handed {
        if !self.processes.get(&heir).is_some_and(|it| it.has_board) {
            return Handed::NotYet;
        }
        // It counts them by listener.
        self.tell_numbers(heir, false);
        let table = self.keeping.begin_late(heir);
        self.send_table(heir, table);
        let parcels = self.keeping.hand(waiting, heir);
        if parcels.is_none() && (self.keeping.is_offered(waiting) || self.keeps_none().is_none()) {
            // Their worker goes on serving them, or they wait until descriptors are to be had.
            return Handed::NotYet;
        }
        let Some(parcels) = parcels else {
            self.keeping.abandon(waiting, LossReason::NoRoom);
            return Handed::Never;
        };
        if let Some(process) = self.processes.get(&heir) {
            for (message, along) in parcels {
                process.child.send_with(message, along);
            }
        }
        Handed::Now
    }

    /// Gives up sessions that wait for a worker, because the daemon is ending.
    pub(in crate::supervisor) fn abandon(&mut self, waiting: u64) {
        // Those that a worker still serves end with it.
        if !self.keeping.is_offered(waiting) {
            self.keeping.abandon(waiting, LossReason::Ending);
        }
    }

    /// Notes that a worker has taken sessions over; returns whether it has taken over all that it was handed,
    /// and a sentence for operators if there were any sessions. `None` if it was not handed what it names.
    pub(in crate::supervisor) fn took_over(
        &mut self,
        id: WorkerId,
        tables: &[u64],
        counts: (u64, LossCounts),
    ) -> Option<(bool, Option<String>)> {
        let process = self.processes.get(&id)?;
        let (slot, pid) = (process.slot, process.pid()?);
        let taken = self.keeping.took_over(id, tables, counts)?;
        Some((taken.is_all, taken.sentence(pid, slot)))
    }
}
