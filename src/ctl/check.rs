//! `check`: one line and an exit status, as monitoring systems want them.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    CtlError, Output,
    render::{clean, count, duration},
    status,
};
use crate::{
    cli::{
        check,
        proxyctl::{Check, Proxyctl, Threshold},
    },
    control::{DiskState, IdentityStatus, Status, SupervisorState, WorkerState},
};

/// Failures in a row from which on a worker is taken to keep failing.
const KEEPS_FAILING: u32 = 3;

/// How much somebody must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    fn exit_code(self) -> u8 {
        match self {
            Self::Ok => check::OK,
            Self::Warning => check::WARNING,
            Self::Critical => check::CRITICAL,
            Self::Unknown => check::UNKNOWN,
        }
    }
}

/// A reason for somebody to act.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    level: Level,
    message: String,
}

/// What was found, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Verdict {
    state: Level,
    findings: Vec<Finding>,
    summary: String,
}

/// When a certificate has too little time left.
#[derive(Debug, Clone, Copy)]
struct Thresholds {
    warn: Threshold,
    critical: Threshold,
}

/// A third and a tenth of the lifetime, when nothing is asked for: right for a certificate of a
/// year as for one of a week.
const DEFAULTS: Thresholds = Thresholds {
    warn: Threshold::Percent(33),
    critical: Threshold::Percent(10),
};

/// Tells whether somebody must act.
pub(super) fn run(
    arguments: &Proxyctl,
    check: &Check,
    output: &mut Output,
) -> Result<u8, CtlError> {
    let thresholds = Thresholds {
        warn: check.warn.unwrap_or(DEFAULTS.warn),
        critical: check.critical.unwrap_or(DEFAULTS.critical),
    };
    let verdict = match status::fetch(arguments) {
        Ok(status) => verdict(&status, thresholds, Timestamp::now()),
        Err(error) => unknown(&error),
    };
    let code = verdict.state.exit_code();
    // Whoever reads the exit status must get it, even if nobody reads the line.
    match output.answer(&verdict, |_| line(&verdict)) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(code),
    }
}

fn unknown(error: &dyn std::fmt::Display) -> Verdict {
    let finding = Finding {
        level: Level::Unknown,
        message: error.to_string(),
    };
    Verdict {
        state: Level::Unknown,
        findings: vec![finding],
        summary: String::new(),
    }
}

fn verdict(status: &Status, thresholds: Thresholds, now: Timestamp) -> Verdict {
    let mut findings = service(status);
    findings.extend(disk(status));
    for identity in &status.tls.identities {
        findings.extend(certificate(identity, thresholds, now));
    }
    // The worst first, because some monitoring systems cut the line.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let worst = findings.first().map(|finding| finding.level);
    Verdict {
        state: worst.unwrap_or(Level::Ok),
        findings,
        summary: summary(status, now),
    }
}

