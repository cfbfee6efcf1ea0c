//! Which lookups run, and who is told what, as a state machine without threads and clocks.
//!
//! A name has one lookup at a time; its answer is for all workers that wait for it. An answer is
//! remembered for a moment, so that many sessions at once make one lookup. A path has one connection being
//! made at a time, and each that was made is for one worker alone.
//!
//! A lookup cannot be ended: it keeps its thread until the C library gives up. A worker whose time is over
//! is told so. A worker that asks for a name whose lookup has already lasted longer than the worker would
//! wait is told at once. So a name whose servers are dead takes one thread
//! and little time from sessions. Names wait for a free thread in turn. Those whose last lookup
//! was slow never get the last threads, because many dead names would keep good ones waiting otherwise.

mod asks;
mod flight;
mod limits;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

pub use self::limits::Limits;
use self::{
    asks::{Asks, Ticket, Waiting},
    flight::{Flight, Phase},
};
use crate::facts::{Unresolved, Wanted};

/// Says which ask an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker {
    /// The worker, by a number of the resolver's own.
    pub worker: u64,
    /// The number that the worker gave its ask.
    pub number: u64,
}

/// A worker's ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Whose it is.
    pub asker: Asker,
    /// What is asked for.
    pub wanted: Wanted,
    /// How long the worker waits for the answer.
    pub within: Duration,
}

/// What happens to the resolver.
#[derive(Debug)]
pub enum Event<A> {
    /// These names and paths are configured, and no others.
    Configured(BTreeSet<Wanted>),
    /// A worker asks for something.
    Asked(Ask),
    /// A lookup or a connection has ended.
    Ended {
        /// What was looked up.
        wanted: Wanted,
        /// What came of it.
        result: Result<A, Unresolved>,
    },
    /// A worker is gone, and its asks with it.
    Left {
        /// The worker.
        worker: u64,
    },
    /// Time has passed.
    Woken,
}

/// What the resolver is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<A> {
    /// Begins a lookup or a connection on a thread, and tells [`Event::Ended`] when it has ended.
    Start(Wanted),
    /// Answers an ask, which is over by that.
    Answer(Asker, Result<A, Unresolved>),
}

/// All lookups, and all asks that wait for them.
///
/// Each ask gets exactly one answer, but those of a worker that left: these get none.
#[derive(Debug)]
pub struct Flights<A> {
    limits: Limits,
    configured: BTreeSet<Wanted>,
    all: BTreeMap<Wanted, Flight<A>>,
    /// What waits for a thread, each once.
    queue: VecDeque<Wanted>,
    asks: Asks,
    /// How many lookups run.
    running: usize,
    /// How many of these were slow the last time.
    slow: usize,
    actions: Vec<Action<A>>,
}

