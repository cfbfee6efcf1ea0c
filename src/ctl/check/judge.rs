//! Finds in a status what an operator must act on.

use std::time::Duration;

use jiff::Timestamp;

use super::{Finding, Level, Thresholds};
use crate::{
    control::{
        DiskState, IdentityStatus, Status, SupervisorState, TlsStatus, WatchState, WorkerState,
        WorkerStatus,
    },
    ctl::{
        render::{duration, moment},
        words::trust_went_back,
    },
    facts::{Expiry, ExpiryEffect, ExpiryKind, Moment, amount},
};

/// From how many failures in a row on a worker counts as failing again and again.
const KEEPS_FAILING: u32 = 3;

/// The lifetime that percentages of what is no leaf are of, at most: authorities last for decades, and
/// a third of that is no time to be warned for.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Returns all findings, the worst first, because some monitoring systems cut the line.
pub(super) fn findings(status: &Status, thresholds: Thresholds, now: Timestamp) -> Vec<Finding> {
    let mut findings = service(status);
    findings.extend(disk(&status.tls));
    findings.extend(kept(&status.tls, now));
    let soonest = soonest(status);
    findings.extend(soonest.filter_map(|identity| certificate(identity, thresholds, now)));
    let others = status.tls.expiries.iter();
    let others = others.filter(|it| it.kind != ExpiryKind::Identity);
    findings.extend(others.filter_map(|it| expiry(it, thresholds, now)));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

/// Returns the identities in the order in which they expire.
pub(super) fn soonest(status: &Status) -> impl Iterator<Item = &IdentityStatus> {
    let mut identities: Vec<_> = status.tls.identities.iter().collect();
    identities.sort_by_key(|identity| identity.path_not_after);
    identities.into_iter()
}

fn warning(message: impl Into<String>) -> Finding {
    Finding {
        level: Level::Warning,
        message: message.into(),
    }
}

fn critical(message: impl Into<String>) -> Finding {
    Finding {
        level: Level::Critical,
        message: message.into(),
    }
}

pub(super) fn serving(status: &Status) -> usize {
    let serves = |worker: &&WorkerStatus| worker.state == WorkerState::Serving;
    status.workers.iter().filter(serves).count()
}

/// Whether every worker serves or is getting ready.
fn starting(status: &Status) -> bool {
    let fine = |state| matches!(state, WorkerState::Serving | WorkerState::Starting);
    serving(status) > 0 && of_slots(status).all(|worker| fine(worker.state))
}

/// Returns the workers that are not those of an earlier supervisor.
fn of_slots(status: &Status) -> impl Iterator<Item = &WorkerStatus> {
    status.workers.iter().filter(|it| !it.state.is_of_earlier())
}

fn service(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    match status.supervisor.state {
        SupervisorState::Starting => findings.push(warning("proxyd is starting")),
        SupervisorState::Draining => findings.push(warning("proxyd is draining")),
        SupervisorState::Degraded | SupervisorState::Serving if serving(status) == 0 => {
            findings.push(critical("no worker serves"));
        }
        SupervisorState::Degraded => findings.push(critical(
            "some clients wait: no worker accepts from the listening sockets of at least one slot",
        )),
        // The first workers of a daemon do not all get ready at the same moment.
        SupervisorState::Serving if status.restarts.consecutive == 0 && starting(status) => {}
        SupervisorState::Serving if serving(status) < of_slots(status).count() => {
            let (serving, all) = (serving(status), of_slots(status).count());
            findings.push(warning(format!("{serving} of {all} workers serve")));
        }
        SupervisorState::Serving => {}
    }
    findings.extend(outdated(status));
    findings.extend(program(status));
    if status.restarts.consecutive >= KEEPS_FAILING {
        let failures = amount(status.restarts.consecutive.into(), "failure");
        findings.push(warning(format!(
            "a worker keeps failing, {failures} in a row"
        )));
    }
    findings
}

/// Returns a finding if another program lies where the one that runs was started from.
fn program(status: &Status) -> Option<Finding> {
    let path = &status.program.path;
    status.program.replaced.then(|| {
        warning(format!(
            "another program lies at {path} than the one that runs; run it with `proxyctl upgrade`"
        ))
    })
}

/// Returns a finding if workers serve a generation that is no longer in force.
fn outdated(status: &Status) -> Option<Finding> {
    let generation = status.tls.generation;
    let serving = status
        .workers
        .iter()
        .filter(|worker| worker.state == WorkerState::Serving);
    let outdated = serving.filter(|worker| worker.generation != generation);
    match outdated.count() {
        0 => None,
        all => Some(critical(format!(
            "{} not confirmed generation {generation}, which is in force",
            if all == 1 {
                "a worker has".to_owned()
            } else {
                format!("{all} workers have")
            }
        ))),
    }
}

fn disk(tls: &TlsStatus) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(rollback) = &tls.rollback {
        findings.push(warning(format!(
            "a rollback to generation {} is in force since {}, and what is on disk is not loaded; mend \
             that and run `proxyctl reload-tls`",
            rollback.to_generation,
            moment(rollback.since)
        )));
        findings.extend(trust_went_back(&rollback.trust_went_back).map(warning));
    }
    if let Some(error) = &tls.last_error {
        findings.push(critical(format!("the last load failed: {}", error.message)));
    }
    if tls.disk.settling {
        // An operator or a tool may be replacing files one after the other. Once that is over, the
        // daemon loads the files if they are good and reports them if not, by itself.
        return findings;
    }
    let reason = tls.disk.reason.as_deref();
    let reason = reason.unwrap_or("see `proxyctl verify`");
    if tls.disk.leaves_open() {
        let unseen = tls.disk.unseen.as_deref().unwrap_or_default();
        findings.push(warning(format!(
            "whether a cold start with what is on disk would succeed is not known: {unseen}"
        )));
    } else if !tls.restart_safe && tls.disk.state == DiskState::Invalid {
        // The reason follows in a finding of its own.
        findings.push(critical("a cold start with what is on disk would fail"));
    } else if !tls.restart_safe {
        findings.push(critical(format!(
            "a cold start with what is on disk would fail: {reason}"
        )));
    }
    match tls.disk.state {
        DiskState::Same => {}
        DiskState::Changed if tls.rollback.is_some() => {}
        DiskState::Changed => {
            findings.push(warning(
                "what is on disk is not what is served; reload to serve it",
            ));
        }
        DiskState::Invalid => {
            findings.push(warning(format!("what is on disk is invalid: {reason}")));
        }
    }
    findings
}

