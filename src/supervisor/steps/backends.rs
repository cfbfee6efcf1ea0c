//! Backends: a start does not need them, but sessions do.

use super::{Findings, Ground, Who, accounts, names};
use crate::config::{Address, Listener};

pub(super) fn attempt(ground: &Ground<'_>, findings: &mut Findings) {
    let backends = ground.config.listeners.iter().flat_map(|listener| {
        let backends = listener.backends.iter();
        backends.map(move |backend| (listener, backend))
    });
    for (listener, backend) in backends {
        match backend {
            Address::Unix(_) => closed_to_workers(ground, listener, backend, findings),
            Address::Tcp { host, .. } => unknown_name(ground, listener, host, findings),
        }
    }
}

/// Notes a socket that the workers' user has no access to.
fn closed_to_workers(
    ground: &Ground<'_>,
    listener: &Listener,
    backend: &Address,
    findings: &mut Findings,
) {
    let (Ok(Some(account)), Address::Unix(socket)) = (accounts::account(ground.config), backend)
    else {
        return;
    };
    if let Some(closed) = account.is_kept_from(socket) {
        findings.doubt(format!(
            "listener \"{}\": workers run as {}, which has no access to {} on the way to the backend; \
             set `user`, or give it access",
            listener.name,
            account.name,
            closed.display()
        ));
    }
}

/// Notes a name that cannot be looked up; workers look it up for each session, so that a start and a
/// running daemon need not wait for that.
fn unknown_name(ground: &Ground<'_>, listener: &Listener, host: &str, findings: &mut Findings) {
    if let (Who::Check, Err(error)) = (ground.who, names::resolve(host)) {
        findings.doubt(format!(
            "listener \"{}\": backend: {error}; its sessions fail until it can be",
            listener.name
        ));
    }
}
