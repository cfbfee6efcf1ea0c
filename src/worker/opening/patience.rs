//! The deadline of an opening, and what is waited for when it passes.

use std::{fmt, future::Future, time::Duration};

use tokio::time::timeout_at;

use super::{Context, Failure, failed_at};
use crate::{
    config::Address,
    session::{farewell::farewell, leg::Leg},
};

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

impl Phase {
    /// Whether only the backend is waited for.
    fn is_backend(self) -> bool {
        matches!(
            self,
            Self::Lookup | Self::Connect | Self::Greeting | Self::Answer | Self::BackendTls
        )
    }
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

/// Waits until the deadline of the opening at most. Of phases inside of each other the innermost is
/// told of.
pub(super) async fn in_time<T, E: From<Failure>>(
    context: &Context,
    phase: Phase,
    wait: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match timeout_at(context.deadline, wait).await {
        Ok(result) => result,
        Err(_) => Err(late(context, phase).into()),
    }
}

/// Returns how an opening failed whose deadline passed in a phase.
pub(super) fn late(context: &Context, phase: Phase) -> Failure {
    let limit = context.service.listener.limits.handshake_timeout;
    let failure = Failure::Late(limit, phase);
    blame(context.backend(), failure, phase.is_backend())
}

/// Says that the deadline of an opening has passed in a phase.
pub fn passed(limit: Duration, phase: Phase) -> String {
    Failure::Late(limit, phase).to_string()
}

/// Says goodbye to a client that was too slow, so that TLS does not end without its own end.
pub(super) async fn part(client: &mut Leg, failure: Failure) -> Failure {
    if matches!(failure, Failure::Late(..)) {
        farewell(client, &[]).await;
    }
    failure
}

/// Blames the backend if it was the one that was waited for when the deadline passed.
pub(super) fn blame(backend: &Address, failure: Failure, awaits_backend: bool) -> Failure {
    match failure {
        Failure::Late(..) if awaits_backend => failed_at(backend, &failure),
        failure => failure,
    }
}
