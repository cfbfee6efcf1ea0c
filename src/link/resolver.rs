//! What the supervisor and the resolver say to each other, and what workers ask it.

use std::{net::IpAddr, ops::RangeInclusive, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Message;

/// Bytes enough for a name, a path or a list of addresses.
const SMALL: usize = 8 * 1024;

/// The supervisor's messages to the resolver.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToResolver {
    /// Answers a worker's questions over the [`Ask`] and [`Answer`] link that comes along, besides those
    /// that it has.
    Worker,
    /// Answers from now on for these backends alone: a list of their hosts and paths comes
    /// along in sealed memory.
    Backends,
}

/// The resolver's messages to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromResolver {
    /// It is alive; sent several times within the heartbeat timeout.
    Beat,
}

/// A worker's questions to the resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Asks for the addresses of a backend's host name.
    Lookup {
        /// Comes back in the answer.
        ask: u64,
        /// The name as configured.
        host: String,
    },
    /// Asks for a connection to a backend's Unix socket.
    Connect {
        /// Comes back in the answer.
        ask: u64,
        /// The path as configured.
        path: PathBuf,
    },
}

/// The resolver's answers to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The addresses of a name, in the order of the system's preference; at least one.
    Addresses {
        /// The question that it answers.
        ask: u64,
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// The connection, which comes along.
    Connected {
        /// The question that it answers.
        ask: u64,
    },
    /// There is no answer.
    Failed {
        /// The question that it answers.
        ask: u64,
        /// Why, for people.
        reason: String,
    },
}

impl Message for ToResolver {
    const MOST_DESCRIPTORS: usize = 1;

    fn descriptors(&self) -> RangeInclusive<usize> {
        1..=1
    }

    fn most_bytes(&self) -> usize {
        SMALL
    }
}

impl Message for FromResolver {
    const MOST_DESCRIPTORS: usize = 0;

    fn descriptors(&self) -> RangeInclusive<usize> {
        0..=0
    }

    fn most_bytes(&self) -> usize {
        SMALL
    }
}

impl Message for Ask {
    const MOST_DESCRIPTORS: usize = 0;

    fn descriptors(&self) -> RangeInclusive<usize> {
        0..=0
    }

    fn most_bytes(&self) -> usize {
        SMALL
    }
}

impl Message for Answer {
    const MOST_DESCRIPTORS: usize = 1;

    fn descriptors(&self) -> RangeInclusive<usize> {
        match self {
            Self::Connected { .. } => 1..=1,
            Self::Addresses { .. } | Self::Failed { .. } => 0..=0,
        }
    }

    fn most_bytes(&self) -> usize {
        SMALL
    }
}