impl<A: Clone> Flights<A> {
    /// Returns the state before anything is configured.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            configured: BTreeSet::new(),
            all: BTreeMap::new(),
            queue: VecDeque::new(),
            asks: Asks::default(),
            running: 0,
            slow: 0,
            actions: Vec::new(),
        }
    }

    /// Takes note of an event; returns what to do, in this order.
    pub fn take(&mut self, now: Instant, event: Event<A>) -> Vec<Action<A>> {
        self.expire(now);
        match event {
            Event::Configured(configured) => self.configure(now, configured),
            Event::Asked(ask) => self.ask(now, ask),
            Event::Ended { wanted, result } => self.end(now, &wanted, &result),
            Event::Left { worker } => self.leave(worker),
            Event::Woken => {}
        }
        self.start(now);
        std::mem::take(&mut self.actions)
    }

    /// Returns when to tell [`Event::Woken`] if nothing else happens before.
    pub fn wake_at(&self) -> Option<Instant> {
        self.asks.first_end()
    }

    /// Answers the asks whose time is over.
    fn expire(&mut self, now: Instant) {
        while let Some((ticket, over)) = self.asks.take_over(now) {
            let phase = self.unlink(ticket, &over);
            let within = over.ask.within;
            let reason = match phase {
                None => Unresolved::NotConfigured,
                Some(Phase::Queued) => Unresolved::NoThread(within),
                Some(Phase::Idle | Phase::Running { .. }) => Unresolved::NoAnswer(within),
            };
            self.answer(over.ask.asker, Err(reason));
        }
    }

    /// Takes an ask that is over out of its flight; returns the flight's phase, `None` if the ask was for
    /// something that is not configured.
    fn unlink(&mut self, ticket: Ticket, over: &Waiting) -> Option<Phase> {
        if over.is_parked {
            return None;
        }
        let flight = self.all.get_mut(&over.ask.wanted)?;
        flight.waiting.retain(|it| *it != ticket);
        Some(flight.phase)
    }

    fn configure(&mut self, now: Instant, configured: BTreeSet<Wanted>) {
        self.configured = configured;
        let configured = &self.configured;
        self.all
            .retain(|wanted, flight| configured.contains(wanted) || flight.is_busy());
        let is_known = |waiting: &Waiting| configured.contains(&waiting.ask.wanted);
        for (since, ask) in self.asks.take_parked(is_known) {
            self.join(now, since, ask);
        }
    }

    fn ask(&mut self, now: Instant, mut ask: Ask) {
        ask.within = ask.within.min(self.limits.longest_wait);
        if self.asks.of(ask.asker.worker) >= self.limits.asks {
            self.answer(ask.asker, Err(Unresolved::TooMany));
        } else if self.configured.contains(&ask.wanted) {
            self.join(now, now, ask);
        } else {
            let until = now + self.limits.parked.min(ask.within);
            self.asks.park(ask, now, until);
        }
    }

    /// Answers an ask for something that is configured, or has it wait until the time it was given since it
    /// came is over.
    fn join(&mut self, now: Instant, since: Instant, ask: Ask) {
        let flight = self.all.entry(ask.wanted.clone()).or_default();
        if let Some(known) = flight.known(now, ask.within) {
            return self.answer(ask.asker, known);
        }
        if self.asks.count(&flight.waiting, ask.asker.worker) >= self.limits.asks_for_one {
            return self.answer(ask.asker, Err(Unresolved::TooMany));
        }
        if flight.phase == Phase::Idle {
            flight.phase = Phase::Queued;
            self.queue.push_back(ask.wanted.clone());
        }
        let until = since + ask.within;
        flight.waiting.push_back(self.asks.wait(ask, since, until));
    }

    fn end(&mut self, now: Instant, wanted: &Wanted, result: &Result<A, Unresolved>) {
        let Some(flight) = self.all.get_mut(wanted) else {
            return;
        };
        let Phase::Running { since, was_slow } = flight.phase else {
            return;
        };
        self.running -= 1;
        self.slow -= usize::from(was_slow);
        flight.is_slow = now.duration_since(since) >= self.limits.slow;
        flight.phase = Phase::Idle;
        let served = match wanted {
            Wanted::Host(_) => {
                flight.remember(now, &self.limits, result.clone());
                std::mem::take(&mut flight.waiting)
            }
            Wanted::Path(_) => flight.waiting.pop_front().into_iter().collect(),
        };
        if !flight.waiting.is_empty() {
            flight.phase = Phase::Queued;
            self.queue.push_back(wanted.clone());
        }
        for ticket in served {
            if let Some(served) = self.asks.remove(ticket) {
                self.answer(served.ask.asker, result.clone());
            }
        }
        self.forget(wanted);
    }

    fn leave(&mut self, worker: u64) {
        for (ticket, gone) in self.asks.take_of(worker) {
            self.unlink(ticket, &gone);
        }
    }

    /// Begins what waits for a thread while there are threads.
    fn start(&mut self, now: Instant) {
        while self.running < self.limits.threads {
            let may_be_slow = self.slow < self.limits.slow_threads;
            let may_start =
                |it: &Wanted| may_be_slow || !self.all.get(it).is_some_and(|it| it.is_slow);
            let Some(position) = self.queue.iter().position(may_start) else {
                return;
            };
            if let Some(wanted) = self.queue.remove(position) {
                self.begin(now, wanted);
            }
        }
    }

    /// Begins a lookup, unless no worker waits for it any more.
    fn begin(&mut self, now: Instant, wanted: Wanted) {
        let Some(flight) = self.all.get_mut(&wanted) else {
            return;
        };
        if flight.waiting.is_empty() {
            flight.phase = Phase::Idle;
            return self.forget(&wanted);
        }
        let was_slow = flight.is_slow;
        flight.phase = Phase::Running {
            since: now,
            was_slow,
        };
        self.running += 1;
        self.slow += usize::from(was_slow);
        self.actions.push(Action::Start(wanted));
    }

    /// Forgets what is known of something that is no longer configured.
    fn forget(&mut self, wanted: &Wanted) {
        let is_busy = self.all.get(wanted).is_some_and(Flight::is_busy);
        if !is_busy && !self.configured.contains(wanted) {
            self.all.remove(wanted);
        }
    }

    fn answer(&mut self, asker: Asker, answer: Result<A, Unresolved>) {
        self.actions.push(Action::Answer(asker, answer));
    }
}
