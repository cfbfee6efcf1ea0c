//! One client from accept to close.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::{debug, info};

use super::{
    leg::Leg,
    opening::{self, Context, Failure, Opened},
    relay::{Ended, relay},
    service::{Service, Services},
    socket::Socket,
};
use crate::{
    config::ProxyHeaderVersion,
    link::ListenerKey,
    protocol::{mysql::command::CommandWatch, proxy_header::Endpoints},
};

/// Serves the client at `peer` until its session has ended.
pub async fn serve(
    socket: Socket,
    peer: Option<SocketAddr>,
    service: Arc<Service>,
    services: Arc<Services>,
    key: Arc<ListenerKey>,
) {
    let endpoints = endpoints(&service, &socket);
    let counters = Arc::clone(&service.counters);
    let idle = service.listener.limits.idle_timeout;
    let place = service.places.take();
    let full = place.is_none();
    // Who is turned away takes no place while being told.
    let session = place.map(|place| (counters.open(), place));
    let context = Context {
        service,
        endpoints,
        services,
        key,
    };
    // What an opening needs is larger than what a relay needs, and freed before it begins.
    let opened = Box::pin(open(context, Leg::new(socket), full, peer)).await;
    if let Some(opened) = opened {
        let idle = Some(idle).filter(|idle| !idle.is_zero());
        converse(opened, idle, peer).await;
    }
    drop(session);
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

/// Opens a session within its deadline; `None` if it came to nothing.
async fn open(
    mut context: Context,
    client: Leg,
    full: bool,
    peer: Option<SocketAddr>,
) -> Option<Opened> {
    let deadline = context.service.listener.limits.handshake_timeout;
    let opening = async {
        if full {
            Err(opening::refuse(&context, client).await)
        } else {
            opening::open(&mut context, client).await
        }
    };
    let opened = match timeout(deadline, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure::Late(deadline)),
    };
    opened
        .inspect_err(|failure| note_failure(failure, &context, peer))
        .ok()
}

fn note_failure(failure: &Failure, context: &Context, peer: Option<SocketAddr>) {
    let listener = &context.service.listener.name;
    let counters = &context.service.counters;
    match failure {
        Failure::Done | Failure::Silent => {
            debug!(listener, peer = peer.map(display), "{failure}");
            return;
        }
        Failure::Full => counters.refuse(),
        Failure::Backend(_) => counters.fail_backend(),
        Failure::Client(_) | Failure::Late(_) | Failure::Refused(_) => counters.fail_handshake(),
    }
    info!(
        listener,
        peer = peer.map(display),
        "session failed: {failure}"
    );
}

/// Relays until the session has ended, with as many logins in it as the client wants.
async fn converse(mut opened: Opened, idle: Option<Duration>, peer: Option<SocketAddr>) {
    loop {
        let watch = opened.relogin.is_some().then(CommandWatch::default);
        let changing = match relay(opened.client, opened.backend, idle, watch).await {
            Ended::ChangeUser(changing) => changing,
            ended => return note_end(&ended, peer),
        };
        let Some(relogin) = opened.relogin else {
            return;
        };
        match Box::pin(opening::change_user(*changing, relogin)).await {
            Ok(next) => opened = next,
            Err(failure) => {
                info!(peer = peer.map(display), "change of user failed: {failure}");
                return;
            }
        }
    }
}

fn note_end(ended: &Ended, peer: Option<SocketAddr>) {
    match ended {
        // Another login is no end.
        Ended::ChangeUser(_) | Ended::Closed => {}
        Ended::Idle => info!(
            peer = peer.map(display),
            "session ended: nothing moved for the idle timeout"
        ),
        Ended::Client(error) => debug!(peer = peer.map(display), "session ended: client: {error}"),
        Ended::Backend(error) => {
            debug!(peer = peer.map(display), "session ended: backend: {error}");
        }
    }
}
