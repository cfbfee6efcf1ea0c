//! What in a status must an operator act on? `proxyctl check` and the page for people say the same.

mod certificates;
mod disk;
mod service;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

pub use self::{
    certificates::{lifetime_above, soonest, urgency},
    disk::trust_went_back,
};
use crate::{cli::proxyctl::Threshold, control::Status, facts::Moment};

/// How urgently an operator must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Not at all.
    Ok,
    /// Soon, or only to know it.
    Warning,
    /// Now.
    Critical,
    /// That cannot be told, because the daemon does not answer.
    Unknown,
}

/// A reason for an operator to act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How urgent it is.
    pub level: Level,
    /// What is wrong, as a sentence without its full stop.
    pub message: String,
    /// What an operator can do about it, in sentences; commands stand between backquotes. Empty if there is nothing to do
    /// but to wait.
    #[serde(skip)]
    pub advice: &'static str,
}

/// When a certificate has too little time left.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// From when on that is a warning.
    pub warn: Threshold,
    /// From when on that is critical.
    pub critical: Threshold,
}

/// A third and a tenth of the lifetime, when nothing is asked for: right for a certificate of a
/// year as for one of a week.
pub const DEFAULTS: Thresholds = Thresholds {
    warn: Threshold::Percent(33),
    critical: Threshold::Percent(10),
};

impl Thresholds {
    /// Returns these thresholds, with the default for one that was not asked for.
    #[must_use]
    pub fn or_default(warn: Option<Threshold>, critical: Option<Threshold>) -> Self {
        Self {
            warn: warn.unwrap_or(DEFAULTS.warn),
            critical: critical.unwrap_or(DEFAULTS.critical),
        }
    }

    /// Returns how urgent it is when so much is left of a lifetime.
    #[must_use]
    pub fn level(self, left: Duration, lifetime: Duration) -> Level {
        let reached = |threshold| left <= least(threshold, lifetime);
        if reached(self.critical) {
            Level::Critical
        } else if reached(self.warn) {
            Level::Warning
        } else {
            Level::Ok
        }
    }
}

/// Returns all findings, the worst first, because some monitoring systems cut the line.
pub fn of(status: &Status, thresholds: Thresholds, now: Timestamp) -> Vec<Finding> {
    let mut findings = service::findings(status);
    findings.extend(disk::findings(&status.tls));
    findings.extend(disk::kept(&status.tls, now));
    findings.extend(certificates::findings(status, thresholds, now));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

/// Returns how long something is valid.
pub fn lifetime(from: Moment, until: Moment) -> Duration {
    Duration::try_from(until.duration_since(from)).unwrap_or_default()
}

/// Returns how little time a threshold means for something of this lifetime.
pub fn least(threshold: Threshold, lifetime: Duration) -> Duration {
    match threshold {
        Threshold::Time(time) => time,
        Threshold::Percent(percent) => lifetime / 100 * u32::from(percent),
    }
}

/// Returns a finding of this level; `None` if there is nothing to find.
fn at(level: Level, message: String, advice: &'static str) -> Option<Finding> {
    (level > Level::Ok).then_some(Finding {
        level,
        message,
        advice,
    })
}

fn warning(message: impl Into<String>, advice: &'static str) -> Finding {
    Finding {
        level: Level::Warning,
        message: message.into(),
        advice,
    }
}

fn critical(message: impl Into<String>, advice: &'static str) -> Finding {
    Finding {
        level: Level::Critical,
        message: message.into(),
        advice,
    }
}
