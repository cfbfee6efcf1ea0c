//! What a worker that has ended leaves: tables, and the sockets of the sessions whose records are in them.

use std::{collections::BTreeMap, os::fd::OwnedFd, sync::Arc};

use super::socket::{Pair, unblock};
use crate::{
    children::End,
    facts::{Death, SessionId},
    link::{ToWorker, worker::MOST_PAIRS},
};

/// How much harm tables may have done before their sessions are lost: four workers that failed while they took
/// them over, or sixteen that were killed from outside meanwhile.
const MOST_HARM: u32 = 16;

/// From how much harm on, only a worker takes tables over that has no clients of its own in another slot: two
/// workers that failed.
const HARMFUL: u32 = 8;

/// The sockets of sessions.
pub(super) type Kept = BTreeMap<SessionId, Pair>;

/// A message to a worker, and what comes along.
pub(super) type Parcel = (ToWorker, Vec<Arc<OwnedFd>>);

/// The table of a worker.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its number, which no other table has.
    pub(super) number: u64,
    /// Its memory.
    pub(super) file: Arc<OwnedFd>,
}

/// The table of a worker that has ended.
#[derive(Debug, Clone)]
pub(super) struct LeftTable {
    /// The table.
    pub(super) table: Table,
    /// The process id of its worker.
    pub(super) pid: u32,
    /// How its worker ended.
    pub(super) end: End,
    /// What its heir is told of that.
    pub(super) death: Death,
    /// Whether its worker still works on it, and is to end once its heir can go on.
    pub(super) lives: bool,
}

/// What is taken over as a whole: the table of a worker that has ended, with the tables that it had not taken
/// over yet, and the sockets of all their sessions.
#[derive(Debug)]
pub(super) struct Estate {
    /// The slot of the worker that ended last.
    pub(super) slot: usize,
    /// The tables: behind each, those of workers that were to take over its sessions.
    pub(super) tables: Vec<LeftTable>,
    /// The sockets.
    pub(super) kept: Kept,
    /// How many sessions may be in the tables whose sockets are not here.
    pub(super) without: u64,
    /// How many sessions it had sockets of when it was handed to a worker.
    pub(super) given: u64,
    /// How much harm it may have done.
    pub(super) harm: u32,
}

impl Estate {
    /// Joins what a worker left with what it `inherited` and had not taken over, which may have been why it
    /// ended.
    pub(super) fn join(self, inherited: Vec<Self>) -> Self {
        if inherited.is_empty() {
            return self;
        }
        let death = self.tables.last().map(|it| it.death);
        let done = match death {
            Some(Death::Killed) => 1,
            Some(Death::HandedOver) => 0,
            _ => MOST_HARM / 4,
        };
        let before = inherited.iter().map(|it| it.harm).max().unwrap_or(0);
        let mut joined = Self {
            tables: Vec::new(),
            harm: before + done,
            ..self
        };
        for older in inherited {
            joined.tables.extend(older.tables);
            joined.kept.extend(older.kept);
            joined.without += older.without;
        }
        joined.tables.extend(self.tables);
        joined
    }

    /// Notes that the worker of a table has ended; returns whether it is one of these.
    pub(super) fn end(&mut self, table: u64) -> bool {
        let mut tables = self.tables.iter_mut();
        let of_it = tables.find(|it| it.table.number == table);
        of_it.map(|it| it.lives = false).is_some()
    }

    /// Returns whether it has the table with this number.
    pub(super) fn has(&self, table: u64) -> bool {
        self.tables.iter().any(|it| it.table.number == table)
    }

    /// Removes what is kept of sessions that are over, and returns it.
    pub(super) fn over(&mut self, ids: &[SessionId]) -> Kept {
        let removed = ids.iter().filter_map(|id| self.kept.remove_entry(id));
        removed.collect()
    }

    /// Returns whether no worker should try to take it over any more.
    pub(super) fn is_hopeless(&self) -> bool {
        self.harm >= MOST_HARM
    }

    /// Returns whether a worker may take it over that has clients of its own in another slot.
    pub(super) fn may_go_to_others(&self) -> bool {
        self.harm < HARMFUL
    }

    /// Returns the messages that hand it over.
    pub(super) fn parcels(&self) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        let mut add = |message, along| {
            // It must come even if sessions have taken all of the worker's descriptors.
            parcels.push((ToWorker::MakeRoom, Vec::new()));
            parcels.push((message, along));
        };
        for left in &self.tables {
            let (table, death, lives) = (left.table.number, left.death, left.lives);
            let along = vec![Arc::clone(&left.table.file)];
            add(
                ToWorker::Inherit {
                    table,
                    death,
                    lives,
                },
                along,
            );
        }
        let all: Vec<_> = self.kept.iter().collect();
        for some in all.chunks(MOST_PAIRS) {
            let ids = some.iter().map(|(id, _)| **id).collect();
            let sockets = some.iter().flat_map(|(_, pair)| pair.iter());
            let along: Vec<_> = sockets.inspect(|it| unblock(it)).cloned().collect();
            add(ToWorker::Sockets { ids }, along);
        }
        parcels.push((ToWorker::TakeOver, Vec::new()));
        parcels
    }
}
