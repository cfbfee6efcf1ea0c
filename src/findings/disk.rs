//! Findings about the files on disk, and what of them is served.

use std::time::Duration;

use jiff::Timestamp;

use super::{Finding, critical, warning};
use crate::{
    control::{DiskState, TlsStatus, WatchState},
    facts::{clean, moment},
};

/// What to do about files that cannot be loaded.
const MEND: &str =
    "`proxyctl verify` names each fault. Mend the files, then run `proxyctl reload-tls`.";

/// What to do while a cold start would fail.
const DO_NOT_RESTART: &str = "Do not restart the daemon: what runs goes on. `proxyctl verify` tells what a start would find.";

pub(super) fn findings(tls: &TlsStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(rollback) = &tls.rollback {
        findings.push(warning(
            format!(
                "a rollback to generation {} is in force since {}, and what is on disk is not loaded; mend \
                 that and run `proxyctl reload-tls`",
                rollback.to_generation,
                moment(rollback.since)
            ),
            "`proxyctl verify` tells what a reload would load.",
        ));
        let trust = trust_went_back(&rollback.trust_went_back);
        findings.extend(trust.map(|it| warning(it, "")));
    }
    if let Some(error) = &tls.last_error {
        findings.push(critical(
            format!("the last load failed: {}", error.message),
            MEND,
        ));
    }
    if tls.disk.settling {
        // An operator or a tool may be replacing files one after the other. Once that is over, the
        // daemon loads the files if they are good and reports them if not, by itself.
        return findings;
    }
    findings.extend(restart(tls));
    findings.extend(state(tls));
    findings
}

/// Returns a finding if a cold start would fail, or may.
fn restart(tls: &TlsStatus) -> Option<Finding> {
    if tls.disk.leaves_open() {
        let unseen = tls.disk.unseen.as_deref().unwrap_or_default();
        return Some(warning(
            format!(
                "whether a cold start with what is on disk would succeed is not known: {unseen}"
            ),
            "`proxyctl verify` looks at all of it.",
        ));
    }
    let fails = "a cold start with what is on disk would fail";
    (!tls.restart_safe).then(|| match tls.disk.state {
        // The reason follows in a finding of its own.
        DiskState::Invalid => critical(fails, DO_NOT_RESTART),
        DiskState::Same | DiskState::Changed => {
            critical(format!("{fails}: {}", reason(tls)), DO_NOT_RESTART)
        }
    })
}

/// Returns a finding if the disk has something else than what is served.
fn state(tls: &TlsStatus) -> Option<Finding> {
    match tls.disk.state {
        DiskState::Same => None,
        DiskState::Changed if tls.rollback.is_some() => None,
        DiskState::Changed => Some(warning(
            "what is on disk is not what is served; reload to serve it",
            "`proxyctl verify` tells what would change; `proxyctl reload-tls` serves certificates and keys, \
             `proxyctl reload` the configuration file too.",
        )),
        DiskState::Invalid => Some(warning(
            format!("what is on disk is invalid: {}", reason(tls)),
            MEND,
        )),
    }
}

fn reason(tls: &TlsStatus) -> &str {
    let reason = tls.disk.reason.as_deref();
    reason.unwrap_or("see `proxyctl verify`")
}

/// Returns a finding for each identity whose files have been broken for longer than replacing them
/// takes.
pub(super) fn kept(tls: &TlsStatus, now: Timestamp) -> impl Iterator<Item = Finding> {
    let grace = match tls.watch.state {
        WatchState::Off => Duration::ZERO,
        WatchState::Events | WatchState::Interval => {
            Duration::try_from_secs_f64(tls.watch.grace_s).unwrap_or_default()
        }
    };
    tls.identities.iter().filter_map(move |identity| {
        let since = identity.kept_since?;
        let time = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        (time >= grace).then(|| {
            let (name, since) = (&identity.name, moment(since));
            critical(
                format!(
                    "{name} is served in its last good state, because its files have been broken since {since}"
                ),
                MEND,
            )
        })
    })
}

/// Says for which listeners a rollback took back authorities and revocation lists too; `None` if for none.
pub fn trust_went_back(listeners: &[String]) -> Option<String> {
    let names: Vec<_> = listeners
        .iter()
        .map(|it| format!("\"{}\"", clean(it)))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "authorities and revocation lists for clients of listener {} went back too; clients that were \
             refused before, such as revoked ones, may be let in",
            names.join(", ")
        )
    })
}
