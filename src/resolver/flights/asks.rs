//! The asks that wait, by worker and by the end of their time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::Ask;

/// Names an ask that waits; no two have the same.
pub(super) type Ticket = u64;

/// An ask that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ask: Ask,
    /// Whether it waits for what it asks for to be configured.
    pub(super) is_parked: bool,
    since: Instant,
    until: Instant,
}

/// All asks that wait.
#[derive(Debug, Default)]
pub(super) struct Asks {
    all: BTreeMap<Ticket, Waiting>,
    ends: BTreeSet<(Instant, Ticket)>,
    of: HashMap<u64, usize>,
    next: Ticket,
}

impl Asks {
    /// Has an ask wait for a lookup.
    pub(super) fn wait(&mut self, ask: Ask, since: Instant, until: Instant) -> Ticket {
        self.add(Waiting {
            ask,
            is_parked: false,
            since,
            until,
        })
    }

    /// Has an ask wait for what it asks for to be configured.
    pub(super) fn park(&mut self, ask: Ask, since: Instant, until: Instant) {
        self.add(Waiting {
            ask,
            is_parked: true,
            since,
            until,
        });
    }

    fn add(&mut self, waiting: Waiting) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        *self.of.entry(waiting.ask.asker.worker).or_default() += 1;
        self.ends.insert((waiting.until, ticket));
        self.all.insert(ticket, waiting);
        ticket
    }

    /// Takes out an ask.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        let removed = self.all.remove(&ticket)?;
        self.ends.remove(&(removed.until, ticket));
        let worker = removed.ask.asker.worker;
        let left = self.of.get(&worker).map_or(0, |count| count - 1);
        if left == 0 {
            self.of.remove(&worker);
        } else {
            self.of.insert(worker, left);
        }
        Some(removed)
    }

    /// Takes out an ask whose time is over.
    pub(super) fn take_over(&mut self, now: Instant) -> Option<(Ticket, Waiting)> {
        let (until, ticket) = *self.ends.first()?;
        if now < until {
            return None;
        }
        self.remove(ticket).map(|over| (ticket, over))
    }

    /// Takes out the parked asks for which `is_known` holds, in the order in which they came; returns since when
    /// each has waited.
    pub(super) fn take_parked(
        &mut self,
        is_known: impl Fn(&Waiting) -> bool,
    ) -> Vec<(Instant, Ask)> {
        let taken = self.take(|it| it.is_parked && is_known(it));
        taken
            .into_iter()
            .map(|(_, it)| (it.since, it.ask))
            .collect()
    }

    /// Takes out all asks of a worker.
    pub(super) fn take_of(&mut self, worker: u64) -> Vec<(Ticket, Waiting)> {
        self.take(|it| it.ask.asker.worker == worker)
    }

    fn take(&mut self, which: impl Fn(&Waiting) -> bool) -> Vec<(Ticket, Waiting)> {
        let all = self.all.iter();
        let tickets: Vec<_> = all.filter(|(_, it)| which(it)).map(|(it, _)| *it).collect();
        let taken = tickets.into_iter();
        taken
            .filter_map(|it| Some((it, self.remove(it)?)))
            .collect()
    }

    /// Returns how many asks of a worker wait.
    pub(super) fn of(&self, worker: u64) -> usize {
        self.of.get(&worker).copied().unwrap_or(0)
    }

    /// Returns how many of these asks are a worker's.
    pub(super) fn count<'a>(
        &self,
        tickets: impl IntoIterator<Item = &'a Ticket>,
        worker: u64,
    ) -> usize {
        let of_worker = |ticket: &&Ticket| {
            let waiting = self.all.get(*ticket);
            waiting.is_some_and(|it| it.ask.asker.worker == worker)
        };
        tickets.into_iter().filter(of_worker).count()
    }

    /// Returns when the first ask's time is over.
    pub(super) fn first_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }
}
