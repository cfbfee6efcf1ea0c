//! What the plan wants done.

use std::time::Duration;

use super::{AskId, Condemned, WorkerId};
use crate::control::{Partial, Trigger};

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the disk.
    Load {
        /// Comes back in the answers.
        load: u64,
        /// Why, and so what to read.
        trigger: Trigger,
        /// Whether it may bring a part of what changed.
        partial: Partial,
    },
    /// Start a worker with the newest generation and its slot's sockets.
    Start {
        /// The slot.
        slot: usize,
        /// What the worker is called from now on.
        worker: WorkerId,
        /// Whether it takes the place of one that failed.
        again: bool,
    },
    /// Hand a worker the newest generation.
    Serve(WorkerId),
    /// Let a worker accept from the sockets of a slot that has none.
    Cover {
        /// The worker.
        worker: WorkerId,
        /// The slot.
        slot: usize,
    },
    /// Let a worker no longer do so.
    Release {
        /// The worker.
        worker: WorkerId,
        /// The slot.
        slot: usize,
    },
    /// Kill a worker.
    Kill(WorkerId),
    /// Let a worker finish the sessions it has and exit.
    Drain(WorkerId),
    /// Answer those who asked for a reload.
    Answer {
        /// Who.
        asks: Vec<AskId>,
        /// With what result.
        answer: Answer,
    },
    /// Tell people and the exit-failure command that a worker failed.
    Report(Failure),
    /// Say that the daemon serves; once.
    Ready,
    /// End with an error: no worker ever served.
    GiveUp,
    /// End.
    Exit,
}

/// The answer to a wish for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The result of this load, which `workers` confirmed.
    Result {
        /// The load.
        load: u64,
        /// How many workers serve what came of it.
        workers: usize,
    },
    /// The disk does not answer.
    DiskHangs,
    /// The daemon is ending.
    Ending,
}

/// A worker's unwanted end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Its slot.
    pub slot: usize,
    /// Which worker.
    pub worker: WorkerId,
    /// Why it was killed, if it was.
    pub condemned: Option<Condemned>,
    /// Whether it had ever served.
    pub served: bool,
    /// Failures in a row, this one included.
    pub failures: u32,
    /// How long until the next start; `None` when there will be none.
    pub wait: Option<Duration>,
}
