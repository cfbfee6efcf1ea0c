//! A session as `--json` shows it.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::facts::{SessionCertificate, SessionEntry, SessionId, SessionState, SessionTls};

/// The client of a Unix socket, which has no address.
const UNIX: &str = "unix";

/// A session as `--json` shows it. Its names are a promise to scripts.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    id: SessionId,
    state: SessionState,
    listener: &'a str,
    /// The client's address and port, or `unix`.
    client: String,
    via: Option<SocketAddr>,
    /// Empty before a backend is tried.
    backend: &'a str,
    user: Option<&'a str>,
    tls: Option<&'a SessionTls>,
    client_cert: Option<&'a SessionCertificate>,
    generation: u64,
    started_at: Timestamp,
    idle_s: f64,
    bytes_up: u64,
    bytes_down: u64,
    takeovers: u64,
}

impl<'a> Document<'a> {
    pub(super) fn of(entry: &'a SessionEntry) -> Self {
        Self {
            id: entry.id,
            state: entry.state,
            listener: &entry.listener,
            client: client(entry.client),
            via: entry.via,
            backend: entry.backend.as_deref().unwrap_or_default(),
            user: entry.user.as_deref(),
            tls: entry.tls.as_ref(),
            client_cert: entry.client_cert.as_ref(),
            generation: entry.generation,
            started_at: entry.started_at,
            idle_s: idle(entry).as_secs_f64(),
            bytes_up: entry.bytes_up,
            bytes_down: entry.bytes_down,
            takeovers: entry.takeovers,
        }
    }
}

/// Returns the client's address and port as they are shown.
pub(super) fn client(address: Option<SocketAddr>) -> String {
    // A client of an IPv4 network may come over an IPv6 socket.
    let canonical = address.map(|it| SocketAddr::new(it.ip().to_canonical(), it.port()));
    canonical.map_or_else(|| UNIX.to_owned(), |it| it.to_string())
}

/// Returns how long nothing was relayed.
pub(super) fn idle(entry: &SessionEntry) -> std::time::Duration {
    std::time::Duration::from_millis(entry.idle_ms)
}
