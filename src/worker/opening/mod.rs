//! From a connected client to two legs that only need to be relayed.
//!
//! Each protocol has a folder whose `Opening` drives the pure parsers of
//! [`crate::protocol`] over the legs; `table.rs` says which. This module holds what they share.

mod failure;
mod mysql;
mod postgres;
mod proxy;
mod table;
mod tcp;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout_at;

use self::table::{Header, row};
pub use self::{
    failure::{Failure, Refusal},
    proxy::is_balancer,
};
use super::{
    backends::BackendError,
    connect::Target,
    context::Context,
    deadline::{Deadline, Phase},
    places::NoPlace,
};
use crate::{
    config::Address,
    protocol::watcher::Watcher,
    session::{
        leg::{Leg, LegError},
        lingering_close::{is_silence, lingering_close},
    },
};

/// How long a failed opening may take to tell the client, and how long refusing a client may take if
/// there is no place for it.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Two legs to be relayed.
#[derive(Debug)]
pub struct Opened {
    /// The client's.
    pub client: Leg,
    /// The backend's.
    pub backend: Leg,
    /// What watches the session from now on.
    pub watcher: Watcher,
}

/// Opens a session.
pub async fn open(
    mut context: Context,
    deadline: Deadline,
    mut client: Leg,
) -> Result<Opened, Failure> {
    if let Some(endpoints) = proxy::accept(&context, deadline, &mut client).await? {
        context.endpoints = Some(endpoints);
        let client_ip = endpoints.source.ip();
        let place = context.place.as_ref();
        let taken = place.map_or(Ok(()), |it| it.take_client(client_ip, context.limits()));
        if let Err(refusal) = taken {
            return Err(turn_away(context, deadline, client, refusal, Header::Read).await);
        }
    }
    let row = row(context.service.listener.protocol);
    (row.open)(Arc::new(context), deadline, client).await
}

/// Tells a client that has just connected, in its own protocol, that there is no place for it, as far
/// as it lets itself be told in time.
pub async fn refuse(
    context: Context,
    deadline: Deadline,
    client: Leg,
    refusal: NoPlace,
) -> Failure {
    turn_away(context, deadline, client, refusal, Header::Unread).await
}

async fn turn_away(
    context: Context,
    deadline: Deadline,
    client: Leg,
    refusal: NoPlace,
    header: Header,
) -> Failure {
    if let Some(_telling) = context.service.places.tell() {
        let deadline = deadline.within(LAST_WORDS);
        let row = row(context.service.listener.protocol);
        (row.refuse)(context, deadline, client, refusal, header).await;
    }
    refusal.into()
}

/// Connects to a backend without a client, for the certificate that it shows. How that went is noted like
/// a session's attempt.
pub async fn probe(target: Target, deadline: Deadline) {
    let row = row(target.context.service.listener.protocol);
    (row.probe)(target, deadline).await;
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
async fn accept_tls(
    context: &Context,
    deadline: Deadline,
    client: &mut Leg,
    first: Vec<u8>,
) -> Result<(), Failure> {
    let nothing_yet = first.is_empty();
    let began = Instant::now();
    let accepting = client.accept_tls(first, |first| context.accept_tls(first));
    let accepted = timeout_at(deadline.at(), accepting).await;
    let chains = &context.services.sessions.chains;
    client
        .tls()
        .inspect(|tls| context.session.note_tls(tls, chains));
    let Ok(accepted) = accepted else {
        return Err(deadline.late(Phase::ClientTls).into());
    };
    match accepted {
        Ok(()) => {
            let times = &context.session.counters.handshake_times;
            times.observe(began.elapsed());
            Ok(())
        }
        Err(error) if nothing_yet && !client.has_spoken() && is_silence(&error, 0) => {
            Err(Failure::Silent)
        }
        Err(error) => {
            if matches!(error, LegError::Tls(_)) {
                client.give_up_tls();
                lingering_close(client, &[]).await;
            }
            Err(Failure::Client(error))
        }
    }
}

/// Says goodbye to a client that was too slow, so that TLS does not end without its own end.
async fn close_if_late(client: &mut Leg, failure: Failure) -> Failure {
    if matches!(failure, Failure::Late(_)) {
        lingering_close(client, &[]).await;
    }
    failure
}

fn backend_failed(target: &Target, error: impl Into<BackendError>) -> Failure {
    Failure::of_backend(target.address(), error)
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
