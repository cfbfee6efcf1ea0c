//! One client from accept to close.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, field::display, info};

use super::{
    leg::Leg,
    opening::{self, Context, Failure, Opened, Phase},
    peers::Peers,
    relay::{Ended, Patience, relay},
    service::{Service, Services},
    socket::Socket,
};
use crate::{
    config::ProxyHeaderVersion,
    control::FailureReason,
    link::ListenerKey,
    protocol::{mysql::command::CommandWatch, proxy_header::Endpoints},
};

/// How long an opening that has failed may take to say so, and a client to hear that it cannot begin.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves the client at `peer` until its session has ended.
pub async fn serve(
    socket: Socket,
    peer: Option<SocketAddr>,
    service: Arc<Service>,
    services: Arc<Services>,
    key: Arc<ListenerKey>,
    tasks: TaskTracker,
) {
    let endpoints = endpoints(&service, &socket);
    let counters = Arc::clone(&service.counters);
    let listener = service.listener.name.clone();
    let patience = Patience::of(&service.listener);
    let place = service.places.take().map(Arc::new);
    let full = place.is_none();
    let telling = if full { service.places.tell() } else { None };
    if full && telling.is_none() {
        counters.refuse();
        return;
    }
    let limit = service.listener.limits.handshake_timeout;
    let limit = if full { limit.min(LAST_WORDS) } else { limit };
    // Who is turned away takes no place while being told.
    let session = place.clone().map(|place| (counters.open(), place));
    let context = Context {
        deadline: Instant::now() + limit,
        service,
        peers: Peers::direct(peer),
        endpoints,
        backend: 0,
        trial: None,
        services,
        key,
        tasks,
        place,
    };
    // What an opening needs is larger than what a relay needs, and freed before it begins.
    let opened = Box::pin(open(context, Leg::new(socket), full)).await;
    if let Some((opened, peers)) = opened {
        converse(opened, patience, &listener, peers).await;
    }
    drop((session, telling));
}

/// Asks the kernel who talks to whom, if the backend is to be told.
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

/// Opens a session within its deadline, and returns whose it is; `None` if it came to nothing.
async fn open(mut context: Context, client: Leg, full: bool) -> Option<(Opened, Peers)> {
    // Each wait ends by itself at the deadline; what comes behind it are words of goodbye.
    let end = context.deadline + LAST_WORDS;
    let limit = context.service.listener.limits.handshake_timeout;
    let opening = async {
        if full {
            Err(opening::refuse(&mut context, client).await)
        } else {
            opening::open(&mut context, client).await
        }
    };
    let opened = match timeout_at(end, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure::Late(limit, Phase::Request)),
    };
    match opened {
        Ok(opened) => Some((opened, context.peers)),
        Err(failure) => {
            note_failure(&failure, &context);
            None
        }
    }
}

fn note_failure(failure: &Failure, context: &Context) {
    let (peer, via) = (context.peers.client, context.peers.via);
    let listener = &context.service.listener.name;
    let counters = &context.service.counters;
    let reason = failure.reason();
    match failure {
        Failure::Done | Failure::Silent => {
            debug!(
                listener,
                peer = peer.map(display),
                via = via.map(display),
                "{failure}"
            );
            return;
        }
        Failure::Full => counters.refuse(),
        Failure::Backend(_) => counters.fail_backend(),
        _ => reason
            .into_iter()
            .for_each(|it| counters.fail_handshake(it)),
    }
    let Some(left_out) = counters.may_tell(reason) else {
        return;
    };
    let shown = failure.certificate();
    info!(
        listener,
        peer = peer.map(display),
        via = via.map(display),
        reason = reason.map(FailureReason::name),
        subject = shown.map(|it| &*it.subject),
        issuer = shown.map(|it| &*it.issuer),
        serial = shown.map(|it| &*it.serial),
        sha256 = shown.map(|it| &*it.sha256),
        left_out = Some(left_out).filter(|it| *it > 0),
        "session failed: {failure}"
    );
}

/// Relays until the session has ended, with as many logins in it as the client wants.
async fn converse(mut opened: Opened, patience: Patience, listener: &str, peers: Peers) {
    loop {
        let watch = opened.relogin.is_some().then(CommandWatch::default);
        let changing = match relay(opened.client, opened.backend, patience, watch).await {
            Ended::ChangeUser(changing) => changing,
            ended => return note_end(&ended, listener, peers),
        };
        let Some(relogin) = opened.relogin else {
            return;
        };
        match Box::pin(opening::change_user(*changing, relogin)).await {
            Ok(next) => opened = next,
            Err(failure) => {
                info!(
                    listener,
                    peer = peers.client.map(display),
                    via = peers.via.map(display),
                    "change of user failed: {failure}"
                );
                return;
            }
        }
    }
}

fn note_end(ended: &Ended, listener: &str, peers: Peers) {
    let (peer, via) = (peers.client.map(display), peers.via.map(display));
    match ended {
        // Another login is no end.
        Ended::ChangeUser(_) | Ended::Closed => {}
        Ended::Idle => info!(
            listener,
            peer, via, "session ended: nothing moved for the idle timeout"
        ),
        Ended::HalfClosed => debug!(
            listener,
            peer, via, "session ended: one side had ended, the other was silent"
        ),
        Ended::Client(error) => debug!(listener, peer, via, "session ended: client: {error}"),
        Ended::Backend(error) => debug!(listener, peer, via, "session ended: backend: {error}"),
    }
}
