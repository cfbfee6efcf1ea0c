//! What happens to the plan.

use std::{collections::BTreeSet, time::Duration};

use super::{AskId, End, LoadId, WorkerId};
use crate::control::{Partial, Trigger};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A load is over.
    Loaded {
        /// Which.
        load: LoadId,
        /// What it brought.
        loaded: Loaded,
    },
    /// A worker sent a message.
    Heard(WorkerId),
    /// A worker told which slots it accepts for.
    Accepts {
        /// Which worker.
        worker: WorkerId,
        /// The slots from all of whose sockets it accepts.
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
    /// A worker cannot make a generation ready, and serves what it served before.
    Refused {
        /// Which worker.
        worker: WorkerId,
        /// The load that brought it, if it was staged; `None` if it is in force.
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
    },
    /// The disk is to be read again.
    Reload {
        /// The request that waits for the answer; `None` where none does, as after a signal.
        ask: Option<AskId>,
        /// Why.
        trigger: Trigger,
        /// Whether a part of what changed may come into service.
        partial: Partial,
    },
    /// The daemon is to end when its sessions have, but within this time.
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
    /// Nothing new.
    Same,
}
