//! What is kept of the sessions of a worker that lives.

use std::collections::{BTreeSet, HashSet};

use super::estate::{Estate, Kept, Table};
use crate::facts::{SessionId, UnkeptCounts, UnkeptReason};

/// The most sessions without sockets that are remembered of a worker: as many as a table has room for.
const MOST_UNHELD: usize = 1 << 18;

/// What is kept of the sessions of a worker.
#[derive(Debug)]
pub(super) struct Holder {
    /// Its table; `None` if sessions of it are not kept.
    pub(super) table: Option<Table>,
    /// The origins that the ids of its sessions may have: its own, and those of sessions that it has taken over.
    pub(super) origins: BTreeSet<u64>,
    /// The sockets of its sessions.
    pub(super) kept: Kept,
    /// The number of its table once another worker may have its sessions, which it still serves.
    pub(super) offered: Option<u64>,
    /// What it was handed and has not taken over yet.
    pub(super) inherited: Vec<Estate>,
    /// The sessions that it believes are kept, and whose sockets could not be.
    pub(super) unheld: HashSet<SessionId>,
    /// How many sessions the worker could not keep, as it says and as far as that is possible.
    pub(super) unkept: UnkeptCounts,
}

impl Holder {
    /// Returns one for a worker with this origin, of whose sessions none is kept yet.
    pub(super) fn new(origin: u64, table: Option<Table>) -> Self {
        Self {
            table,
            origins: BTreeSet::from([origin]),
            kept: Kept::new(),
            offered: None,
            inherited: Vec::new(),
            unheld: HashSet::new(),
            unkept: UnkeptCounts::default(),
        }
    }

    /// Returns whether the worker can have a session of this id.
    pub(super) fn can_have(&self, id: SessionId) -> bool {
        self.table.is_some() && self.origins.contains(&id.origin)
    }

    /// Returns whether sockets of this session are kept.
    pub(super) fn has(&self, id: SessionId) -> bool {
        let mut inherited = self.inherited.iter();
        self.kept.contains_key(&id) || inherited.any(|it| it.kept.contains_key(&id))
    }

    /// Returns how many sessions' sockets are kept.
    pub(super) fn count(&self) -> usize {
        let inherited = self.inherited.iter().map(|it| it.kept.len());
        self.kept.len() + inherited.sum::<usize>()
    }

    /// Notes a session whose sockets could not be kept; returns whether that is new.
    pub(super) fn miss(&mut self, id: SessionId) -> bool {
        self.can_have(id) && self.unheld.len() < MOST_UNHELD && self.unheld.insert(id)
    }

    /// Removes what is kept of sessions that are over, and returns it.
    pub(super) fn over(&mut self, ids: &[SessionId]) -> Kept {
        let mut removed = Kept::new();
        for id in ids {
            self.unheld.remove(id);
            let inherited = self.inherited.iter_mut().map(|it| &mut it.kept);
            for kept in std::iter::once(&mut self.kept).chain(inherited) {
                removed.extend(kept.remove_entry(id));
            }
        }
        removed
    }

    /// Notes how many sessions it could not keep, by what it says, of each kind at most `most`.
    pub(super) fn note_unkept(&mut self, counts: &UnkeptCounts, most: u64) {
        let before = self.unkept;
        let possible = |reason: UnkeptReason| counts.of(reason).min(most).max(before.of(reason));
        self.unkept = UnkeptCounts::new(possible);
    }

    /// Returns the estates that the worker was handed and of which it names all tables, because it has taken them over.
    /// Their sockets are kept as those of its own sessions from then on.
    pub(super) fn took_over(&mut self, tables: &[u64]) -> Vec<Estate> {
        let is_named = |estate: &mut Estate| {
            let mut all = estate.tables.iter();
            all.all(|it| tables.contains(&it.table.number))
        };
        let mut taken: Vec<_> = self.inherited.extract_if(.., is_named).collect();
        for estate in &mut taken {
            let kept = std::mem::take(&mut estate.kept);
            self.origins.extend(kept.keys().map(|id| id.origin));
            self.kept.extend(kept);
        }
        taken
    }
}