/// Returns a finding for each identity whose files have been broken for longer than replacing them
/// takes.
fn kept(tls: &TlsStatus, now: Timestamp) -> impl Iterator<Item = Finding> {
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
            critical(format!(
                "{name} is served in its last good state, because its files have been broken since {since}"
            ))
        })
    })
}

fn certificate(
    identity: &IdentityStatus,
    thresholds: Thresholds,
    now: Timestamp,
) -> Option<Finding> {
    let name = &identity.name;
    if Moment::from(now) < identity.not_before {
        return Some(critical(format!("{name} is not valid yet")));
    }
    let Ok(left) = Duration::try_from(identity.not_after.duration_since(now)) else {
        return Some(critical(format!("{name} has expired")));
    };
    let lifetime = super::lifetime(identity.not_before, identity.not_after);
    let reached = |threshold| left <= super::least(threshold, lifetime);
    let message = format!("{name} expires in {}", duration(left));
    if reached(thresholds.critical) {
        Some(critical(message))
    } else {
        reached(thresholds.warn).then(|| warning(message))
    }
}

/// Returns the lifetime that percentages are of, for what is no leaf.
pub(super) fn lifetime(it: &Expiry) -> Duration {
    super::lifetime(it.starts_at, it.ends_at).min(LONGEST)
}

/// Returns a finding about anything else that ends, such as an intermediate or a revocation list.
fn expiry(it: &Expiry, thresholds: Thresholds, now: Timestamp) -> Option<Finding> {
    let effect = it.effect.sentence();
    let harmless = it.effect == ExpiryEffect::AcceptedAnyway;
    let Ok(left) = Duration::try_from(it.ends_at.duration_since(now)) else {
        let message = format!("{it} ended at {}: {effect}", it.ends_at);
        return Some(if harmless {
            warning(message)
        } else {
            critical(message)
        });
    };
    let reached = |threshold| left <= super::least(threshold, lifetime(it));
    let message = format!("{it} ends in {}; then {effect}", duration(left));
    if reached(thresholds.critical) && !harmless {
        Some(critical(message))
    } else {
        reached(thresholds.warn).then(|| warning(message))
    }
}
