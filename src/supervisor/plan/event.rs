//! What happens to the plan.

use std::time::Duration;

use super::{AskId, WorkerId};
use crate::control::{Partial, Trigger};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// The load that was going on is over.
    Loaded(Loaded),
    /// Something was heard of a worker.
    Heard(WorkerId),
    /// A worker serves a generation.
    Serving {
        /// Which worker.
        worker: WorkerId,
        /// Which generation.
        generation: u64,
    },
    /// A worker cannot serve a generation.
    Unable(WorkerId),
    /// A worker has ended, or could not be started.
    Exited(WorkerId),
    /// Somebody or something wants the disk to be read again.
    Reload {
        /// Who waits for the answer; nobody waits for that of a signal.
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
    New,
    /// Nothing new.
    Same,
}
