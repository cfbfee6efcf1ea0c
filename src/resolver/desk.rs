//! Carries out what [`Flights`] decides: threads for lookups, answers for workers.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::OwnedFd,
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::sync::mpsc;
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

/// What a thread has found.
pub(super) type Ended = (Wanted, Result<Found, Unresolved>);

/// The resolver's state.
pub(super) struct Desk {
    flights: Flights<Found>,
    /// Where answers for each worker go. A worker takes answers before it is heard again, so that no more
    /// wait there than it may have asks.
    workers: HashMap<u64, mpsc::UnboundedSender<Reply>>,
    /// The number of the next worker.
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
            workers: HashMap::new(),
            next: 0,
            backends: BTreeSet::new(),
            said,
            found,
        }
    }

    /// Whether any worker is left.
    pub(super) fn has_workers(&self) -> bool {
        !self.workers.is_empty()
    }

    /// Returns when to call [`Self::woken`].
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.flights.wake_at()
    }

    /// Takes a message of the supervisor.
    pub(super) fn told(&mut self, told: Received<ToResolver>) {
        match told.message {
            ToResolver::Worker => match told.descriptors.into_iter().next() {
                Some(end) => self.add(end),
                None => {
                    error!(
                        "the link to a worker did not arrive, because the resolver has no descriptor left"
                    );
                }
            },
            ToResolver::Backends { wanted, is_last } => {
                self.backends.extend(wanted);
                if is_last {
                    let backends = std::mem::take(&mut self.backends);
                    self.take(Event::Configured(backends));
                }
            }
        }
    }

    fn add(&mut self, end: OwnedFd) {
        let worker = self.next;
        self.next += 1;
        match pair::open(worker, end, self.said.clone()) {
            Ok(replies) => {
                self.workers.insert(worker, replies);
            }
            Err(error) => error!(%error, "the link to a worker cannot be used"),
        }
    }

    /// Takes what a worker has said.
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Asked(ask) => self.take(Event::Asked(ask)),
            Heard::Left(worker) => {
                self.workers.remove(&worker);
                self.take(Event::Left { worker });
            }
        }
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
                    if let Some(replies) = self.workers.get(&worker) {
                        // A worker that is gone is told nothing.
                        let _ = replies.send(Reply { number, answer });
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
