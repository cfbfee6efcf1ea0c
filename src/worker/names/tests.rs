//! A worker and the resolver, in one process.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    sync::Arc,
};

use tokio::{sync::mpsc, task::JoinHandle};

use super::*;
use crate::{
    facts::{Confinement, Enforcement},
    link::{
        Answer, FromResolver, ToResolver,
        end::{self, Sender},
    },
    resolver,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A worker whose pairs the test makes.
struct Worker {
    /// The supervisor's number for it.
    number: u64,
    names: Arc<Names>,
    pairs: mpsc::Sender<OwnedFd>,
    talking: JoinHandle<()>,
}

impl Worker {
    fn new() -> Self {
        Self::numbered(1)
    }

    fn numbered(number: u64) -> Self {
        let (names, (pairs, arrived)) = (Arc::new(Names::default()), mpsc::channel(1));
        let talks = Arc::clone(&names);
        Self {
            number,
            names,
            pairs,
            talking: tokio::spawn(async move { talk::talk(&talks, arrived).await }),
        }
    }

    /// Gives the worker a pair whose other end is the test's.
    async fn pair(&self) -> (end::Receiver<Ask>, Sender<Answer>) {
        let (ours, theirs) = end::pair().unwrap();
        self.pairs.send(theirs).await.unwrap();
        end::open(ours).unwrap()
    }

    fn ask(&self, host: &'static str) -> JoinHandle<Result<Vec<HostAddress>, Unresolved>> {
        let names = Arc::clone(&self.names);
        tokio::spawn(async move { addresses_of(names.find(self::host(host), PATIENCE).await) })
    }
}

fn addresses_of(found: Answered) -> Result<Vec<HostAddress>, Unresolved> {
    match found? {
        Found::Addresses(addresses) => Ok(addresses),
        Found::Connection(_) => panic!("a connection for a name"),
    }
}

fn addresses() -> Vec<HostAddress> {
    let all = [("192.0.2.1", 0), ("fe80::1", 7)];
    let addresses = all.map(|(ip, scope)| HostAddress {
        ip: ip.parse().unwrap(),
        scope,
    });
    addresses.to_vec()
}

#[tokio::test]
async fn sessions_that_want_the_same_share_one_ask() {
    let worker = Worker::new();
    let (mut asks, answers) = worker.pair().await;
    let sessions = ["a", "a", "b"].map(|host| worker.ask(host));
    let mut told = Vec::new();
    for _ in 0..2 {
        let ask = asks.receive().await.unwrap().unwrap().message;
        assert!(ask.within <= PATIENCE && ask.within > PATIENCE / 2);
        let (number, addresses) = (ask.number, addresses());
        let answer = Answer::Addresses { number, addresses };
        answers.send(&answer, &[]).await.unwrap();
        told.push(ask.wanted);
    }
    assert_eq!(told, ["a", "b"].map(|it| Wanted::Host(it.to_owned())));
    for session in sessions {
        assert_eq!(session.await.unwrap(), Ok(addresses()));
    }
}

#[tokio::test]
async fn a_new_resolver_is_asked_for_what_the_one_before_did_not_answer() {
    let worker = Worker::new();
    let session = worker.ask("a");
    let (mut asks, before) = worker.pair().await;
    let first = asks.receive().await.unwrap().unwrap().message;
    drop((asks, before));
    let (mut asks, answers) = worker.pair().await;
    let again = asks.receive().await.unwrap().unwrap().message;
    assert_eq!((&again.wanted, again.number), (&first.wanted, first.number));
    let number = again.number;
    let reason = Unresolved::Temporary("Temporary failure".to_owned());
    let answer = Answer::Failed {
        number,
        reason: reason.clone(),
    };
    answers.send(&answer, &[]).await.unwrap();
    assert_eq!(session.await.unwrap(), Err(reason));
}

#[tokio::test]
async fn a_session_waits_no_longer_than_it_may_whatever_the_resolver_does() {
    let worker = Worker::new();
    let (mut asks, answers) = worker.pair().await;
    let within = Duration::from_millis(20);
    let late = Err(Unresolved::NoAnswer(within));
    let found = worker.names.find(host("a"), within).await;
    assert_eq!(addresses_of(found), late);
    let ask = asks.receive().await.unwrap().unwrap().message;
    let (number, addresses) = (ask.number, addresses());
    let answer = Answer::Addresses { number, addresses };
    answers.send(&answer, &[]).await.unwrap();
    // The late answer is for no session, and a new one asks anew.
    let session = worker.ask("a");
    let anew = asks.receive().await.unwrap().unwrap().message;
    assert_ne!(anew.number, number);
    session.abort();
}

/// The confinement of a process that is not confined.
fn free() -> Confinement {
    Confinement {
        files: Enforcement::None,
        scopes: false,
        system_calls: false,
        missing: vec![],
    }
}

/// A resolver in a task, as its supervisor sees it.
struct Running {
    supervisor: (end::Receiver<FromResolver>, Sender<ToResolver>),
    resolver: JoinHandle<()>,
}

impl Running {
    async fn new(backends: impl IntoIterator<Item = Wanted>) -> Self {
        let (ours, theirs) = end::pair().unwrap();
        let running = Self {
            supervisor: end::open(ours).unwrap(),
            resolver: tokio::spawn(async move {
                resolver::run(theirs, free(), &AtomicBool::new(false))
                    .await
                    .unwrap();
            }),
        };
        running.configure(backends).await;
        running
    }

    async fn configure(&self, backends: impl IntoIterator<Item = Wanted>) {
        let wanted: BTreeSet<_> = backends.into_iter().collect();
        let (wanted, is_last) = (wanted.into_iter().collect(), true);
        let backends = ToResolver::Backends { wanted, is_last };
        self.supervisor.1.send(&backends, &[]).await.unwrap();
    }

    async fn add(&self, worker: u64, end: OwnedFd) {
        let along = [end.as_fd()];
        let message = ToResolver::Worker { worker };
        let sent = self.supervisor.1.send(&message, &along);
        sent.await.unwrap();
    }

    async fn join(&self, worker: &Worker) {
        let (one, other) = end::pair().unwrap();
        self.add(worker.number, one).await;
        worker.pairs.send(other).await.unwrap();
    }
}

fn host(name: &str) -> Wanted {
    Wanted::Host(name.to_owned())
}

#[tokio::test]
async fn the_resolver_answers_for_what_is_configured_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let listener = UnixListener::bind(&path).unwrap();
    let (worker, other) = (Worker::new(), Worker::numbered(2));
    let running = Running::new([host("localhost"), Wanted::Path(path.clone())]).await;
    running.join(&worker).await;
    running.join(&other).await;
    for names in [&worker.names, &other.names] {
        let found = names.find(host("localhost"), PATIENCE).await;
        let found = addresses_of(found).unwrap();
        assert!(found.iter().all(|it| it.ip.is_loopback()), "{found:?}");
    }
    let found = worker.names.find(Wanted::Path(path), PATIENCE).await;
    let Ok(Found::Connection(connection)) = found else {
        panic!("{found:?}");
    };
    let mut client = UnixStream::from(connection);
    client.write_all(b"hello").unwrap();
    drop(client);
    let mut text = String::new();
    let (mut server, _) = listener.accept().unwrap();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    let secret = folder.path().join("other");
    let _other = UnixListener::bind(&secret).unwrap();
    for other in [Wanted::Path(secret), host("db.invalid")] {
        let refused = worker.names.find(other, PATIENCE).await;
        assert_eq!(refused.unwrap_err(), Unresolved::NotConfigured);
    }
}

