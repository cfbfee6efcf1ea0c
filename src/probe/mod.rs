//! What servers show to clients, asked from outside.
//!
//! Any server will do that begins TLS with the first byte, or as MySQL, MariaDB or PostgreSQL do. No account is
//! needed: TLS is begun, what the server shows is noted and judged as a client would, and the connection is ended.
//! [`target`] and [`hosts`] say whom to ask, [`ask_all`] asks, and a [`Report`] is what became of it. How bad
//! that is decides `ctl`.

pub mod failure;
pub mod fuzzing;
pub mod hosts;
pub mod target;

mod ask;
mod reply;
mod stranger;
mod stream;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

pub use self::{failure::Failure, target::Target};
use self::{failure::Phase, stream::Place};
use crate::{
    config::Address,
    tls::observe::{Judge, Judgement, Observed},
};

/// How many servers are asked at a time.
const AT_ONCE: usize = 64;

/// The most addresses of one name that are asked.
const MOST_ADDRESSES: usize = 32;

/// What became of asking one server.
#[derive(Debug, Clone)]
pub struct Report {
    /// Whom it was to ask.
    pub target: Arc<Target>,
    /// The address that was asked, if there is one; a Unix socket has none.
    pub peer: Option<SocketAddr>,
    /// What was agreed on in the handshake.
    pub tls: Option<Tls>,
    /// What a client makes of the certificates that were sent, if any were.
    pub judgement: Option<Judgement>,
    /// The server has shown that it holds the key of its certificate; without that, any server could have sent it.
    pub is_proved: bool,
    /// The server asks for a certificate of the client.
    pub asks_for_certificate: bool,
    /// Why there is no more to tell.
    pub failure: Option<Failure>,
    /// Another address of the same name was reached.
    pub has_alternative: bool,
}

/// What was agreed on in a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The version, as `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite's name in IANA's registry.
    pub suite: Option<&'static str>,
    /// The group of the key exchange, by its name in IANA's registry.
    pub group: Option<String>,
}

impl Report {
    fn new(target: &Arc<Target>, peer: Option<SocketAddr>) -> Self {
        Self {
            target: Arc::clone(target),
            peer,
            tls: None,
            judgement: None,
            is_proved: false,
            asks_for_certificate: false,
            failure: None,
            has_alternative: false,
        }
    }

    fn failed(target: &Arc<Target>, failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..Self::new(target, None)
        }
    }

    fn note(&mut self, observed: Observed, judge: &Judge) {
        let name = self.target.name.as_ref();
        let now = Timestamp::now();
        self.judgement = judge.judge(&observed.chain, name, now);
        self.is_proved = observed.is_proved;
        self.asks_for_certificate = observed.asks_for_certificate;
        self.tls = observed.version.map(|version| Tls {
            version,
            suite: observed.suite,
            group: observed.group,
        });
    }
}

/// How servers are asked.
#[derive(Debug, Clone)]
pub struct Probe {
    /// How long one server may take for all its answers.
    pub timeout: Duration,
    /// Who judges what they show.
    pub judge: Arc<Judge>,
}

/// Asks all of them, some at a time; the reports are in the order of the targets, one for each address.
pub async fn ask_all(probe: &Probe, targets: Vec<Target>) -> Vec<Report> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (place, target) in targets.into_iter().enumerate() {
        let (probe, turns) = (probe.clone(), Arc::clone(&turns));
        tasks.spawn(async move { (place, ask_each(&probe, target, &turns).await) });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().flat_map(|(_, reports)| reports).collect()
}

/// Asks each address of a target, one after the other.
async fn ask_each(probe: &Probe, target: Target, turns: &Semaphore) -> Vec<Report> {
    // It is never closed.
    let _turn = turns.acquire().await;
    let target = Arc::new(target);
    let places = match places(&target.address, Instant::now() + probe.timeout).await {
        Ok(places) => places,
        Err(failure) => return vec![Report::failed(&target, failure)],
    };
    let mut reports = Vec::with_capacity(places.len());
    for place in places {
        reports.push(ask::ask(probe, &target, &place).await);
    }
    note_alternatives(&mut reports);
    reports
}

/// Notes which addresses of a name have an alternative that was reached. Those of this machine's loopback at which
/// nothing listens are left out then: `localhost` is two addresses, and many servers listen at one.
fn note_alternatives(reports: &mut Vec<Report>) {
    if !reports.iter().any(|report| report.failure.is_none()) {
        return;
    }
    reports.retain(|report| {
        let is_loopback = report.peer.is_some_and(|peer| peer.ip().is_loopback());
        !(is_loopback && report.failure == Some(Failure::NotListening))
    });
    for report in reports {
        report.has_alternative = report.failure.is_some();
    }
}

/// Returns where a target is; at least one place.
async fn places(address: &Address, deadline: Instant) -> Result<Vec<Place>, Failure> {
    let (host, port) = match address {
        Address::Unix(path) => return Ok(vec![Place::Unix(path.clone())]),
        Address::Tcp { host, port } => (host.as_str(), *port),
    };
    let lookup = tokio::time::timeout_at(deadline, tokio::net::lookup_host((host, port))).await;
    let found = lookup
        .map_err(|_| Failure::Late(Phase::Lookup))?
        .map_err(|error| Failure::lookup(&error))?;
    let mut places = Vec::new();
    for address in found.map(Place::Tcp) {
        if places.len() < MOST_ADDRESSES && !places.contains(&address) {
            places.push(address);
        }
    }
    if places.is_empty() {
        return Err(Failure::NoAddress);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(peer: &str, failure: Option<Failure>) -> Report {
        let target = Target::parse("localhost:1", None, None).unwrap();
        Report {
            failure,
            ..Report::new(&Arc::new(target), Some(peer.parse().unwrap()))
        }
    }

    #[test]
    fn a_loopback_address_at_which_nothing_listens_is_left_out_if_another_answers() {
        let refused = |peer| report(peer, Some(Failure::NotListening));
        let mut reports = vec![refused("[::1]:1"), report("127.0.0.1:1", None)];
        note_alternatives(&mut reports);
        assert_eq!(reports.len(), 1);
        let mut reports = vec![refused("[::1]:1"), refused("127.0.0.1:1")];
        note_alternatives(&mut reports);
        assert_eq!(reports.len(), 2);
        let mut reports = vec![refused("192.0.2.1:1"), report("192.0.2.2:1", None)];
        note_alternatives(&mut reports);
        let noted: Vec<_> = reports.iter().map(|it| it.has_alternative).collect();
        assert_eq!(noted, [true, false]);
    }
}
