//! What is known of a session while it lasts: its client, user, TLS, backend and bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    chains::{Chains, ClientChain},
    counters::{Bytes, Counters},
    peers::Peers,
    record::Record,
    standing::{Ask, KeepState},
    stop::StopCell,
};
use crate::{
    config::Address,
    facts::{
        Candidate, Selection, SessionCertificate, SessionEntry, SessionId, SessionState, SessionTls,
    },
    protocol::watch::Side,
    sys::clock,
    tls::{openssl_name, stream::TlsStream},
};

/// How many characters of a user's name are kept at most.
const LONGEST_USER: usize = 64;

/// What is known of a session while it lasts.
///
/// The code that opens and relays the session adds to it as things become known.
#[derive(Debug)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// The counts of its listener's sessions.
    pub counters: Arc<Counters>,
    /// When the client was accepted.
    pub began: Instant,
    /// The same by the wall clock.
    started_at: Timestamp,
    stage: AtomicU8,
    /// When a byte was relayed last, or the session began, by the coarse clock in milliseconds.
    moved_at: AtomicU64,
    /// Whether it is to stop.
    pub stop: StopCell,
    bytes: Bytes,
    facts: Mutex<Facts>,
    /// How often the facts have changed.
    facts_version: AtomicU32,
    /// How often another worker has taken it over.
    takeovers: u32,
    /// How far it is with being kept.
    pub keep: KeepState,
}

/// The facts that become known in the course of a session.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The client, and the load balancer that speaks for it.
    pub peers: Peers,
    /// The generation with which the client's TLS was begun; before that, or without TLS, the one that was
    /// in force when the client was accepted.
    pub generation: u64,
    /// The client's TLS, once the handshake is over.
    pub tls: Option<ClientTls>,
    /// The name that the client asked for (SNI).
    pub server_name: Option<Box<str>>,
    /// The user of the client's first login, whether or not it succeeded, or of the last change of user
    /// that did.
    pub user: Option<Box<str>>,
    /// The backend that serves the session, or the one that was tried last.
    pub backend: Option<Box<str>>,
}

/// The TLS of the client's connection.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// Its version, such as `TLSv1.3`.
    pub version: &'static str,
    /// Its cipher suite, as IANA names it.
    pub suite: Option<&'static str>,
    /// The certificate that the client has presented, which sessions share.
    pub certificate: Option<Arc<ClientChain>>,
}

/// The client has no place yet, or is turned away because there is none.
const ACCEPTED: u8 = 0;
/// The session is being opened.
const OPENING: u8 = 1;
/// Client and backend talk to each other.
const ESTABLISHED: u8 = 2;

impl LiveSession {
    /// Begins the session of a client that was accepted now.
    pub fn new(
        id: SessionId,
        counters: Arc<Counters>,
        client: Option<SocketAddr>,
        generation: u64,
    ) -> Self {
        Self {
            id,
            counters,
            began: Instant::now(),
            started_at: in_microseconds(Timestamp::now()),
            stage: AtomicU8::new(ACCEPTED),
            moved_at: AtomicU64::new(milliseconds(clock::coarse())),
            stop: StopCell::default(),
            bytes: Bytes::default(),
            facts: Mutex::new(Facts {
                peers: Peers::direct(client),
                generation,
                ..Facts::default()
            }),
            facts_version: AtomicU32::new(0),
            takeovers: 0,
            keep: KeepState::default(),
        }
    }

    /// Goes on with an established session that another worker has left behind.
    pub fn taken_over(record: &Record, counters: Arc<Counters>) -> Self {
        let now = Timestamp::now();
        let began = i64::try_from(record.began).ok();
        let began = began.and_then(|it| Timestamp::from_microsecond(it).ok());
        let began = began.unwrap_or(now).min(now);
        let age = Duration::try_from(now.duration_since(began)).unwrap_or_default();
        let idle = milliseconds(clock::since_boot()).saturating_sub(record.moved);
        let moved = milliseconds(clock::coarse()).saturating_sub(idle);
        let now = Instant::now();
        Self {
            id: record.id,
            counters,
            began: now.checked_sub(age).unwrap_or(now),
            started_at: began,
            stage: AtomicU8::new(ESTABLISHED),
            moved_at: AtomicU64::new(moved),
            stop: StopCell::default(),
            bytes: Bytes::new(record.bytes_up, record.bytes_down),
            facts: Mutex::new(record.facts.clone()),
            facts_version: AtomicU32::new(0),
            takeovers: record.takeovers.saturating_add(1),
            keep: KeepState::default(),
        }
    }

