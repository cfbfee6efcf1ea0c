//! What the supervisor and the process of the metrics page say to each other.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Message;
use crate::facts::Confinement;

/// Bytes enough for any of these messages.
const SMALL: usize = 8 * 1024;

/// The supervisor's messages to the page's process. The supervisor answers each ask, if the page waits for
/// that answer before it sends another ask of the same kind.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToPage {
    /// Serves the page at the listening socket that comes along.
    Listen,
    /// The status, which comes along in sealed memory.
    Status {
        /// The ask that it answers.
        ask: u64,
    },
    /// The status cannot be told; the supervisor's log says why.
    NoStatus {
        /// The ask that it answers.
        ask: u64,
    },
    /// The supervisor's loop turns.
    Alive {
        /// The ask that it answers.
        ask: u64,
    },
}

/// The messages of the page's process to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromPage {
    /// What the host enforces on it, and what the host cannot enforce; its first message.
    Confined(Confinement),
    /// It is alive; sent several times within the heartbeat timeout.
    Beat,
    /// How much memory it takes; sent with a beat when that has changed.
    Memory {
        /// In bytes.
        resident: u64,
    },
    /// Asks for the status, which is gathered from then on.
    Status {
        /// Comes back in the answer.
        ask: u64,
    },
    /// Asks whether the supervisor's loop turns.
    Alive {
        /// Comes back in the answer.
        ask: u64,
    },
}

impl Message for ToPage {
    const MOST_DESCRIPTORS: usize = 1;

    fn descriptors(&self) -> RangeInclusive<usize> {
        match self {
            Self::Listen | Self::Status { .. } => 1..=1,
            Self::NoStatus { .. } | Self::Alive { .. } => 0..=0,
        }
    }

    fn most_bytes(&self) -> usize {
        SMALL
    }
}

impl Message for FromPage {
    const MOST_DESCRIPTORS: usize = 0;

    fn most_bytes(&self) -> usize {
        SMALL
    }
}
