//! Carries out what [`Flights`] decides: threads for lookups, answers for workers.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};
use tracing::{debug, error};

use super::{
    flights::{Action, Asker, Event, Flights, Limits},
    lookup,
    pair::{self, Found, Heard, Reply},
};
use crate::{
    facts::{Unresolved, Wanted},
    link::{Received, ToResolver},
};

/// The most connections that wait until one worker takes them. One that works takes them at once; one that
/// hangs must not hold the descriptors that lookups need.
const MOST_UNTAKEN: usize = 64;

/// What a thread has found.
pub(super) type Ended = (Wanted, Result<Found, Unresolved>);

/// A worker's pair.
struct Pair {
    /// The worker, by the supervisor's number.
    worker: u64,
    /// Where answers go. A worker takes answers before it is heard again, so that no more wait there than
    /// it may have asks.
    replies: mpsc::UnboundedSender<Reply>,
    /// One for each connection that may wait there.
    untaken: Arc<Semaphore>,
    talk: AbortHandle,
}

impl Pair {
    fn answer(&self, number: u64, mut answer: Result<Found, Unresolved>) {
        let mut place = None;
        if let Ok(Found::Connection(_)) = answer {
            match Arc::clone(&self.untaken).try_acquire_owned() {
                Ok(free) => place = Some(free),
                Err(_) => answer = Err(busy()),
            }
        }
        let reply = Reply {
            number,
            answer,
            _place: place,
        };
        // A worker that is gone is told nothing.
        let _ = self.replies.send(reply);
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.talk.abort();
    }
}

/// The resolver's state.
pub(super) struct Desk {
    flights: Flights<Found>,
    /// The pairs, by numbers of the resolver's own.
    pairs: HashMap<u64, Pair>,
    /// The number of the next pair.
    next: u64,
    /// The part of a list of backends that has arrived.
    backends: BTreeSet<Wanted>,
    said: mpsc::Sender<Heard>,
    found: mpsc::UnboundedSender<Ended>,
}

impl Desk {
    /// Begins without workers. What they say arrives over `said`, what threads find over `found`.
    pub(super) fn new(said: mpsc::Sender<Heard>, found: mpsc::UnboundedSender<Ended>) -> Self {
        Self {
            flights: Flights::new(Limits::default()),
            pairs: HashMap::new(),
            next: 0,
            backends: BTreeSet::new(),
            said,
            found,
        }
    }

    /// Whether any worker is left.
    pub(super) fn has_workers(&self) -> bool {
        !self.pairs.is_empty()
    }

