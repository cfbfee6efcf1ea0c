//! What the supervisor and the process of the metrics page say to each other.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Message;
use crate::{control::Event, facts::Confinement};

/// Bytes enough for any of these messages.
const SMALL: usize = 8 * 1024;

/// The most listeners of [`News`]: so many have a history.
pub const MOST_LISTENERS: usize = 256;

/// The most characters of an event's message in [`News`].
pub const MOST_CHARACTERS: usize = 1000;

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
    /// The news, which come along in sealed memory; if nothing comes along, they cannot be told.
    News {
        /// The ask that it answers.
        ask: u64,
    },
}

/// What the page remembers by itself for the people who look at it later: few numbers, told every ten seconds, and
/// what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The numbers of the first [`MOST_LISTENERS`] listeners of the configuration.
    pub listeners: Vec<Numbers>,
    /// The events behind the one that the ask names, the oldest first.
    pub events: Vec<Event>,
}

/// Numbers of a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Its name.
    pub listener: String,
    /// Sessions open now.
    pub open: u64,
    /// Sessions that never came to relay, since the daemon started: failed handshakes, no backend, no room.
    pub failed: u64,
    /// Bytes from clients to backends since then.
    pub bytes_up: u64,
    /// Bytes from backends to clients since then.
    pub bytes_down: u64,
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
    /// Asks for the news.
    News {
        /// Comes back in the answer.
        ask: u64,
        /// The number of the newest event that the page knows; 0 if it knows none.
        after: u64,
    },
}

impl Message for ToPage {
    const MOST_DESCRIPTORS: usize = 1;

    fn descriptors(&self) -> RangeInclusive<usize> {
        match self {
            Self::Listen | Self::Status { .. } => 1..=1,
            Self::News { .. } => 0..=1,
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
