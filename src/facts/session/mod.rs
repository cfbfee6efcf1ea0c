//! Sessions, as `proxyctl`, the supervisor and its workers speak of them.

mod id;
mod revoked;
mod selection;

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    id::{NoSessionId, SessionId},
    revoked::{MOST_REVOKED, RevokedCertificate, RevokedSessions},
    selection::{Candidate, MOST_IDS, Selection},
};

/// The most sessions that one request lists.
pub const MOST_LISTED: u64 = 10_000;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// Its client has connected and was not let in yet.
    Opening,
    /// Client and backend talk to each other.
    Established,
}

/// The TLS of a client's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTls {
    /// Its version, such as `TLSv1.3`.
    pub version: String,
    /// Its cipher suite, as OpenSSL names it.
    pub suite: String,
}

/// The certificate that a client has presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCertificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// SHA-256 of its DER, in lower-case hexadecimal.
    pub sha256: String,
}

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEntry {
    /// Its id, which no other session has had.
    pub id: SessionId,
    /// How far it has come.
    pub state: SessionState,
    /// The name of its listener.
    pub listener: String,
    /// The client; `None` if it has no address, as on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The load balancer that speaks for the client, if one does.
    pub via: Option<SocketAddr>,
    /// The backend that serves it, or the one that was tried last; `None` before the first is tried.
    pub backend: Option<String>,
    /// The user of the client's login; `None` if none is known. Any text that a client can send, but short.
    pub user: Option<String>,
    /// The client's TLS; `None` without, or before the handshake is over.
    pub tls: Option<SessionTls>,
    /// The client's certificate, if it has presented one.
    pub client_cert: Option<SessionCertificate>,
    /// The generation of its handshake.
    pub generation: u64,
    /// When the client was accepted.
    pub started_at: Timestamp,
    /// Milliseconds since the last byte was relayed; since the client was accepted if none was.
    pub idle_ms: u64,
    /// Bytes relayed to the backend.
    pub bytes_up: u64,
    /// Bytes relayed to the client.
    pub bytes_down: u64,
    /// How often another worker has gone on with it.
    pub takeovers: u64,
}

#[cfg(test)]
impl SessionEntry {
    /// Returns the session of a client of the listener `main` of which nothing is known.
    pub(crate) fn sample(id: SessionId, started_at: Timestamp) -> Self {
        Self {
            id,
            state: SessionState::Established,
            listener: "main".to_owned(),
            client: None,
            via: None,
            backend: None,
            user: None,
            tls: None,
            client_cert: None,
            generation: 1,
            started_at,
            idle_ms: 0,
            bytes_up: 0,
            bytes_down: 0,
            takeovers: 0,
        }
    }
}

/// What a request for sessions found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// Sessions that were asked for, the oldest first.
    pub sessions: Vec<SessionEntry>,
    /// How many more there are, which are not in the list.
    pub left_out: u64,
    /// The process ids of workers that did not answer in time, whose sessions are not in the list.
    pub silent: Vec<u32>,
}

/// What a request to end sessions did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedSessions {
    /// How many sessions it has ended.
    pub count: u64,
    /// The ids of these; not all, if they are more than an answer may hold.
    pub ids: Vec<SessionId>,
    /// The process ids of workers that did not answer in time; they end their sessions when they go on.
    pub silent: Vec<u32>,
}
