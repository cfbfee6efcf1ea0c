//! Listening sockets that systemd has passed, as sockets of listeners, and what the log tells of them.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    os::fd::OwnedFd,
    sync::Arc,
};

use tracing::{error, info, warn};

use super::{
    repair,
    sockets::{Bound, Owner},
};
use crate::{
    config::{Address, Listener},
    supervisor::activation::{PassedSocket, PassedSockets, Place},
};

/// Why a socket that systemd has passed cannot be bound again, and what to do.
pub(super) const LOST: &str = "systemd has bound it; `systemctl stop proxyd.service proxyd.socket` and \
                               `systemctl start proxyd.socket` have it bound again";

/// What was logged last of each passed socket.
#[derive(Debug, Default)]
pub(super) struct Uses(Vec<Use>);

/// Whether a passed socket is accepted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Use {
    /// Nothing was decided yet.
    #[default]
    Undecided,
    /// For a listener.
    Accepted,
    /// No listener has it.
    Ignored,
}

impl Uses {
    /// Logs which of the passed sockets are accepted from now and were not before, and which no longer, or never, are.
    pub(super) fn note(&mut self, passed: &PassedSockets, is_used: impl Fn(&Arc<OwnedFd>) -> bool) {
        for (number, socket) in passed.iter() {
            if self.0.len() <= number {
                self.0.resize(number + 1, Use::Undecided);
            }
            let now = if is_used(&socket.socket) {
                Use::Accepted
            } else {
                Use::Ignored
            };
            let before = std::mem::replace(&mut self.0[number], now);
            match (before, now) {
                (Use::Undecided | Use::Ignored, Use::Accepted) => info!(
                    address = %socket.place,
                    name = socket.name,
                    "clients are accepted from a socket that systemd passes"
                ),
                (Use::Undecided | Use::Accepted, Use::Ignored) => {
                    warn!("{}", ignored(socket, before == Use::Accepted));
                }
                _ => {}
            }
        }
    }
}

/// Says what is wrong with a passed socket that no listener has; `was_accepted` if one had it before.
fn ignored(PassedSocket { name, place, .. }: &PassedSocket, was_accepted: bool) -> String {
    let what = if was_accepted {
        format!(
            "clients are no longer accepted at {place}, which no listener has any more; but systemd keeps that socket \
             (\"{name}\") open, so that clients who connect there wait and are not refused"
        )
    } else {
        format!(
            "systemd passes a socket at {place} (\"{name}\") that no listener has: clients who connect there wait and are \
             never served"
        )
    };
    let listener = match place {
        Place::Abstract(_) => format!("call a listener of a Unix socket \"{name}\""),
        Place::Tcp { .. } | Place::Path(_) => format!("add a listener with bind = \"{place}\""),
    };
    format!(
        "{what}; {listener}, or take the address out of the socket unit (`systemctl edit proxyd.socket`) and let systemd \
         close it (`systemctl stop proxyd.service proxyd.socket`, then `systemctl start proxyd.socket`)"
    )
}

/// Returns a passed socket as that of `listener`, which all slots share.
pub(super) fn bound(
    passed: &PassedSockets,
    number: usize,
    listener: &Listener,
) -> io::Result<Bound> {
    let passed = passed
        .get(number)
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let address = match &passed.place {
        Place::Tcp { address, .. } => Some(*address),
        Place::Path(_) | Place::Abstract(_) => None,
    };
    let bind = listener.bind.to_string();
    // One listener that a worker has shut down for good must not keep the daemon from serving the others.
    if !repair::reopen(&passed.socket, address, &bind) {
        error!(
            "no client can connect at {}, because the socket that systemd passes no longer listens: {LOST}",
            passed.place
        );
    }
    Ok(Bound {
        sockets: vec![Arc::clone(&passed.socket)],
        address: passed.place.to_string(),
        owner: Owner::Systemd,
    })
}

/// Returns the addresses of a host name; none if it cannot be looked up, which binding tells. Blocks.
pub(super) fn look_up(host: &str) -> Vec<IpAddr> {
    let found = (host, 0).to_socket_addrs().into_iter().flatten();
    found.map(|address| address.ip()).collect()
}

/// Says which passed socket keeps one from being bound at `address`, if one does. Blocks.
pub(super) fn in_the_way(passed: &PassedSockets, address: &Address) -> Option<String> {
    let Address::Tcp { host, port } = address else {
        return None;
    };
    if !passed.has_port(*port) {
        return None;
    }
    let mut found = look_up(host).into_iter();
    found.find_map(|ip| passed.in_the_way(SocketAddr::new(ip, *port)))
}
