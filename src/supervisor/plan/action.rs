//! The actions that the plan decides on.

use std::time::Duration;

use super::{AskId, Condemned, End, LoadId, WorkerId};
use crate::facts::{Partial, Trigger};

/// An action that the loop has the owners carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the disk, or what was served before if the trigger is a rollback.
    Load {
        /// The load, which the event of its end names.
        load: LoadId,
        /// The trigger, which decides what is read.
        trigger: Trigger,
        /// Whether a part of what changed may come into force.
        partial: Partial,
    },
    /// Make what a load brought the generation of this number, without putting it in force.
    Stage {
        /// The load.
        load: LoadId,
        /// The number that the generation will have.
        generation: u64,
    },
    /// Hand a worker the staged generation, to make it ready without serving it.
    Offer(WorkerId),
    /// Put the staged generation in force.
    Commit,
    /// Note that what is on disk is served again after a rollback, or may be from now on.
    EndRollback,
    /// Drop the staged generation; the one in force stays.
    Discard,
    /// Tell a worker to drop the staged generation.
    Withdraw(WorkerId),
    /// Start a worker with the generation in force and its slot's sockets.
    Start {
        /// The slot.
        slot: usize,
        /// The id of the new worker.
        worker: WorkerId,
        /// Whether it takes the place of one that failed.
        again: bool,
        /// Whether it only takes sessions over, and gets neither sockets nor a generation to serve before
        /// [`Self::Admit`].
        held_back: bool,
    },
    /// Let a worker that was held back serve the generation in force, with its slot's sockets.
    Admit(WorkerId),
    /// Tell a worker to serve the generation in force, and hand it all that it needs for that.
    Serve(WorkerId),
    /// Hand a worker the sockets of a slot, to accept from.
    Hand {
        /// The worker.
        worker: WorkerId,
        /// The slot.
        slot: usize,
    },
    /// Tell a worker to stop accepting from the sockets of a slot.
    Release {
        /// The worker.
        worker: WorkerId,
        /// The slot.
        slot: usize,
    },
    /// Kill a worker.
    Kill(WorkerId),
    /// Tell a worker to finish its sessions and exit.
    Drain(WorkerId),
    /// Answer requests that get no result of a load.
    Answer {
        /// The requests.
        asks: Vec<AskId>,
        /// Why there is no result.
        answer: NoResult,
    },
    /// Report how a load ended; once for each load that was begun, unless the daemon ends before.
    Settle {
        /// The load.
        load: LoadId,
        /// The requests that wait for it.
        asks: Vec<AskId>,
        /// How it ended.
        outcome: Outcome,
    },
    /// Report a worker's failure to operators and to the exit-failure command.
    Report(Failure),
    /// Report that the daemon serves; once.
    Ready,
    /// Close all listening sockets, because the daemon is ending; once.
    CloseSockets,
    /// End the daemon; comes again if the operator then asks for an end at once.
    Exit(Exit),
}

/// Why a request for a reload gets no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoResult {
    /// A read of the disk takes far longer than expected.
    DiskStuck,
    /// The daemon is ending.
    Ending,
}

/// How a load ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker serves the generation in force: the one that the load brought, or the one before it
    /// if the load brought nothing new.
    Served {
        /// How many workers confirmed it.
        workers: usize,
    },
    /// A worker could not make the generation ready, so no worker serves it.
    Refused {
        /// The worker's reason.
        reason: String,
    },
    /// There is no generation to go back to.
    Impossible,
}

/// A worker's failure: every end that was not requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Its slot.
    pub slot: usize,
    /// The worker.
    pub worker: WorkerId,
    /// The end of its process.
    pub end: End,
    /// Why the supervisor killed it, if it did.
    pub condemned: Option<Condemned>,
    /// Whether it ever served clients, or went on with sessions of another worker.
    pub served: bool,
    /// Failures in a row, this one included.
    pub failures: u32,
    /// How long until another worker is to serve in its place; `None` if none will.
    pub wait: Option<Duration>,
    /// Whether another worker was started at once to take its sessions over.
    pub has_heir: bool,
}

/// How the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Whether the daemon ends as requested, with exit status 0.
    pub success: bool,
    /// Whether to wait for the exit-failure command, which was run meanwhile.
    pub after_hook: bool,
}
