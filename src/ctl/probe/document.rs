//! What `--json` prints, of which the text is made too.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::judge::{self, Rules, Verdict};
use crate::{
    ctl::{check::numbers, render::duration},
    facts::{CertificateFacts, Moment, amount},
    findings::{Finding, Level, least},
    probe::{Report, Tls, target::written},
};

/// The version of this document's form.
const SCHEMA: u32 = 1;

/// For how many servers numbers are printed: those of which a certificate ends first, which a graph is for.
const NUMBERED: usize = 5;

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    schema: u32,
    pub(super) state: Level,
    /// Why no server was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    pub(super) summary: String,
    /// How many servers show the expected certificate, if one is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<Expected>,
    pub(super) servers: Vec<ServerDocument>,
    /// For the line alone: a program finds them in the servers.
    #[serde(skip)]
    pub(super) numbers: String,
}

/// How many servers show the expected certificate.
#[derive(Debug, Serialize)]
pub(super) struct Expected {
    sha256: String,
    shown_by: usize,
    of: usize,
}

/// What is known of one server.
#[derive(Debug, Serialize)]
pub(super) struct ServerDocument {
    /// As it was named.
    pub(super) address: String,
    /// The IP address and port that were asked.
    pub(super) peer: Option<SocketAddr>,
    pub(super) protocol: &'static str,
    /// The name that the certificate must hold.
    pub(super) name: Option<String>,
    pub(super) state: Level,
    pub(super) findings: Vec<Finding>,
    /// Whether the handshake, or what it takes to see the certificate, was possible.
    pub(super) reached: bool,
    pub(super) tls: Option<TlsDocument>,
    /// Whether a client would accept the certificate; null if there is none.
    pub(super) verified: Option<bool>,
    /// Why not.
    pub(super) doubts: Vec<String>,
    /// Whether it is the expected one; null if none is expected, or there is none.
    pub(super) expected: Option<bool>,
    pub(super) sha256: Option<String>,
    /// When the first of the certificates ends that a client follows.
    pub(super) not_after: Option<Moment>,
    pub(super) days_left: Option<i64>,
    pub(super) asks_for_client_certificate: bool,
    pub(super) chain: Vec<CertificateFacts>,
    /// Days left and thresholds, for the line.
    #[serde(skip)]
    number: Option<String>,
}

/// What was agreed on in the handshake.
#[derive(Debug, Serialize)]
pub(super) struct TlsDocument {
    pub(super) version: &'static str,
    pub(super) suite: Option<&'static str>,
    pub(super) group: Option<String>,
}

impl From<&Tls> for TlsDocument {
    fn from(tls: &Tls) -> Self {
        Self {
            version: tls.version,
            suite: tls.suite,
            group: tls.group.clone(),
        }
    }
}

impl ServerDocument {
    pub(super) fn new(report: &Report, verdict: Verdict, rules: &Rules, now: Timestamp) -> Self {
        let judgement = report.judgement.as_ref();
        let not_after = judgement.and_then(judge::ends_first).map(|it| it.not_after);
        let mut document = Self {
            address: report.target.to_string(),
            peer: report.peer,
            protocol: report.target.protocol.as_str(),
            name: report.target.name.as_ref().map(written),
            state: verdict.state,
            findings: verdict.findings,
            reached: report.failure.is_none(),
            tls: report.tls.as_ref().map(TlsDocument::from),
            verified: judgement.map(|it| it.doubts.is_empty() && report.is_proved),
            doubts: judgement.map(|it| it.doubts.clone()).unwrap_or_default(),
            expected: verdict.is_expected,
            sha256: judgement.map(|it| it.sha256.clone()),
            not_after,
            days_left: not_after.map(|it| it.days_since(now)),
            asks_for_client_certificate: report.asks_for_certificate,
            chain: judgement.map(|it| it.chain.clone()).unwrap_or_default(),
            number: None,
        };
        let left = judgement.and_then(|it| judge::left(it, now));
        document.number = left.map(|(left, whole)| {
            let bound = |threshold| least(threshold, whole);
            let thresholds = rules.thresholds;
            numbers::days_left(
                &document.label(),
                left.as_secs_f64(),
                bound(thresholds.warn),
                bound(thresholds.critical),
            )
        });
        document
    }

    /// Names a server so that the addresses of one name are told apart.
    pub(super) fn label(&self) -> String {
        match self.peer {
            Some(peer) if peer.to_string() != self.address => {
                format!("{} ({})", self.address, peer.ip())
            }
            _ => self.address.clone(),
        }
    }
}

impl Document {
    pub(super) fn unknown(error: String) -> Self {
        Self {
            schema: SCHEMA,
            state: Level::Unknown,
            error: Some(error),
            summary: String::new(),
            expected: None,
            servers: Vec::new(),
            numbers: String::new(),
        }
    }

    pub(super) fn of(servers: Vec<ServerDocument>, rules: &Rules, now: Timestamp) -> Self {
        let worst = servers.iter().map(|it| it.state).max();
        let expected = rules.expected.map(|sha256| Expected {
            sha256: sha256.to_string(),
            shown_by: servers
                .iter()
                .filter(|it| it.expected == Some(true))
                .count(),
            of: servers.len(),
        });
        Self {
            schema: SCHEMA,
            state: worst.unwrap_or(Level::Ok),
            error: None,
            summary: summary(&servers, expected.as_ref(), now),
            numbers: soonest(&servers)
                .filter_map(|it| it.number.as_deref())
                .take(NUMBERED)
                .collect::<Vec<_>>()
                .join(" "),
            expected,
            servers,
        }
    }

    /// Returns what is wrong, the worst first, each with the server that it is about.
    pub(super) fn messages(&self) -> impl Iterator<Item = String> {
        let mut found: Vec<_> = self
            .servers
            .iter()
            .flat_map(|server| server.findings.iter().map(move |finding| (server, finding)))
            .collect();
        found.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.level));
        let told = found
            .into_iter()
            .map(|(server, finding)| format!("{}: {}", server.label(), finding.message));
        self.error.clone().into_iter().chain(told)
    }
}

/// Returns the servers that show certificates that are good, in the order in which they end.
fn soonest(servers: &[ServerDocument]) -> impl Iterator<Item = &ServerDocument> {
    let mut soonest: Vec<_> = servers.iter().filter(|it| it.number.is_some()).collect();
    soonest.sort_by_key(|it| it.not_after);
    soonest.into_iter()
}

fn summary(servers: &[ServerDocument], expected: Option<&Expected>, now: Timestamp) -> String {
    let mut parts = Vec::new();
    let all = servers.len();
    match servers.iter().filter(|it| it.state == Level::Ok).count() {
        ok if ok == all => parts.push(amount(all as u64, "server")),
        ok => parts.push(format!("{ok} of {all} servers ok")),
    }
    if let Some(Expected { shown_by, of, .. }) = expected {
        parts.push(format!(
            "{shown_by} of {of} servers show the expected certificate"
        ));
    }
    let first = soonest(servers).next();
    if let Some((first, end)) = first.and_then(|it| Some((it, it.not_after?))) {
        let left = end.duration_since(now);
        let left = duration(left.try_into().unwrap_or_default());
        parts.push(format!("first expiry: {} in {left}", first.label()));
    }
    parts.join(", ")
}
