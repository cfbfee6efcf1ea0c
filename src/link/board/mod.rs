//! Boards: how many sessions each worker has of every listener and of every client.
//!
//! Each worker has a board of its own, which it alone writes, and reads those of the other workers. So
//! a limit holds over all workers without the supervisor, and a worker that was taken over can only
//! claim too many sessions or too few: what another worker claims counts up to the limit, and no
//! wait depends on it.
//!
//! A worker adds a session to its board before it reads the boards of the others. Of two workers
//! that want the last place at once, at least one therefore sees the other.

mod client;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    hint::spin_loop,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering, fence},
    },
};

use serde::{Deserialize, Serialize};

pub use self::client::{ClientKey, ClientKeys, ClientSecret};
use crate::{
    config::LISTENERS_MAX,
    sys::shared::{Memory, Seen, Written},
};

/// How many numbers there are for listeners: enough for all to be replaced at once.
pub const NUMBERS: usize = 2 * LISTENERS_MAX;

/// How many entries for clients a board has. Up to half as many clients at a time all find one of their
/// own; of more, some are not counted.
const CLIENTS: usize = 1 << 16;

/// How many entries a client's may be among: those that follow where its key points.
const WINDOW: usize = 32;

/// Which counter holds the number of sessions that would end with their worker.
const UNKEPT: usize = NUMBERS + CLIENTS;

/// How many counters a board has: one for each number of a listener, then the entries of clients, then the
/// sessions that are not kept.
const COUNTERS: usize = UNKEPT + 1;

/// The bits of a client's entry that hold its count; those above hold a part of its key.
const COUNT_BITS: u32 = 24;

/// The most sessions that a client's entry can count.
const MOST: u64 = (1 << COUNT_BITS) - 1;

/// How often a worker tries to take a place that another worker wants at the same moment.
const ATTEMPTS: u32 = 6;

/// The number by which boards name a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListenerNumber(u16);

/// Whose sessions a board counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Those of a listener.
    Listener(ListenerNumber),
    /// Those of a client of a listener.
    Client(ClientKey),
}

/// A session on the worker's own board, which is counted until this is dropped.
#[derive(Debug)]
pub struct Held {
    boards: Arc<Boards>,
    index: Option<usize>,
}

/// A worker's board, as the supervisor keeps it.
#[derive(Debug)]
pub struct Board(Pages);

/// The memory of a board.
#[derive(Debug)]
enum Pages {
    /// This supervisor has made it.
    Made(Memory),
    /// A supervisor before it has, so that this one can only read it.
    Found(Arc<OwnedFd>, Seen),
}

/// A worker's own board, and those of the other workers.
#[derive(Debug)]
pub struct Boards {
    own: Written,
    others: Mutex<BTreeMap<u64, Seen>>,
}

impl ListenerNumber {
    /// Returns the number at a position among all [`NUMBERS`]; `None` beyond them.
    pub fn at(position: usize) -> Option<Self> {
        let number = u16::try_from(position).ok()?;
        Some(Self(number)).filter(|_| position < NUMBERS)
    }

    /// Returns the number, by which [`Self::at`] finds it again.
    pub fn to_u16(self) -> u16 {
        self.0
    }

    /// Returns its position among all [`NUMBERS`].
    pub fn position(self) -> usize {
        usize::from(self.0)
    }
}

impl Board {
    /// Makes an empty board; takes a descriptor.
    pub fn new() -> io::Result<Self> {
        Memory::new(COUNTERS).map(|it| Self(Pages::Made(it)))
    }

    /// Takes the board of a worker that another supervisor has started, which is closed to writers. Fails for memory that
    /// is no such board.
    pub fn found(memory: OwnedFd) -> io::Result<Self> {
        let seen = Seen::map_closed(&memory, COUNTERS)?;
        Ok(Self(Pages::Found(Arc::new(memory), seen)))
    }

    /// Returns the descriptor, for the worker whose board it is; for other workers only after
    /// [`Self::close_to_writers`].
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        match &self.0 {
            Pages::Made(memory) => memory.descriptor(),
            Pages::Found(memory, _) => Arc::clone(memory),
        }
    }

    /// Lets no worker write it from now on but the one that has mapped it.
    pub fn close_to_writers(&self) -> io::Result<()> {
        match &self.0 {
            Pages::Made(memory) => memory.close_to_writers(),
            Pages::Found(..) => Ok(()),
        }
    }

    /// Returns whether it counts sessions of a listener.
    pub fn counts(&self, number: ListenerNumber) -> bool {
        self.load(number.position()) > 0
    }

    /// Returns how many sessions its worker has, as it says: those of all listeners, also those whose client was not
    /// let in yet.
    pub fn sessions(&self) -> u64 {
        let counts = (0..NUMBERS).map(|index| self.load(index));
        counts.fold(0, u64::saturating_add)
    }

    /// Returns how many established sessions its worker has that no other process keeps, as it says.
    pub fn unkept(&self) -> u64 {
        self.load(UNKEPT)
    }

    fn load(&self, index: usize) -> u64 {
        match &self.0 {
            Pages::Made(memory) => load(memory.counters(), index),
            Pages::Found(_, seen) => seen.load(index),
        }
    }

    /// Empties it, because its worker has ended: the other workers no longer count its sessions. One that this supervisor
    /// has not made stays as it is until they forget it.
    pub fn clear(&self) {
        let Pages::Made(memory) = &self.0 else {
            return;
        };
        let used = memory.counters().iter();
        let used = used.filter(|counter| counter.load(Ordering::Relaxed) != 0);
        used.for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
}