    /// Tells the session that it is to be kept, or, if it is, that it is to send the supervisor its sockets again.
    pub fn is_to_be_kept(&self) {
        self.ask(Ask::Keep);
    }

    /// Tells the session that it is to do this.
    pub fn ask(&self, ask: Ask) {
        self.keep.ask(ask);
        self.stop.wake();
    }

    /// Returns how often another worker has taken the session over.
    pub fn takeovers(&self) -> u32 {
        self.takeovers
    }

    /// Returns how often what [`Self::facts`] tells has changed.
    pub fn facts_version(&self) -> u32 {
        self.facts_version.load(Ordering::Relaxed)
    }

    /// Returns when a byte was relayed last, in milliseconds since the machine was started.
    pub fn moved_at_boot(&self) -> u64 {
        milliseconds(clock::since_boot().saturating_sub(self.idle()))
    }

    /// Returns what is known so far.
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Returns the client, and the load balancer that speaks for it.
    pub fn peers(&self) -> Peers {
        self.lock().peers
    }

    /// Notes that the peer is a load balancer and speaks for `client`.
    pub fn speaks_for(&self, client: SocketAddr) {
        self.lock().peers.speaks_for(client);
    }

    /// Notes with which generation the client's TLS is begun.
    pub fn begins_tls(&self, generation: u64) {
        self.lock().generation = generation;
    }

    /// Notes what is known from a handshake with the client, whether or not it was completed; `chains` keeps
    /// its certificate.
    pub fn note_tls(&self, tls: &TlsStream, chains: &Chains) {
        let mut facts = self.lock();
        facts.server_name = tls.server_name().map(Box::from);
        if !tls.is_handshaking() {
            facts.tls = Some(ClientTls {
                version: tls.version(),
                suite: tls.suite(),
                certificate: chains.shown_by(tls),
            });
        }
    }

    /// Notes which backend is tried now.
    pub fn goes_to(&self, backend: &Address) {
        self.lock().backend = Some(backend.to_string().into_boxed_str());
    }

