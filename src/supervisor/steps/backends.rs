//! Backends: a start does not need them, but sessions do.

use std::time::{Duration, Instant};

use super::{Findings, Ground, Who};
use crate::config::{Address, Listener};

/// How long `--check-config` looks up names of backends, all together.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn attempt(ground: &Ground<'_>, findings: &mut Findings) {
    let backends = ground.config.listeners.iter().flat_map(|listener| {
        let backends = listener.backends.iter();
        backends.map(move |backend| (listener, backend))
    });
    let until = Instant::now() + PATIENCE;
    for (listener, backend) in backends {
        match backend {
            Address::Unix(_) => closed_to_workers(ground, listener, backend, findings),
            Address::Tcp { host, .. } => unknown_name(ground, listener, host, until, findings),
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
    let (Ok(Some(account)), Address::Unix(socket)) = (ground.account(), backend) else {
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
fn unknown_name(
    ground: &Ground<'_>,
    listener: &Listener,
    host: &str,
    until: Instant,
    findings: &mut Findings,
) {
    if !matches!(ground.who, Who::Check) {
        return;
    }
    let patience = until.saturating_duration_since(Instant::now());
    let name = &listener.name;
    match ground.origin.names.resolve_within(host, patience) {
        Some(Ok(_)) => {}
        Some(Err(error)) => findings.doubt(format!(
            "listener \"{name}\": backend: {error}; its sessions fail until it can be"
        )),
        None => findings.not_tried(format!(
            "listener \"{name}\": backend: the name {host} was not looked up in time"
        )),
    }
}
