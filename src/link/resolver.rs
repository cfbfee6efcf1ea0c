//! What the supervisor and the resolver say to each other, and what a worker asks the resolver over a link
//! of their own.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Message, end::MOST_BYTES};
use crate::facts::{Confinement, HostAddress, Unresolved, Wanted};

/// The most bytes of a worker's ask: a host name has 253 at most, and a path of a Unix socket fewer.
const ASK: usize = 512;

/// The most bytes of an answer or a report: several times what 32 addresses or a failure need.
const ANSWER: usize = 4096;

/// The most names and paths in a message.
pub const BACKENDS_AT_ONCE: usize = 100;

/// The supervisor's messages to the resolver.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToResolver {
    /// Frees a descriptor for the one that comes along with the next message.
    MakeRoom,
    /// Answers a worker over the pair whose end comes along, instead of the one before.
    Worker {
        /// The worker, which has the other end.
        worker: u64,
    },
    /// These backends are configured, together with those of the messages before it that were not the
    /// last of their list; when it is the last, no others are.
    Backends {
        /// The names and paths.
        wanted: Vec<Wanted>,
        /// Whether the list ends with these.
        is_last: bool,
    },
}

/// The resolver's messages to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromResolver {
    /// What the host enforces on it, and what the host cannot enforce; its first message.
    Confined(Confinement),
    /// It is alive.
    Beat,
    /// It is alive, and takes so much memory; sent instead of a beat when that has changed.
    Memory {
        /// In bytes.
        resident: u64,
    },
}

/// What a worker asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Comes back in the answer.
    pub number: u64,
    /// What it asks for.
    pub wanted: Wanted,
    /// How long it waits for the answer.
    pub within: Duration,
}

/// What the resolver answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The addresses of a name.
    Addresses {
        /// The ask that is answered.
        number: u64,
        /// In the order in which to try them.
        addresses: Vec<HostAddress>,
    },
    /// A connection to a path comes along.
    Connection {
        /// The ask that is answered.
        number: u64,
    },
    /// There are no addresses and no connection.
    Failed {
        /// The ask that is answered.
        number: u64,
        /// Why not.
        reason: Unresolved,
    },
}

impl Message for ToResolver {
    const MOST_DESCRIPTORS: usize = 1;

    fn descriptors(&self) -> RangeInclusive<usize> {
        match self {
            Self::Worker { .. } => 1..=1,
            Self::MakeRoom | Self::Backends { .. } => 0..=0,
        }
    }

    fn most_bytes(&self) -> usize {
        MOST_BYTES
    }
}

impl Message for FromResolver {
    const MOST_DESCRIPTORS: usize = 0;

    fn most_bytes(&self) -> usize {
        ANSWER
    }
}

impl Message for Ask {
    const MOST_DESCRIPTORS: usize = 0;

    fn most_bytes(&self) -> usize {
        ASK
    }
}

impl Message for Answer {
    const MOST_DESCRIPTORS: usize = 1;

    fn descriptors(&self) -> RangeInclusive<usize> {
        match self {
            Self::Connection { .. } => 1..=1,
            Self::Addresses { .. } | Self::Failed { .. } => 0..=0,
        }
    }

    fn most_bytes(&self) -> usize {
        ANSWER
    }
}