    /// Notes the user of the client's login.
    pub fn logs_in(&self, user: &[u8]) {
        self.lock().user = Some(bounded(user));
        self.facts_version.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the session has a place, so that operators are shown it.
    pub fn has_place(&self) {
        self.stage.store(OPENING, Ordering::Relaxed);
    }

    /// Notes that client and backend talk to each other from now on.
    pub fn is_established(&self) {
        self.stage.store(ESTABLISHED, Ordering::Relaxed);
    }

    /// Returns whether it was opened.
    pub fn has_opened(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == ESTABLISHED
    }

    /// Counts bytes of one side that were passed on to the other, of this session and of its listener.
    pub fn add(&self, from: Side, bytes: usize) {
        self.bytes.add(from, bytes);
        self.counters.bytes.add(from, bytes);
        let now = milliseconds(clock::coarse());
        self.moved_at.store(now, Ordering::Relaxed);
    }

    /// Returns how long no byte was relayed, to a tick of the kernel.
    pub fn idle(&self) -> Duration {
        let moved = Duration::from_millis(self.moved_at.load(Ordering::Relaxed));
        clock::coarse().saturating_sub(moved)
    }

    /// Returns when the client was accepted, by the wall clock.
    pub fn began_at(&self) -> Timestamp {
        self.started_at
    }

    /// Returns how many bytes were relayed, to the backend and to the client.
    pub fn bytes(&self) -> (u64, u64) {
        self.bytes.get()
    }

    /// Returns whether operators are shown the session and a selection holds it. One that was told to stop is
    /// shown no more.
    pub fn is_in(&self, selection: &Selection) -> bool {
        if self.stage.load(Ordering::Relaxed) == ACCEPTED || self.stop.is_stopped() {
            return false;
        }
        let facts = self.lock();
        let certificate = facts.tls.as_ref().and_then(|it| it.certificate.as_ref());
        selection.matches(&Candidate {
            id: self.id,
            listener: &self.counters.listener,
            client: facts.peers.client.map(|it| it.ip()),
            age: self.began.elapsed(),
            generation: facts.generation,
            client_cert: certificate.map(|it| &*it.shown.sha256),
        })
    }

    /// Returns the certificate that the client of a session has shown that goes on.
    pub fn chain(&self) -> Option<Arc<ClientChain>> {
        if self.stage.load(Ordering::Relaxed) == ACCEPTED || self.stop.is_stopped() {
            return None;
        }
        self.lock().tls.as_ref()?.certificate.clone()
    }

    /// Returns what operators are shown of the session.
    pub fn entry(&self) -> SessionEntry {
        let (bytes_up, bytes_down) = self.bytes();
        let facts = self.lock();
        let certificate = facts.tls.as_ref().and_then(|it| it.certificate.as_ref());
        let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        SessionEntry {
            id: self.id,
            state: match self.stage.load(Ordering::Relaxed) {
                ESTABLISHED => SessionState::Established,
                _ => SessionState::Opening,
            },
            listener: self.counters.listener.clone(),
            client: facts.peers.client,
            via: facts.peers.via,
            backend: text(&facts.backend),
            user: text(&facts.user),
            tls: facts.tls.as_ref().map(|it| SessionTls {
                version: it.version.to_owned(),
                suite: it.suite.map_or_else(|| "unknown".to_owned(), openssl_name),
            }),
            client_cert: certificate.map(|it| SessionCertificate {
                subject: it.shown.subject.clone(),
                sha256: it.shown.sha256.clone(),
            }),
            generation: facts.generation,
            started_at: self.started_at,
            idle_ms: milliseconds(self.idle()),
            bytes_up,
            bytes_down,
            takeovers: self.takeovers.into(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns a time in whole microseconds, as a record holds it, so that no takeover changes it.
fn in_microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a name that a client has sent, cut at [`LONGEST_USER`] characters. The log escapes characters
/// that cannot be printed.
fn bounded(text: &[u8]) -> Box<str> {
    // A character has at most four bytes, and an invalid one is replaced by one of three.
    let text = &text[..text.len().min(4 * LONGEST_USER)];
    let text = String::from_utf8_lossy(text);
    text.chars().take(LONGEST_USER).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::samples;

    fn session() -> LiveSession {
        let counters = Arc::new(Counters::new("main".to_owned()));
        let id = SessionId {
            origin: 7,
            number: 1,
        };
        LiveSession::new(id, counters, Some(([192, 0, 2, 1], 1).into()), 3)
    }

    #[test]
    fn a_client_behind_a_balancer_is_told_from_it() {
        let session = session();
        let balancer = session.peers().client;
        let client = ([198, 51, 100, 7], 9).into();
        session.speaks_for(client);
        let peers = session.peers();
        assert_eq!((peers.client, peers.via), (Some(client), balancer));
    }

    #[test]
    fn facts_are_those_of_the_last_note() {
        let session = session();
        assert_eq!(session.facts().generation, 3);
        session.begins_tls(4);
        session.logs_in(b"one");
        session.logs_in(b"two");
        session.add(Side::Client, 5);
        session.add(Side::Client, 6);
        session.add(Side::Server, 7);
        let facts = session.facts();
        assert_eq!((facts.generation, facts.user.as_deref()), (4, Some("two")));
        assert_eq!(session.bytes(), (11, 7));
    }

    #[test]
    fn bytes_of_a_session_that_is_taken_over_are_counted_once() {
        let record = Record {
            bytes_up: 100,
            bytes_down: 200,
            ..samples::all().swap_remove(0).1
        };
        let counters = Arc::new(Counters::new("main".to_owned()));
        let session = LiveSession::taken_over(&record, Arc::clone(&counters));
        session.add(Side::Client, 5);
        session.add(Side::Server, 6);
        assert_eq!(session.bytes(), (105, 206));
        let counts = counters.counts();
        assert_eq!((counts.bytes_up, counts.bytes_down), (5, 6));
    }

    #[test]
    fn a_name_is_bounded_whatever_it_is_made_of() {
        assert_eq!(&*bounded(b"app"), "app");
        assert_eq!(bounded(&[b'x'; 1000]).len(), LONGEST_USER);
        assert_eq!(bounded(&[0xff; 1000]).chars().count(), LONGEST_USER);
        let wide = "\u{1f600}".repeat(1000);
        assert_eq!(bounded(wide.as_bytes()).chars().count(), LONGEST_USER);
    }
}