impl Boards {
    /// Takes the worker's own board.
    pub fn new(own: impl AsFd) -> io::Result<Self> {
        Ok(Self {
            own: Written::map(own, COUNTERS)?,
            others: Mutex::default(),
        })
    }

    /// Counts from now on what another worker holds, by its board.
    pub fn add(&self, worker: u64, board: impl AsFd) -> io::Result<()> {
        let seen = Seen::map(board, COUNTERS)?;
        self.lock().insert(worker, seen);
        Ok(())
    }

    /// Forgets the board of a worker that has ended.
    pub fn remove(&self, worker: u64) {
        self.lock().remove(&worker);
    }

    /// Counts one more session; `None` if over all workers there are `most`.
    pub fn take(self: &Arc<Self>, counted: Counted, most: u32) -> Option<Held> {
        let others = self.lock();
        let most = u64::from(most);
        for attempt in 0..ATTEMPTS {
            // A session that has no place must not show, not even for a moment: another worker might
            // turn a client away for it.
            if self.sum(&others, counted, most) >= most {
                return None;
            }
            let held = self.enter(counted);
            // Orders the session just added before the reading of the other boards, in all workers.
            fence(Ordering::SeqCst);
            if held.index.is_none() || self.sum(&others, counted, most) <= most {
                fence(Ordering::Acquire);
                return Some(held);
            }
            drop(held);
            (0..1 << attempt).for_each(|_| spin_loop());
        }
        None
    }

    /// Counts an established session that would end with this worker, until what is returned is dropped.
    pub fn unkept(self: &Arc<Self>) -> Held {
        if let Some(counter) = self.own.counters().get(UNKEPT) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Held {
            boards: Arc::clone(self),
            index: Some(UNKEPT),
        }
    }

    /// Returns how many sessions all workers have, each other worker at most `most`.
    fn sum(&self, others: &BTreeMap<u64, Seen>, counted: Counted, most: u64) -> u64 {
        let own = of(counted, |index| load(self.own.counters(), index));
        let others = others
            .values()
            .map(|board| of(counted, |index| board.load(index)).min(most));
        own + others.sum::<u64>()
    }

    /// Returns the counter for one more session; `None` if those where a client's may be are all in use
    /// for other clients. Its session is not counted then: refusing it would shut out a client for what
    /// tens of thousands of others do, and those who have so many addresses are bounded by no limit for
    /// each.
    fn find(&self, counted: Counted) -> Option<usize> {
        let counters = self.own.counters();
        match counted {
            Counted::Listener(number) => Some(number.position()),
            Counted::Client(key) => {
                let is_its = |index: &usize| key.count(load(counters, *index)) > 0;
                let is_free = |index: &usize| load(counters, *index) & MOST == 0;
                let its = key.indexes().find(is_its);
                its.or_else(|| key.indexes().find(is_free))
            }
        }
    }

    /// Counts one more session, however many there are: one that was counted before by another worker, or one that
    /// is not limited.
    pub fn hold(self: &Arc<Self>, counted: Counted) -> Held {
        self.enter(counted)
    }

    /// Adds a session to the worker's own board.
    fn enter(self: &Arc<Self>, counted: Counted) -> Held {
        let index = self.find(counted);
        if let Some(counter) = index.and_then(|index| self.own.counters().get(index)) {
            match counted {
                Counted::Client(key) if counter.load(Ordering::Relaxed) & MOST == 0 => {
                    counter.store(key.entry(), Ordering::Relaxed);
                }
                _ => {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        Held {
            boards: Arc::clone(self),
            index,
        }
    }

    /// Locks the boards, which only the worker's one thread uses, so this never waits.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let counters = self.boards.own.counters();
        if let Some(counter) = self.index.and_then(|index| counters.get(index)) {
            counter.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Returns how many sessions a board counts, whose counters `load` reads.
fn of(counted: Counted, load: impl Fn(usize) -> u64) -> u64 {
    match counted {
        Counted::Listener(number) => load(number.position()),
        Counted::Client(key) => {
            let mut counts = key.indexes().map(|index| key.count(load(index)));
            counts.find(|count| *count > 0).unwrap_or(0)
        }
    }
}

fn load(counters: &[AtomicU64], index: usize) -> u64 {
    let counter = counters.get(index);
    counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
}
