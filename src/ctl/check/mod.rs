//! `check`: one line and an exit status, as monitoring systems want them.

pub(super) mod numbers;

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    CtlError, Output,
    render::{clean, duration},
    status,
};
use crate::{
    cli::{
        check,
        proxyctl::{Check, Proxyctl},
    },
    control::Status,
    facts::amount,
    findings::{self, Finding, Level, Thresholds, soonest},
};

/// How many findings are on the line; `--json` has all of them.
const SHOWN: usize = 8;

/// Characters of a finding on the line.
const SHOWN_OF_ONE: usize = 400;

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

/// Tells whether an operator must act.
pub(super) fn run(
    arguments: &Proxyctl,
    check: &Check,
    output: &mut Output,
) -> Result<u8, CtlError> {
    if check.warns_too_late() {
        return Err(CtlError::WarnsTooLate);
    }
    let thresholds = Thresholds::or_default(check.warn, check.critical);
    let verdict = match status::fetch(arguments) {
        Ok(status) => verdict(&status, thresholds, Timestamp::now()),
        Err(error) => unknown(&error),
    };
    let code = exit_code(verdict.state);
    output.verdict(&verdict, |_| line(&verdict))?;
    Ok(code)
}

pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "OK",
        Level::Warning => "WARNING",
        Level::Critical => "CRITICAL",
        Level::Unknown => "UNKNOWN",
    }
}

pub(super) fn exit_code(level: Level) -> u8 {
    match level {
        Level::Ok => check::OK,
        Level::Warning => check::WARNING,
        Level::Critical => check::CRITICAL,
        Level::Unknown => check::UNKNOWN,
    }
}

fn unknown(error: &dyn std::fmt::Display) -> Verdict {
    let finding = Finding {
        level: Level::Unknown,
        message: error.to_string(),
        advice: "",
    };
    Verdict {
        state: Level::Unknown,
        findings: vec![finding],
        summary: String::new(),
        numbers: String::new(),
    }
}

fn verdict(status: &Status, thresholds: Thresholds, now: Timestamp) -> Verdict {
    let findings = findings::of(status, thresholds, now);
    let worst = findings.first().map(|finding| finding.level);
    Verdict {
        state: worst.unwrap_or(Level::Ok),
        findings,
        summary: summary(status, now),
        numbers: numbers::numbers(status, thresholds, now),
    }
}

fn line(verdict: &Verdict) -> String {
    let messages = verdict.findings.iter().map(|it| &*it.message);
    plugin_line(verdict.state, messages, &verdict.summary, &verdict.numbers)
}

/// Returns the line that monitoring systems read: the state, some of the messages, a summary and numbers.
pub(super) fn plugin_line<'a>(
    state: Level,
    messages: impl ExactSizeIterator<Item = &'a str>,
    summary: &str,
    numbers: &str,
) -> String {
    let more = messages.len().saturating_sub(SHOWN);
    let mut parts: Vec<String> = messages.take(SHOWN).map(cut).collect();
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    parts.extend(Some(summary.to_owned()).filter(|summary| !summary.is_empty()));
    let text = clean(&parts.join("; ")).replace(['\n', '\t'], " ");
    // What follows a bar is read as numbers by monitoring systems.
    let text = text.replace('|', "/");
    let mut line = format!("PROXYD {} - {text}", word(state));
    if !numbers.is_empty() {
        let _ = write!(line, " | {numbers}");
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
    let workers = amount(status.serving() as u64, "worker");
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
