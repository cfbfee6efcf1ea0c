//! What is counted of a listener: sessions, by the way they end, and attempts to reach backends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BackendStatus, EndCounts, FailureCounts, Histogram};

/// Sessions of a listener since the daemon started.
///
/// What another version has not written of it is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectionCounts {
    /// Open now.
    pub open: u64,
    /// Accepted since the start.
    pub total: u64,
    /// Ended before TLS was up.
    pub failed_handshakes: u64,
    /// The same by reason.
    pub failed_by_reason: FailureCounts,
    /// Refused because the listener was full.
    pub refused: u64,
    /// Ended because the backend could not be reached.
    pub failed_backends: u64,
    /// Ended at all, by reason; those that were refused because the listener was full, or the client
    /// had as many as one may have, are here and not among those accepted.
    pub ended: EndCounts,
    /// Bytes that were passed from clients to backends, without TLS and without what opened the session. They are
    /// counted while sessions are open.
    pub bytes_up: u64,
    /// Bytes that were passed from backends to clients, counted likewise.
    pub bytes_down: u64,
    /// How long handshakes with clients took that succeeded, by [`OPENING`](super::histogram::OPENING): from when TLS
    /// was waited for to its end.
    pub handshake_times: Histogram,
    /// How long sessions lasted that have ended and were established, by [`LASTING`](super::histogram::LASTING): from
    /// when the client was accepted.
    pub session_times: Histogram,
}

/// What a worker knows of a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerCounts {
    /// Its sessions.
    pub connections: ConnectionCounts,
    /// Its backends.
    pub backends: Vec<BackendStatus>,
}

impl ListenerCounts {
    /// Adds what another worker knows of the same listener to this.
    pub fn add(&mut self, other: &Self) {
        self.connections.add(other.connections);
        for backend in &other.backends {
            let mut known = self.backends.iter_mut();
            match known.find(|it| it.address == backend.address) {
                Some(known) => known.add(backend),
                None => self.backends.push(backend.clone()),
            }
        }
    }

    /// Adds what a worker that has ended knew of each listener to the `sums` of those that ended before: nothing of it is open
    /// any more.
    pub fn retire(sums: &mut BTreeMap<String, Self>, counts: &BTreeMap<String, Self>) {
        for (name, counts) in counts {
            let sum = sums.entry(name.clone()).or_default();
            sum.add(counts);
            sum.connections.open = 0;
        }
    }

    /// Replaces what is known of a backend.
    pub fn set(&mut self, status: BackendStatus) {
        let mut known = self.backends.iter_mut();
        match known.find(|it| it.address == status.address) {
            Some(known) => *known = status,
            None => self.backends.push(status),
        }
    }

    /// Returns what is known of the backend at this address.
    pub fn backend(&self, address: String) -> BackendStatus {
        let known = self.backends.iter().find(|it| it.address == address);
        known
            .cloned()
            .unwrap_or_else(|| BackendStatus::unknown(address))
    }
}

impl ConnectionCounts {
    /// Adds another count of the same listener to this.
    pub fn add(&mut self, other: Self) {
        self.open = self.open.saturating_add(other.open);
        self.total = self.total.saturating_add(other.total);
        self.failed_handshakes = self
            .failed_handshakes
            .saturating_add(other.failed_handshakes);
        self.failed_by_reason.add(other.failed_by_reason);
        self.refused = self.refused.saturating_add(other.refused);
        self.failed_backends = self.failed_backends.saturating_add(other.failed_backends);
        self.ended.add(other.ended);
        self.bytes_up = self.bytes_up.saturating_add(other.bytes_up);
        self.bytes_down = self.bytes_down.saturating_add(other.bytes_down);
        self.handshake_times.add(other.handshake_times);
        self.session_times.add(other.session_times);
    }
}
