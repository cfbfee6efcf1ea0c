//! The messages between the supervisor and a worker, over a socket pair that no other process can
//! reach.
//!
//! The worker is the same program file, so there is no version to agree on. Private keys cross
//! this link, in frames that are wiped after use, or lie in sealed memory whose descriptor crosses it:
//! see [`Packs`].

pub mod channel;
#[cfg(test)]
mod golden;
mod handover;
mod packs;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    handover::{Given, Handover, Unusable},
    packs::{Card, MAX_PACKS, Packs},
};
use crate::{
    config::{Address, Config, Listener},
    facts::{ListenerCounts, Trigger},
    tls::{material::Material, tickets::TicketSecrets},
};

/// The version of the messages, by which their recorded bytes are kept; nobody sends it.
#[cfg(test)]
const FORMAT: u16 = 1;

/// One immutable state of everything that is served: configuration and material together.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Counts up from 1; each load that brought something new adds one.
    pub number: u64,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// Why it was loaded.
    pub trigger: Trigger,
    /// The configuration.
    pub config: Arc<Config>,
    /// The certificates, keys and authorities.
    pub material: Material,
    /// Where workers read the chains and keys of its identities.
    pub packs: Packs,
}

/// Identifies a listening socket across reloads, by its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListenerKey {
    /// The address as configured.
    pub bind: String,
    /// The listener's name if the kernel chooses the port, because the address then does not identify
    /// the listener; otherwise empty.
    pub name: String,
}

impl ListenerKey {
    /// Returns the key of `listener`.
    pub fn of(listener: &Listener) -> Self {
        let name = match listener.bind {
            Address::Tcp { port: 0, .. } => listener.name.clone(),
            _ => String::new(),
        };
        Self {
            bind: listener.bind.to_string(),
            name,
        }
    }

    /// Returns whether the key is that of a Unix socket, which all slots share.
    pub fn is_unix(&self) -> bool {
        matches!(self.bind.parse(), Ok(Address::Unix(_)))
    }
}

/// The supervisor's messages to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    /// Accepts from the listening socket that comes along, which belongs to a listener and a slot.
    Accept {
        /// The listener.
        key: ListenerKey,
        /// The slot that the socket belongs to: the worker's own, or one without a worker.
        slot: usize,
    },
    /// Takes places for the sessions of a listener from the first semaphore that comes along, and counts
    /// the places that the worker holds in the second.
    Places {
        /// The listener's name.
        listener: String,
        /// The number of these places, by which those of another listener that had the name are told
        /// from them.
        room: u64,
    },
    /// Stops accepting from the sockets of a slot that has a worker again.
    Release {
        /// The slot.
        slot: usize,
    },
    /// Makes tickets for resumption with these secrets, before its first generation and whenever
    /// they change.
    Tickets(TicketSecrets),
    /// Frees descriptors for the packs that come along with the next message.
    MakeRoom,
    /// Makes a generation ready without serving it, and answers this offer. The packs that the worker
    /// does not have come along.
    Stage {
        /// Comes back in the answer; 0 if the generation is in force, and [`ToWorker::Serve`] follows.
        offer: u64,
        /// The generation.
        handover: Handover,
    },
    /// Serves from now on the generation that was made ready, and confirms it.
    Serve {
        /// Its number.
        generation: u64,
    },
    /// Drops the generation that was made ready, and the sockets that came for it.
    Withdraw,
    /// Asks for the counts.
    Count {
        /// Comes back in the answer.
        ask: u64,
    },
    /// Probes the backends whose certificates decide whether clients are let in, and confirms that.
    Probe {
        /// Comes back in the answer.
        ask: u64,
    },
    /// Stops accepting, finishes sessions, and exits.
    Drain,
}

/// A worker's messages to the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// Every handshake that begins from now on is made with this generation.
    Serving {
        /// Its number.
        generation: u64,
    },
    /// It cannot make ready the generation that it was handed, and still serves the one before.
    Refused {
        /// The offer that it answers.
        offer: u64,
        /// Why not.
        reason: String,
    },
    /// It has made ready the generation that it was offered.
    Staged {
        /// The offer that it answers.
        offer: u64,
    },
    /// The slots for which it accepts, each from all of its sockets; sent with each beat and when they
    /// change.
    Accepts {
        /// The slots' numbers.
        slots: Vec<usize>,
    },
    /// It is alive; sent several times within the heartbeat timeout.
    Beat,
    /// Its counts, sent with each beat and when asked for.
    Counts {
        /// The ask that it answers; `None` if it answers none.
        ask: Option<u64>,
        /// Sessions and backends by listener name.
        counts: Vec<(String, ListenerCounts)>,
    },
    /// It has finished its sessions and exits; the counts were sent before.
    Drained {
        /// The sessions that were still open when the drain timeout was over, and so were cut.
        cut: u64,
    },
    /// It has probed the backends, and has sent the counts since.
    Probed {
        /// The ask that it answers.
        ask: u64,
    },
}

/// How much longer than the drain timeout a worker may take to end: it tells the peers of sessions that
/// it cuts them, and tells the supervisor how many it has cut.
pub const PARTING: Duration = Duration::from_secs(3);

/// How often a worker reports that it is alive: several times within the heartbeat timeout, so that
/// one late beat does not count as a death.
pub fn beat_interval(heartbeat_timeout: Duration) -> Duration {
    (heartbeat_timeout / 5).clamp(Duration::from_millis(50), Duration::from_secs(1))
}