#[tokio::test]
async fn the_resolver_beats_and_ends_when_the_supervisor_and_all_workers_are_gone() {
    let worker = Worker::new();
    let mut running = Running::new([host("localhost")]).await;
    running.join(&worker).await;
    let first = running.supervisor.0.receive().await.unwrap().unwrap();
    assert_eq!(first.message, FromResolver::Confined(free()));
    loop {
        let sign = running.supervisor.0.receive().await.unwrap().unwrap();
        match sign.message {
            FromResolver::Memory { .. } => {}
            other => break assert_eq!(other, FromResolver::Beat),
        }
    }
    drop(running.supervisor);
    worker
        .names
        .find(host("localhost"), PATIENCE)
        .await
        .unwrap();
    assert!(!running.resolver.is_finished());
    worker.talking.abort();
    running.resolver.await.unwrap();
}

#[tokio::test]
async fn a_worker_that_asks_without_taking_answers_does_not_disturb_others() {
    let running = Running::new([host("localhost")]).await;
    let (one, mute) = end::pair().unwrap();
    running.add(2, one).await;
    let (_unread, asking) = end::open::<Answer, Ask>(mute).unwrap();
    let flood = tokio::spawn(async move {
        for number in 0.. {
            let (wanted, within) = (host("localhost"), PATIENCE);
            let ask = Ask {
                number,
                wanted,
                within,
            };
            asking.send(&ask, &[]).await.unwrap();
        }
    });
    let worker = Worker::new();
    running.join(&worker).await;
    worker
        .names
        .find(host("localhost"), PATIENCE)
        .await
        .unwrap();
    // The one that takes no answers is stopped by its own buffer.
    assert!(!flood.is_finished());
    flood.abort();
}

#[tokio::test]
async fn a_worker_is_answered_over_its_newest_pair_alone() {
    let running = Running::new([host("localhost")]).await;
    let (one, before) = end::pair().unwrap();
    running.add(1, one).await;
    let (mut before, _asking) = end::open::<Answer, Ask>(before).unwrap();
    let worker = Worker::numbered(1);
    running.join(&worker).await;
    assert!(before.receive().await.unwrap().is_none());
    worker
        .names
        .find(host("localhost"), PATIENCE)
        .await
        .unwrap();
}

/// Waits until the worker has a pair of use, or has none.
async fn until_has_pair(names: &Names, has: bool) {
    while names.has_pair() != has {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_worker_says_that_it_needs_a_pair_until_it_has_one_of_use() {
    let names = Arc::new(Names::default());
    let mut pairs = Pairs::new(Arc::clone(&names));
    // The first pair may be on its way when the first beat is sent.
    assert_eq!([(); 3].map(|()| pairs.are_needed()), [false, true, true]);
    pairs.give(None);
    assert!(pairs.are_needed());
    let (resolver, end) = end::pair().unwrap();
    pairs.give(Some(end));
    until_has_pair(&names, true).await;
    assert_eq!([(); 2].map(|()| pairs.are_needed()), [false, false]);
    drop(resolver);
    until_has_pair(&names, false).await;
    assert_eq!([(); 2].map(|()| pairs.are_needed()), [false, true]);
}
