//! The deadline of an opening, and what is waited for when it passes.

use std::{fmt, time::Duration};

/// What an opening waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The PROXY header of a load balancer.
    ProxyHeader,
    /// What the client wants: a request for TLS, or the start of a session.
    Request,
    /// The client's TLS.
    ClientTls,
    /// The client's login.
    Login,
    /// What client and backend say to each other until the client is let in.
    LetIn,
    /// The addresses of a backend's name.
    Lookup,
    /// A connection to a backend.
    Connect,
    /// What the backend says first.
    Greeting,
    /// What the backend says to the start of a session.
    Answer,
    /// TLS with the backend.
    BackendTls,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProxyHeader => "a PROXY header",
            Self::Request => "the client's request",
            Self::ClientTls => "the client's TLS handshake",
            Self::Login => "the client's login",
            Self::LetIn => "the login to be decided",
            Self::Lookup => "the addresses of its name",
            Self::Connect => "a connection",
            Self::Greeting => "its greeting",
            Self::Answer => "its answer to the start-up message",
            Self::BackendTls => "its TLS handshake",
        })
    }
}

/// The deadline of an opening has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handshake timeout of {} s passed while waiting for {phase}", limit.as_secs_f64())]
pub struct Late {
    /// How long the opening was allowed to take.
    pub limit: Duration,
    /// What was waited for.
    pub phase: Phase,
}
