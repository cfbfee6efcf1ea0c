//! How bad what a server shows is: a function of a report, the rules and the time.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    ctl::render::duration,
    facts::{CertificateFacts, Fingerprint},
    findings::{Finding, Level, Thresholds, lifetime, lifetime_above},
    probe::{Failure, Report},
    tls::observe::Judgement,
};

/// By what servers are judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) thresholds: Thresholds,
    /// The authorities are the system's, since the operator named no others.
    pub(super) trusts_system: bool,
    /// The certificate that they must show.
    pub(super) expected: Option<Fingerprint>,
}

/// What was found out about a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: Level,
    /// The worst first.
    pub(super) findings: Vec<Finding>,
    /// Whether it shows the expected certificate, and that it holds its key; `None` if none is expected, or it shows none.
    pub(super) is_expected: Option<bool>,
}

impl Verdict {
    pub(super) fn of(report: &Report, rules: &Rules, now: Timestamp) -> Self {
        let mut findings = Vec::new();
        let mut add = |level, message: String| findings.push(finding(level, message));
        if let Some(failure) = &report.failure {
            // Without a route to one of a name's addresses, nothing is known of it, and clients like this machine
            // take another.
            let level = match failure {
                Failure::NoRoute if report.has_alternative => Level::Warning,
                _ => Level::Critical,
            };
            add(level, failure.to_string());
        }
        let judgement = report.judgement.as_ref();
        let is_shown = judgement.and_then(|it| is_expected(it, rules));
        if let (Some(false), Some(judgement)) = (is_shown, judgement) {
            add(Level::Critical, unexpected(judgement));
        }
        if judgement.is_none() && report.failure.is_none() {
            add(Level::Critical, "it shows no certificate".to_owned());
        }
        if let Some(judgement) = judgement {
            for doubt in &judgement.doubts {
                add(Level::Critical, doubt.clone());
            }
            if judgement.is_of_strangers && rules.trusts_system {
                let advice = "if it is an authority of your own, name its certificate by --ca";
                add(Level::Critical, advice.to_owned());
            }
            findings.extend(end(judgement, rules.thresholds, now));
            findings.extend(
                judgement
                    .oddities
                    .iter()
                    .map(|it| finding(Level::Warning, it.clone())),
            );
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Self {
            state: findings.first().map_or(Level::Ok, |finding| finding.level),
            findings,
            is_expected: is_shown.map(|it| it && report.is_proved),
        }
    }
}

fn finding(level: Level, message: String) -> Finding {
    Finding {
        level,
        message,
        advice: "",
    }
}

fn is_expected(judgement: &Judgement, rules: &Rules) -> Option<bool> {
    let expected = rules.expected?.to_string();
    Some(judgement.sha256 == expected)
}

fn unexpected(judgement: &Judgement) -> String {
    let sha256 = &judgement.sha256;
    match judgement.chain.first() {
        Some(leaf) => format!(
            "it does not show the expected certificate, but {} of {}, good from {} until {}",
            crate::ctl::render::short(sha256),
            leaf.subject,
            leaf.not_before,
            leaf.not_after
        ),
        None => format!("it does not show the expected certificate, but {sha256}"),
    }
}

/// Returns the certificate that ends first of those that a client follows.
pub(super) fn ends_first(judgement: &Judgement) -> Option<&CertificateFacts> {
    judgement.chain.get(judgement.ends_first?)
}

/// Returns how long it is good, if it is not over, and the lifetime of which a share counts.
pub(super) fn left(judgement: &Judgement, now: Timestamp) -> Option<(Duration, Duration)> {
    let first = ends_first(judgement)?;
    let left = Duration::try_from(first.not_after.duration_since(now)).ok()?;
    let whole = match judgement.ends_first {
        Some(0) => lifetime(first.not_before, first.not_after),
        _ => lifetime_above(first.not_before, first.not_after),
    };
    Some((left, whole))
}

/// Returns a finding if too little time is left. What is over already is a reason of its own not to verify.
fn end(judgement: &Judgement, thresholds: Thresholds, now: Timestamp) -> Option<Finding> {
    let (left, whole) = left(judgement, now)?;
    let which = if judgement.ends_first == Some(0) {
        "its certificate".to_owned()
    } else {
        let first = ends_first(judgement)?;
        format!(
            "the intermediate certificate {} that it sends",
            first.subject
        )
    };
    let message = format!("{which} expires in {}", duration(left));
    let level = thresholds.level(left, whole);
    (level > Level::Ok).then(|| finding(level, message))
}
