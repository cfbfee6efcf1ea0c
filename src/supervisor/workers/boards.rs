//! The boards on which workers count sessions: makes one for each worker and shows it to the others.

use std::{collections::BTreeMap, io, os::fd::OwnedFd, sync::Arc};

use crate::{
    children::Process,
    link::{
        ToWorker,
        board::{Board, ClientSecret, ListenerNumber},
    },
    supervisor::plan::WorkerId,
    sys::reserve::Reserve,
};

/// Descriptors kept back for a board: a worker may have to be started when no more can be opened.
const KEPT_BACK: usize = 1;

/// The boards of all workers that run.
#[derive(Debug)]
pub(in crate::supervisor) struct Boards {
    secret: ClientSecret,
    /// Those that their workers have not mapped yet.
    handed: BTreeMap<WorkerId, Board>,
    /// Those that only their workers can write.
    shown: BTreeMap<WorkerId, Arc<Board>>,
    reserve: Reserve,
}

/// The system gives no random bytes for the secret by which boards name clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(in crate::supervisor) struct NoSecret;

impl Boards {
    /// Begins with none, and with the secret that an earlier supervisor left; makes one if it left none.
    pub(in crate::supervisor) fn resume(left: Option<ClientSecret>) -> Result<Self, NoSecret> {
        Ok(Self {
            secret: match left {
                Some(secret) => secret,
                None => ClientSecret::new().map_err(|_| NoSecret)?,
            },
            handed: BTreeMap::new(),
            shown: BTreeMap::new(),
            reserve: Reserve::new(KEPT_BACK),
        })
    }

    /// Returns the secret by which boards name clients, for the next supervisor.
    pub(super) fn secret(&self) -> ClientSecret {
        self.secret.clone()
    }

    /// Makes a board for a worker that was started, and hands it over.
    pub(super) fn hand_over(&mut self, id: WorkerId, worker: &Process<ToWorker>) -> io::Result<()> {
        let board = self.reserve.lend(Board::new)?;
        let secret = self.secret.clone();
        worker.send_with(ToWorker::Board { secret }, vec![board.descriptor()]);
        self.handed.insert(id, board);
        Ok(())
    }

    /// Seals the board of a worker that has mapped it against all other writers, shows it to the other
    /// workers, and shows the worker their boards; returns `false` if that was done before.
    pub(super) fn show<'a>(
        &mut self,
        id: WorkerId,
        worker: &Process<ToWorker>,
        others: impl Iterator<Item = (WorkerId, &'a Process<ToWorker>)>,
    ) -> io::Result<bool> {
        let Some(board) = self.handed.remove(&id) else {
            return Ok(false);
        };
        board.close_to_writers()?;
        for (other, process) in others {
            if let Some(theirs) = self.shown.get(&other) {
                add(process, id, &board);
                add(worker, other, theirs);
            }
        }
        self.shown.insert(id, Arc::new(board));
        Ok(true)
    }

    /// Returns how many sessions a worker has now, as its board says.
    pub(super) fn sessions(&self, id: WorkerId) -> u64 {
        self.shown.get(&id).map_or(0, |board| board.sessions())
    }

    /// Takes the board of a worker that another supervisor has started. Other workers that were started by that know it
    /// already. Fails for memory that is no board.
    pub(super) fn adopt(&mut self, id: WorkerId, memory: OwnedFd) -> io::Result<()> {
        let board = Board::found(memory)?;
        self.shown.insert(id, Arc::new(board));
        Ok(())
    }

    /// Returns how many established sessions a worker has that end with it, as its board says.
    pub(super) fn unkept(&self, id: WorkerId) -> u64 {
        self.shown.get(&id).map_or(0, |board| board.unkept())
    }

    /// Empties the board of a worker that has ended, so that its sessions count no longer, and lets the
    /// `others` forget it.
    pub(super) fn remove<'a>(
        &mut self,
        id: WorkerId,
        others: impl Iterator<Item = &'a Process<ToWorker>>,
    ) {
        self.handed.remove(&id);
        if let Some(board) = self.shown.remove(&id) {
            board.clear();
            others.for_each(|process| process.send(ToWorker::RemoveBoard { worker: id.0 }));
        }
    }

    /// Keeps descriptors back again.
    pub(super) fn refill(&mut self) {
        self.reserve.fill();
    }

    /// Returns the boards that workers can have sessions on.
    pub(super) fn all(&self) -> Vec<Arc<Board>> {
        self.shown.values().cloned().collect()
    }
}

/// Lets a worker read the board of another one.
fn add(worker: &Process<ToWorker>, other: WorkerId, board: &Board) {
    // It must come even if sessions have taken all of the worker's descriptors.
    worker.send(ToWorker::MakeRoom);
    let message = ToWorker::AddBoard { worker: other.0 };
    worker.send_with(message, vec![board.descriptor()]);
}

/// Returns whether any of the `boards` counts sessions of a listener.
pub(super) fn any_counts(boards: &[Arc<Board>], number: ListenerNumber) -> bool {
    boards.iter().any(|board| board.counts(number))
}
