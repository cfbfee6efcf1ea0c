//! `check`: one line and an exit status, as monitoring systems want them.

mod judge;
mod numbers;

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use self::judge::{serving, soonest};
use super::{
    CtlError, Output,
    render::{clean, duration},
    status,
};
use crate::{
    cli::{
        check,
        proxyctl::{Check, Proxyctl, Threshold},
    },
    control::Status,
    facts::{Moment, amount},
};

/// How many findings are on the line; `--json` has all of them.
const SHOWN: usize = 8;

/// Characters of a finding on the line.
const SHOWN_OF_ONE: usize = 400;

/// How urgently an operator must act.
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

/// A reason for an operator to act.
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
    /// For the line alone: a program finds them in the status.
    #[serde(skip)]
    numbers: String,
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

/// Tells whether an operator must act.
pub(super) fn run(
    arguments: &Proxyctl,
    check: &Check,
    output: &mut Output,
) -> Result<u8, CtlError> {
    if check.warns_too_late() {
        return Err(CtlError::WarnsTooLate);
    }
    let thresholds = Thresholds {
        warn: check.warn.unwrap_or(DEFAULTS.warn),
        critical: check.critical.unwrap_or(DEFAULTS.critical),
    };
    let verdict = match status::fetch(arguments) {
        Ok(status) => verdict(&status, thresholds, Timestamp::now()),
        Err(error) => unknown(&error),
    };
    let code = verdict.state.exit_code();
    // The caller must get the exit status, even if no process reads the line.
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
        numbers: String::new(),
    }
}

fn verdict(status: &Status, thresholds: Thresholds, now: Timestamp) -> Verdict {
    let findings = judge::findings(status, thresholds, now);
    let worst = findings.first().map(|finding| finding.level);
    Verdict {
        state: worst.unwrap_or(Level::Ok),
        findings,
        summary: summary(status, now),
        numbers: numbers::numbers(status, thresholds, now),
    }
}

/// Returns how long something is valid.
fn lifetime(from: Moment, until: Moment) -> Duration {
    Duration::try_from(until.duration_since(from)).unwrap_or_default()
}

/// Returns how little time a threshold means for something of this lifetime.
fn least(threshold: Threshold, lifetime: Duration) -> Duration {
    match threshold {
        Threshold::Time(time) => time,
        Threshold::Percent(percent) => lifetime / 100 * u32::from(percent),
    }
}

fn line(verdict: &Verdict) -> String {
    let shown = verdict.findings.iter().take(SHOWN);
    let mut parts: Vec<String> = shown.map(|finding| cut(&finding.message)).collect();
    if let Some(more @ 1..) = verdict.findings.len().checked_sub(SHOWN) {
        parts.push(format!("and {more} more"));
    }
    parts.extend(Some(verdict.summary.clone()).filter(|summary| !summary.is_empty()));
    let text = clean(&parts.join("; ")).replace(['\n', '\t'], " ");
    // What follows a bar is read as numbers by monitoring systems.
    let text = text.replace('|', "/");
    let mut line = format!("PROXYD {} - {text}", verdict.state.word());
    if !verdict.numbers.is_empty() {
        let _ = write!(line, " | {}", verdict.numbers);
    }
    line + "\n"
}

/// Returns the beginning of a message that is too long for a line.
fn cut(message: &str) -> String {
    match message.char_indices().nth(SHOWN_OF_ONE) {
        Some((end, _)) => format!("{}...", &message[..end]),
        None => message.to_owned(),
    }
}

fn summary(status: &Status, now: Timestamp) -> String {
    let workers = amount(serving(status) as u64, "worker");
    let mut text = format!("generation {} on {workers}", status.tls.generation);
    if let Some(identity) = soonest(status).next() {
        let left =
            Duration::try_from(identity.path_not_after.duration_since(now)).unwrap_or_default();
        let _ = write!(
            text,
            ", first expiry: {} in {}",
            identity.name,
            duration(left)
        );
    }
    if status.tls.disk.settling {
        text.push_str(", files may be being written");
    }
    text
}

#[cfg(test)]
mod tests;