    /// Returns when to call [`Self::woken`].
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.flights.wake_at()
    }

    /// Takes a message of the supervisor.
    pub(super) fn told(&mut self, told: Received<ToResolver>) {
        match told.message {
            // The receiver has done so.
            ToResolver::MakeRoom => {}
            ToResolver::Worker { worker } => {
                if let Some(end) = told.descriptors.into_iter().next() {
                    self.add(worker, end);
                } else {
                    error!(
                        "a worker's pair did not arrive, because the resolver is short of \
                         descriptors; the worker asks for another"
                    );
                }
            }
            ToResolver::Backends { wanted, is_last } => {
                self.backends.extend(wanted);
                if is_last {
                    let backends = std::mem::take(&mut self.backends);
                    self.take(Event::Configured(backends));
                }
            }
        }
    }

    /// Answers a worker over a pair, and no longer over the one that it had before.
    fn add(&mut self, worker: u64, end: OwnedFd) {
        let before = self.pairs.iter().find(|(_, pair)| pair.worker == worker);
        if let Some(before) = before.map(|(number, _)| *number) {
            self.remove(before);
        }
        let number = self.next;
        self.next += 1;
        match pair::open(number, end, self.said.clone()) {
            Ok((replies, talk)) => {
                let untaken = Arc::new(Semaphore::new(MOST_UNTAKEN));
                let pair = Pair {
                    worker,
                    replies,
                    untaken,
                    talk,
                };
                self.pairs.insert(number, pair);
            }
            Err(error) => error!(%error, "the link to a worker cannot be used"),
        }
    }

    /// Takes what a worker has said.
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Asked(ask) if self.pairs.contains_key(&ask.asker.worker) => {
                self.take(Event::Asked(ask));
            }
            // The worker has another pair, over which it asks again.
            Heard::Asked(_) => {}
            Heard::Left(pair) => self.remove(pair),
        }
    }

    fn remove(&mut self, pair: u64) {
        self.pairs.remove(&pair);
        self.take(Event::Left { worker: pair });
    }

    /// Takes what a thread has found.
    pub(super) fn ended(&mut self, wanted: Wanted, result: Result<Found, Unresolved>) {
        if let Err(reason) = &result {
            debug!("{wanted}: {reason}");
        }
        self.take(Event::Ended { wanted, result });
    }

    /// Answers the asks whose time is over.
    pub(super) fn woken(&mut self) {
        self.take(Event::Woken);
    }

    fn take(&mut self, event: Event<Found>) {
        for action in self.flights.take(Instant::now(), event) {
            match action {
                Action::Start(wanted) => self.start(wanted),
                Action::Answer(Asker { worker, number }, answer) => {
                    if let Some(pair) = self.pairs.get(&worker) {
                        pair.answer(number, answer);
                    }
                }
            }
        }
    }

    /// Begins a lookup on a thread of its own.
    fn start(&self, wanted: Wanted) {
        let found = self.found.clone();
        let what = wanted.clone();
        let work = move || {
            let result = find(&what);
            // The process ends when the desk is gone.
            let _ = found.send((what, result));
        };
        let builder = thread::Builder::new().name("lookup".to_owned());
        if let Err(error) = builder.spawn(work) {
            let reason = Unresolved::Failed(format!("the resolver cannot start a thread: {error}"));
            let _ = self.found.send((wanted, Err(reason)));
        }
    }
}

fn busy() -> Unresolved {
    let reason = format!(
        "the worker is too busy to take its connections: {MOST_UNTAKEN} of them wait for it already"
    );
    Unresolved::Failed(reason)
}

/// Finds what a worker wants, however long that takes.
fn find(wanted: &Wanted) -> Result<Found, Unresolved> {
    match wanted {
        Wanted::Host(host) => Ok(Found::Addresses(lookup::addresses(host)?.into())),
        Wanted::Path(path) => {
            let connection = OwnedFd::from(lookup::connection(path)?);
            Ok(Found::Connection(Arc::new(connection)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::end;

    fn connection() -> Found {
        Found::Connection(Arc::new(end::pair().unwrap().0))
    }

    #[tokio::test]
    async fn a_worker_that_takes_no_connections_gets_no_more_until_it_does() {
        let (replies, mut waiting) = mpsc::unbounded_channel();
        let pair = Pair {
            worker: 1,
            replies,
            untaken: Arc::new(Semaphore::new(MOST_UNTAKEN)),
            talk: tokio::spawn(async {}).abort_handle(),
        };
        for number in 0..1000 {
            pair.answer(number, Ok(connection()));
        }
        pair.answer(1000, Ok(Found::Addresses([].into())));
        let mut answers = Vec::new();
        while let Ok(reply) = waiting.try_recv() {
            answers.push(reply);
        }
        let is_connection = |it: &Reply| matches!(it.answer, Ok(Found::Connection(_)));
        let connections = answers.iter().take_while(|it| is_connection(it));
        assert_eq!(connections.count(), MOST_UNTAKEN);
        let (refused, rest) = answers[MOST_UNTAKEN..].split_at(1000 - MOST_UNTAKEN);
        for reply in refused {
            let reason = reply.answer.as_ref().unwrap_err().to_string();
            assert!(reason.contains("too busy"), "{reason}");
        }
        assert!(matches!(rest, [reply] if reply.answer.is_ok()), "{rest:?}");
        answers.remove(0);
        pair.answer(1001, Ok(connection()));
        assert!(is_connection(&waiting.try_recv().unwrap()));
    }
}
