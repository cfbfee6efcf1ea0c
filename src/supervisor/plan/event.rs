//! The events from which the plan decides.

use std::{collections::BTreeSet, time::Duration};

use super::{AskId, End, LoadId, WorkerId};
use crate::facts::{Partial, Trigger};

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A load is over.
    Loaded {
        /// The load.
        load: LoadId,
        /// What the load brought.
        loaded: Loaded,
    },
    /// A worker sent a message.
    Heard(WorkerId),
    /// A worker has reported which slots it accepts for.
    Accepts {
        /// Which worker.
        worker: WorkerId,
        /// The slots; the worker accepts from all sockets of each.
        slots: BTreeSet<usize>,
    },
    /// A worker has made the staged generation ready.
    Staged {
        /// Which worker.
        worker: WorkerId,
        /// The load that brought it.
        load: LoadId,
    },
    /// A worker serves a generation.
    Serving {
        /// Which worker.
        worker: WorkerId,
        /// Which generation.
        generation: u64,
    },
    /// A worker cannot make a generation ready, and still serves the one before.
    Refused {
        /// Which worker.
        worker: WorkerId,
        /// The load that brought the generation if it is staged; `None` if it is in force.
        offer: Option<LoadId>,
        /// Why.
        reason: String,
    },
    /// A worker has ended, or could not be started.
    Exited {
        /// Which worker.
        worker: WorkerId,
        /// How.
        end: End,
        /// Whether it has left sessions that another worker can take over.
        leaves: bool,
    },
    /// A worker was handed sessions that another worker has left.
    Inherits(WorkerId),
    /// A worker has taken over all sessions that it was handed.
    TookOver(WorkerId),
    /// A load is requested: of the disk, or of what was served before.
    Reload {
        /// The request that waits for the result; `None` if there is none, as after a signal.
        ask: Option<AskId>,
        /// Why.
        trigger: Trigger,
        /// Whether a part of what changed may come into force.
        partial: Partial,
    },
    /// The daemon is to end when its sessions have ended, but within this time.
    Drain {
        /// How long sessions may go on.
        within: Duration,
    },
    /// The daemon is to end at once.
    Stop,
}

/// What a load brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// Something new to serve.
    New {
        /// How many pieces of material there are.
        pieces: usize,
    },
    /// Nothing new: all that it found is served.
    Same,
    /// Nothing new, and something that it found is broken.
    Kept,
    /// Nothing that could be served: there is no generation to go back to.
    Impossible,
}
