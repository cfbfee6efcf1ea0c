//! What the plan wants done.

use std::time::Duration;

use super::{AskId, Condemned, LoadId, WorkerId};
use crate::control::{Partial, Trigger};

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the disk.
    Load {
        /// Comes back with what it brought.
        load: LoadId,
        /// Why, and so what to read.
        trigger: Trigger,
        /// Whether it may bring a part of what changed.
        partial: Partial,
    },
    /// Make what a load brought the generation of this number, without putting it in force.
    Stage {
        /// The load.
        load: LoadId,
        /// The number that the generation will have.
        generation: u64,
    },
    /// Hand a worker the staged generation, to be made ready and not to be served.
    Offer(WorkerId),
    /// Put the staged generation in force.
    Commit,
    /// Drop the staged generation; the one in force stays.
    Discard,
    /// Let a worker drop the staged generation.
    Withdraw(WorkerId),
    /// Start a worker with the generation in force and its slot's sockets.
    Start {
        /// The slot.
        slot: usize,
        /// What the worker is called from now on.
        worker: WorkerId,
        /// Whether it takes the place of one that failed.
        again: bool,
    },
    /// Let a worker serve the generation in force, with all that it needs for that.
    Serve(WorkerId),
    /// Hand a worker the sockets of a slot, to accept from.
    Hand {
        /// The worker.
        worker: WorkerId,
        /// The slot.
        slot: usize,
    },
    /// Let a worker no longer accept from the sockets of a slot.
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
    /// Answer requests whose load has no result.
    Answer {
        /// The requests.
        asks: Vec<AskId>,
        /// Why there is no result.
        answer: NoResult,
    },
    /// Tell how a load ended; once for each load that was begun, unless the daemon ends before.
    Settle {
        /// The load.
        load: LoadId,
        /// The requests that wait for it.
        asks: Vec<AskId>,
        /// How it ended.
        outcome: Outcome,
    },
    /// Tell people and the exit-failure command that a worker failed.
    Report(Failure),
    /// Say that the daemon serves; once.
    Ready,
    /// Close all listening sockets, because the daemon is ending; once.
    CloseSockets,
    /// End; once more with less patience if the operator asks for that meanwhile.
    Exit(Exit),
}

/// Why a request for a reload gets no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoResult {
    /// A read of the disk takes far longer than it should.
    DiskStuck,
    /// The daemon is ending.
    Ending,
}

/// How a load ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker serves the generation in force, which is what the load brought or, if it brought
    /// nothing new, was there before.
    Served {
        /// How many workers confirmed it.
        workers: usize,
    },
    /// A worker could not make it ready, so that no worker serves it.
    Refused {
        /// The worker's reason.
        reason: String,
    },
}

/// A worker's unwanted end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Its slot.
    pub slot: usize,
    /// Which worker.
    pub worker: WorkerId,
    /// How its process ended.
    pub end: End,
    /// Why it was killed, if it was.
    pub condemned: Option<Condemned>,
    /// Whether it had ever served.
    pub served: bool,
    /// Failures in a row, this one included.
    pub failures: u32,
    /// How long until the next start; `None` when there will be none.
    pub wait: Option<Duration>,
}

/// How a worker's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Code(i32),
    /// It could not be started.
    NotStarted,
    /// This signal ended it.
    Signal(i32),
    /// The system did not tell.
    Unknown,
}

/// How the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Whether it ends as it was meant to.
    pub success: bool,
    /// Whether the exit-failure command, which was run meanwhile, is waited for.
    pub after_hook: bool,
}
