//! A session: one client, from accept to close.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;

use super::{
    context::Context,
    deadline::{Deadline, Phase},
    opening::{self, Failure, LAST_WORDS, Opened},
    places::{NoPlace, Place},
    service::{Service, Services},
};
use crate::{
    config::ProxyHeaderVersion,
    link::ListenerKey,
    protocol::proxy_header::Endpoints,
    session::{
        conversation::Conversation,
        counters::OpenSession,
        ending::SessionEnd,
        keeper::{Keeper, Keeping},
        leg::Leg,
        registry::Registered,
        relay::{Patience, relay},
        socket::Socket,
    },
};

/// A client that was accepted, and what serves it.
pub struct Accepted {
    /// Its connection.
    pub socket: Socket,
    /// Its address, if it has one.
    pub peer: Option<SocketAddr>,
    /// The listener's service when the client came.
    pub service: Arc<Service>,
    /// What this worker serves, which changes.
    pub services: Arc<Services>,
    /// The listener in it.
    pub key: Arc<ListenerKey>,
    /// What the worker waits for before it ends.
    pub tasks: TaskTracker,
}

/// Serves a client until its session has ended.
///
/// The future is small, because as long as a session lasts so does it: what an opening needs beside is freed
/// before the relay begins.
pub fn serve(client: Accepted) -> impl Future<Output = ()> {
    let opening = Box::pin(begin(client));
    async move { opening.await.go_on().await }
}

/// A session that was opened, or was not.
struct Begun {
    session: Registered,
    /// Kept for as long as the session counts.
    counted: Option<(OpenSession, Arc<Place>)>,
    /// What keeps the session, and after how long.
    keeper: Option<(Arc<Keeper>, Duration)>,
    patience: Patience,
    opened: Result<Opened, Failure>,
}

/// Opens the session of a client that was accepted.
async fn begin(client: Accepted) -> Begun {
    let Accepted {
        socket,
        peer,
        service,
        services,
        key,
        tasks,
    } = client;
    let endpoints = endpoints(&service, &socket);
    let counters = Arc::clone(&service.counters);
    let session = services.sessions.begin(counters, peer, service.generation);
    let patience = Patience::of(&service.listener);
    let keeper = services.keeper.get().cloned().zip(service.keep_after);
    let taken = take_place(&service, peer);
    let refusal = taken.as_ref().err().copied();
    if taken.is_ok() {
        session.has_place();
    }
    let place = taken.ok().map(Arc::new);
    // A client that is turned away takes no place while it is told.
    let counted = place.clone().map(|place| (session.counters.open(), place));
    let context = Context {
        service,
        session: Arc::clone(&session),
        endpoints,
        services,
        key,
        tasks,
        place,
    };
    let opened = open(context, Leg::new(socket), refusal).await;
    Begun {
        session,
        counted,
        keeper,
        patience,
        opened,
    }
}

impl Begun {
    /// Relays the session until it has ended, if it was opened, and notes how it ended.
    fn go_on(self) -> impl Future<Output = ()> {
        let Self {
            session,
            counted,
            keeper,
            patience,
            opened,
        } = self;
        // Until it is kept, the session ends with this worker.
        let mut unkept = opened.is_ok().then(|| {
            let place = counted.as_ref().map(|(_, place)| place);
            place.map(|place| Box::new(place.unkept()))
        });
        let place = counted.as_ref().map(|(_, place)| place.seat());
        let keeping = keeper
            .zip(place)
            .and_then(|((keeper, after), (number, counts_client))| {
                Some(Keeping {
                    keeper,
                    after,
                    number: number.to_u16(),
                    counts_client,
                    unkept: unkept.take()??,
                })
            });
        let relayed = opened.map(|opened| {
            session.is_established();
            let Opened {
                client,
                backend,
                watcher,
            } = opened;
            let conversation = Conversation::new(client, backend, watcher);
            relay(conversation, patience, Arc::clone(&session), keeping)
        });
        let relayed = relayed.map_err(|failure| Box::new(SessionEnd::from(failure)));
        async move {
            let ending = match relayed {
                Ok(relayed) => SessionEnd::from(&relayed.await),
                Err(ending) => *ending,
            };
            ending.note(&session);
            drop((counted, unkept));
        }
    }
}

/// Takes a place for the client at `peer`. If a load balancer is there, its header will tell whose limit
/// holds.
fn take_place(service: &Service, peer: Option<SocketAddr>) -> Result<Place, NoPlace> {
    let client = peer.filter(|_| !opening::is_balancer(&service.listener, peer));
    let limits = &service.listener.limits;
    service.places.take(client.map(|it| it.ip()), limits)
}

/// Returns both addresses of the client's connection, if a PROXY header is to tell them to the backend.
fn endpoints(service: &Service, socket: &Socket) -> Option<Endpoints> {
    if service.listener.proxy_protocol.send == ProxyHeaderVersion::Off {
        return None;
    }
    let (source, destination) = socket.addresses()?;
    Some(Endpoints {
        source,
        destination,
    })
}

/// Opens a session within its deadline, unless it is told to stop before.
async fn open(context: Context, client: Leg, refusal: Option<NoPlace>) -> Result<Opened, Failure> {
    let deadline = Deadline::after(context.limits().handshake_timeout);
    // Each wait ends by itself at the deadline; the time after it is for telling the client.
    let end = deadline.at() + LAST_WORDS;
    let session = Arc::clone(&context.session);
    let opening = async {
        match refusal {
            Some(refusal) => Err(opening::refuse(context, deadline, client, refusal).await),
            None => opening::open(context, deadline, client).await,
        }
    };
    tokio::select! {
        biased;
        opened = timeout_at(end, opening) => {
            opened.unwrap_or_else(|_| Err(deadline.late(Phase::Request).into()))
        }
        reason = session.stop.stopped() => Err(Failure::Stopped(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a session costs beside its sockets, its record and its relay, in bytes.
    const MOST: usize = 256;

    fn size<F>(_: fn(Accepted) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_future_of_a_session_is_small() {
        let size = size(serve);
        assert!(size <= MOST, "{size} bytes");
    }
}
