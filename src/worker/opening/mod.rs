//! From a connected client to two legs that only need to be relayed.
//!
//! One module a protocol drives the pure parsers of [`crate::protocol`] over the legs; this one
//! holds what they share.

mod change_user;
mod context;
mod mysql;
mod postgres;
mod proxy;
mod reader;
mod talk;
mod tcp;

use std::{net::IpAddr, time::Duration};

use tokio::time::timeout;

pub use self::change_user::{Relogin, change_user};
pub use self::context::Context;
use super::{
    farewell::is_silence,
    leg::{Leg, LegError},
    socket::Socket,
};
use crate::{config::Address, protocol::Protocol};

/// Two legs to be relayed.
#[derive(Debug)]
pub struct Opened {
    /// The client's.
    pub client: Leg,
    /// The backend's.
    pub backend: Leg,
    /// What is needed when the client logs in again; `None` where that needs no care.
    pub relogin: Option<Relogin>,
}

/// Why a session came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The backend.
    #[error("backend: {0}")]
    Backend(String),
    /// The client's connection or its TLS.
    #[error("client: {0}")]
    Client(LegError),
    /// There was nothing to relay, and what there was is done.
    #[error("nothing more to do")]
    Done,
    /// The listener has as many sessions as it may.
    #[error("the listener has as many sessions as `max_connections` allows")]
    Full,
    /// It took too long.
    #[error("the opening took longer than the handshake timeout of {} s", .0.as_secs_f64())]
    Late(Duration),
    /// The client asked for something that it cannot have, and was told so.
    #[error("refused: {0}")]
    Refused(String),
    /// The client said nothing and left.
    #[error("the client left without a word")]
    Silent,
}

/// Opens a session.
pub async fn open(context: &mut Context, mut client: Leg) -> Result<Opened, Failure> {
    if context.service.listener.proxy_protocol.accept {
        proxy::accept(context, &mut client).await?;
    }
    match context.service.listener.protocol {
        Protocol::Mysql => mysql::open(context, client).await,
        Protocol::Postgres => postgres::open(context, client).await,
        Protocol::Tcp => tcp::open(context, client).await,
    }
}

/// Tells a client in its own protocol that there is no room.
pub async fn refuse(context: &Context, client: Leg) -> Failure {
    match context.service.listener.protocol {
        Protocol::Mysql => mysql::refuse(client).await,
        Protocol::Postgres => postgres::refuse(context, client).await,
        Protocol::Tcp => {}
    }
    Failure::Full
}

/// Reads more from a client whose opening is in `buffer`.
async fn read_client(client: &mut Leg, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    client.receive(buffer).await.map_err(|error| {
        if is_silence(&error, buffer.len()) {
            Failure::Silent
        } else {
            Failure::Client(error)
        }
    })
}

/// Ends TLS with a client that has sent `first` of it already.
async fn accept_tls(context: &Context, client: &mut Leg, first: Vec<u8>) -> Result<(), Failure> {
    let nothing_yet = first.is_empty();
    let accepted = client.accept_tls(first, || context.accept_tls()).await;
    accepted.map_err(|error| {
        if nothing_yet && !client.has_spoken() && is_silence(&error, 0) {
            Failure::Silent
        } else {
            Failure::Client(error)
        }
    })
}

/// Connects to the backend, and says for whom if the listener is to.
async fn connect(context: &Context) -> Result<Leg, Failure> {
    let listener = &context.service.listener;
    let patience = listener.limits.connect_timeout;
    let failed = |reason: String| Failure::Backend(format!("{}: {reason}", listener.backend));
    let socket = match timeout(patience, Socket::connect(&listener.backend)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => {
            return Err(failed(format!(
                "no answer within {} s",
                patience.as_secs_f64()
            )));
        }
    };
    let mut backend = Leg::new(socket);
    let header = proxy::header(context);
    if !header.is_empty() {
        backend
            .send(&header)
            .await
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(backend)
}

/// Begins TLS with a backend that is ready for it; nothing if its leg has none.
async fn secure(context: &Context, backend: &mut Leg) -> Result<(), Failure> {
    let Some(tls) = context.connect_tls() else {
        return Ok(());
    };
    let done = match tls {
        Ok(tls) => backend.connect_tls(tls).await,
        Err(error) => Err(error.into()),
    };
    done.map_err(|error| backend_failed(context, &error))
}

fn backend_failed(context: &Context, error: &dyn std::fmt::Display) -> Failure {
    failed_at(&context.service.listener.backend, error)
}

fn failed_at(backend: &Address, error: &dyn std::fmt::Display) -> Failure {
    Failure::Backend(format!("{backend}: {error}"))
}

/// Whether plaintext to `address` stays within this machine.
fn is_local(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}
