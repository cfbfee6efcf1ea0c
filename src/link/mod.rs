//! The messages between the supervisor and its children, over socket pairs that no other process can
//! reach.
//!
//! Both ends run the same program file until the supervisor is replaced by a newer one; the version in
//! front of each message tells them apart. Private keys never cross a link: they lie in sealed memory
//! whose descriptor crosses it, see [`Packs`] and [`Handover`].

pub mod board;
pub mod child;
pub mod door;
pub mod end;
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod handover;
mod message;
mod packs;
pub mod page;
pub mod resolver;
pub mod worker;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    end::{Fault, Received},
    handover::{Given, Handover, Unusable},
    message::Message,
    packs::{Card, Left, Packs},
    page::{FromPage, News, Numbers, ToPage},
    resolver::{Answer, Ask, FromResolver, ToResolver},
    worker::{FromWorker, ToWorker},
};
use crate::{
    config::{Address, Config, Listener},
    facts::Trigger,
    tls::material::Material,
};

/// The newest version of the messages, which is in front of each, and by which their recorded bytes are kept. A version
/// has the messages of the one before and may add others behind them; two processes of different versions speak the
/// highest that both know ([`door`]).
pub const FORMAT: u16 = if cfg!(feature = "next") { 2 } else { 1 };

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

/// How much longer than the drain timeout a worker may take to end: it tells the peers of sessions that
/// it cuts them, and tells the supervisor how many it has cut.
pub const PARTING: Duration = Duration::from_secs(3);

/// How often a worker reports that it is alive: several times within the heartbeat timeout, so that
/// one late beat does not count as a death.
pub fn beat_interval(heartbeat_timeout: Duration) -> Duration {
    (heartbeat_timeout / 5).clamp(Duration::from_millis(50), Duration::from_secs(1))
}