fn line(verdict: &Verdict) -> String {
    let messages = verdict
        .findings
        .iter()
        .map(|finding| finding.message.as_str());
    let summary = Some(verdict.summary.as_str()).filter(|summary| !summary.is_empty());
    let parts: Vec<&str> = messages.chain(summary).collect();
    let text = clean(&parts.join("; ")).replace(['\n', '\t'], " ");
    // What follows a bar is read as numbers by monitoring systems.
    format!(
        "PROXYD {} - {}\n",
        verdict.state.word(),
        text.replace('|', "/")
    )
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

fn serving(status: &Status) -> usize {
    let serving = |worker: &&_| {
        matches!(
            worker,
            crate::control::WorkerStatus {
                state: WorkerState::Serving,
                ..
            }
        )
    };
    status.workers.iter().filter(serving).count()
}

/// Whether every worker serves or is getting ready.
fn starting(status: &Status) -> bool {
    let fine = |state| matches!(state, WorkerState::Serving | WorkerState::Starting);
    serving(status) > 0 && status.workers.iter().all(|worker| fine(worker.state))
}

fn service(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    match status.supervisor.state {
        SupervisorState::Starting => findings.push(warning("proxyd is starting")),
        SupervisorState::Draining => findings.push(warning("proxyd is draining")),
        SupervisorState::Degraded => findings.push(critical("no worker serves")),
        SupervisorState::Serving if serving(status) == 0 => {
            findings.push(critical("no worker serves"));
        }
        // The first workers of a daemon do not all get ready at the same moment.
        SupervisorState::Serving if status.restarts.consecutive == 0 && starting(status) => {}
        SupervisorState::Serving if serving(status) < status.workers.len() => {
            let (serving, all) = (serving(status), status.workers.len());
            findings.push(warning(format!("{serving} of {all} workers serve")));
        }
        SupervisorState::Serving => {}
    }
    if status.restarts.consecutive >= KEEPS_FAILING {
        let failures = count(status.restarts.consecutive.into(), "failure");
        findings.push(warning(format!(
            "a worker keeps failing, {failures} in a row"
        )));
    }
    findings
}

fn disk(status: &Status) -> Vec<Finding> {
    let tls = &status.tls;
    let mut findings = Vec::new();
    if let Some(error) = &tls.last_error {
        findings.push(critical(format!("the last load failed: {}", error.message)));
    }
    if !tls.restart_safe {
        findings.push(critical("a cold start with what is on disk would fail"));
    }
    let reason = tls
        .disk
        .reason
        .as_deref()
        .unwrap_or("see `proxyctl verify`");
    match tls.disk.state {
        DiskState::Same => {}
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

fn certificate(
    identity: &IdentityStatus,
    thresholds: Thresholds,
    now: Timestamp,
) -> Option<Finding> {
    let name = &identity.name;
    if now < identity.not_before {
        return Some(critical(format!("{name} is not valid yet")));
    }
    let Ok(left) = Duration::try_from(identity.not_after.duration_since(now)) else {
        return Some(critical(format!("{name} has expired")));
    };
    let lifetime = identity.not_after.duration_since(identity.not_before);
    let lifetime = Duration::try_from(lifetime).unwrap_or_default();
    let reached = |threshold| match threshold {
        Threshold::Time(time) => left <= time,
        Threshold::Percent(percent) => left <= lifetime / 100 * u32::from(percent),
    };
    let message = format!("{name} expires in {}", duration(left));
    if reached(thresholds.critical) {
        Some(critical(message))
    } else {
        reached(thresholds.warn).then(|| warning(message))
    }
}

fn summary(status: &Status, now: Timestamp) -> String {
    let workers = count(serving(status) as u64, "worker");
    let mut text = format!("generation {} on {workers}", status.tls.generation);
    let first = status
        .tls
        .identities
        .iter()
        .min_by_key(|identity| identity.not_after);
    if let Some(identity) = first {
        let left = Duration::try_from(identity.not_after.duration_since(now)).unwrap_or_default();
        let _ = write!(
            text,
            ", first expiry: {} in {}",
            identity.name,
            duration(left)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::status::tests::{at, status},
        *,
    };
    use crate::control::{LoadError, Trigger};

    const NOW: &str = "2026-01-02T00:00:00Z";

    fn judge(change: impl FnOnce(&mut Status)) -> (Level, String) {
        let verdict = verdict(&status(change), DEFAULTS, at(NOW));
        (verdict.state, line(&verdict))
    }

    #[test]
    fn a_healthy_daemon_is_ok() {
        let line = "PROXYD OK - generation 3 on 1 worker, first expiry: default in 89d\n";
        assert_eq!(judge(|_| {}), (Level::Ok, line.to_owned()));
    }

    #[test]
    fn certificates_are_judged_by_their_lifetime() {
        let at_day = |day: &str| {
            let status = status(|_| {});
            verdict(&status, DEFAULTS, at(day)).state
        };
        assert_eq!(at_day("2026-02-25T00:00:00Z"), Level::Ok);
        assert_eq!(at_day("2026-03-10T00:00:00Z"), Level::Warning);
        assert_eq!(at_day("2026-03-25T00:00:00Z"), Level::Critical);
        assert_eq!(at_day("2026-04-02T00:00:00Z"), Level::Critical);
        assert_eq!(at_day("2025-12-31T00:00:00Z"), Level::Critical);
    }

    #[test]
    fn thresholds_in_time_are_exact() {
        let thresholds = Thresholds {
            warn: "89d".parse().unwrap(),
            critical: "7d".parse().unwrap(),
        };
        assert_eq!(
            verdict(&status(|_| {}), thresholds, at(NOW)).state,
            Level::Warning
        );
        let thresholds = Thresholds {
            warn: "2135h".parse().unwrap(),
            ..thresholds
        };
        assert_eq!(
            verdict(&status(|_| {}), thresholds, at(NOW)).state,
            Level::Ok
        );
    }

    #[test]
    fn each_fault_has_its_level() {
        let drift = judge(|status| status.tls.disk.state = DiskState::Changed);
        assert_eq!(drift.0, Level::Warning);
        let unsafe_restart = judge(|status| status.tls.restart_safe = false);
        assert_eq!(unsafe_restart.0, Level::Critical);
        let silent = judge(|status| status.workers[0].state = WorkerState::Waiting);
        assert_eq!(silent.0, Level::Critical);
        let draining = judge(|status| status.supervisor.state = SupervisorState::Draining);
        assert_eq!(draining.0, Level::Warning);
        let failing = judge(|status| status.restarts.consecutive = 3);
        assert_eq!(failing.0, Level::Warning);
    }

    #[test]
    fn the_worst_comes_first_on_one_line() {
        let (level, line) = judge(|status| {
            status.tls.disk.state = DiskState::Changed;
            status.tls.last_error = Some(LoadError {
                at: at(NOW),
                trigger: Trigger::ReloadTls,
                message: "key | cert\ndiffer".into(),
            });
        });
        assert_eq!(level, Level::Critical);
        let start = "PROXYD CRITICAL - the last load failed: key / cert differ; what is on disk";
        assert!(line.starts_with(start), "{line}");
    }

    #[test]
    fn no_daemon_is_unknown() {
        assert_eq!(unknown(&"nobody answers").state.exit_code(), 3);
    }
}
