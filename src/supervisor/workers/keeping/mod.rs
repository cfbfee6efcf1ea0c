//! Sessions that outlive their worker: their sockets and the tables that hold their records, from the moment
//! when a worker has them kept to the moment when another worker goes on with them.
//!
//! Tables are never read here: a worker that was taken over may have written them. Of what a worker sends, only
//! stream sockets are kept, and only as many as leave the supervisor enough descriptors for its own work.

mod estate;
mod holder;
mod sentence;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    os::fd::OwnedFd,
    sync::Arc,
};

use tracing::warn;

pub(in crate::supervisor) use self::socket::{Pair, is_stream};
use self::{
    estate::{Estate, LeftTable, Parcel, Table},
    holder::Holder,
    socket::Closer,
};
use crate::{
    facts::{
        Death, KeepingCounts, LossCounts, LossReason, Reason as _, SessionId, UnkeptCounts,
        UnkeptReason,
    },
    session::table::layout::LENGTH,
    supervisor::{
        plan::{End, WorkerId},
        state::IdsBook,
    },
    sys::{reserve::Reserve, table},
};

/// The most sessions that are kept: more could not be handed to a worker at once, see `children::process`.
const MOST_KEPT: usize = 200_000;

/// Descriptors kept back for a table: a worker may have to be started when no more can be opened.
const KEPT_BACK: usize = 1;

/// What is kept of the sessions of all workers.
#[derive(Debug)]
pub(in crate::supervisor) struct Keeping {
    /// Why workers get no tables, if they get none.
    unsupported: Option<String>,
    reserve: Reserve,
    tables: u64,
    warned: bool,
    holders: HashMap<WorkerId, Holder>,
    /// What no worker was handed yet.
    waiting: Vec<Estate>,
    /// The most sessions that are kept.
    most: usize,
    /// The counts that only grow, those of living workers left out.
    totals: KeepingCounts,
    closer: Closer,
}

/// Numbers of tables that a worker may say it has are below this one.
const MOST_NUMBER: u64 = 1 << 48;

/// What a worker that another supervisor has started has told of its sessions.
#[derive(Debug)]
pub(super) struct Told {
    /// What the ids of its sessions begin with.
    pub(super) origin: u64,
    /// What the ids of sessions begin with that it may have taken over.
    pub(super) origins: BTreeSet<u64>,
    /// The number and the memory of its table, if it has one.
    pub(super) table: Option<(u64, OwnedFd)>,
    /// The sockets of its sessions.
    pub(super) kept: BTreeMap<SessionId, Pair>,
    /// The sessions that it believes are kept, and whose sockets did not come.
    pub(super) missed: HashSet<SessionId>,
}

/// A table with its number, and the sockets of the sessions in it.
pub(super) type Held = ((u64, Arc<OwnedFd>), Vec<(SessionId, Pair)>);

/// How a worker ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// Its slot.
    pub(super) slot: usize,
    /// Its process id.
    pub(super) pid: u32,
    /// The end of its process.
    pub(super) end: End,
    /// Whether the supervisor had killed it.
    pub(super) was_killed: bool,
    /// Whether it was told to end, and so left nothing.
    pub(super) as_told: bool,
    /// Whether it had handed over all its sessions, and ended for that.
    pub(super) handed_over: bool,
    /// How many established sessions it had that were not kept.
    pub(super) unkept: u64,
}

/// What no worker was handed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) struct Waiting {
    /// The number by which callers name it.
    pub(in crate::supervisor) key: u64,
    /// The slot of the worker that left it.
    pub(in crate::supervisor) slot: usize,
    /// Whether a worker may have it that has clients of its own in another slot.
    pub(in crate::supervisor) others: bool,
}

/// What a worker has taken over.
#[derive(Debug)]
pub(super) struct TakenOver {
    /// The process ids of the workers that left them, and how these ended.
    from: Vec<(u32, End, Death)>,
    /// How many sessions it goes on with.
    pub(super) taken: u64,
    /// How many sessions are lost.
    pub(super) lost: LossCounts,
    /// Whether it has taken over all that it was handed.
    pub(super) is_all: bool,
}

impl Keeping {
    /// Begins with none. Workers get no tables if something is `unsupported`; `most` sessions are kept at most.
    pub(in crate::supervisor) fn new(unsupported: Option<String>, most: usize) -> io::Result<Self> {
        Ok(Self {
            unsupported,
            reserve: Reserve::new(KEPT_BACK),
            tables: 0,
            warned: false,
            holders: HashMap::new(),
            waiting: Vec::new(),
            most: most.min(MOST_KEPT),
            totals: KeepingCounts::default(),
            closer: Closer::new()?,
        })
    }

    /// Goes on with the table numbers and the counts of an earlier supervisor.
    pub(in crate::supervisor) fn resume(&mut self, ids: &IdsBook, counts: KeepingCounts) {
        self.tables = self.tables.max(ids.tables);
        self.totals = KeepingCounts { kept: 0, ..counts };
    }

    /// Returns the last number of a table and what became of sessions, the counts of living workers left out.
    pub(super) fn bequeath(&self) -> (u64, KeepingCounts) {
        (self.tables, self.totals)
    }

    /// Returns how many sessions a living worker could not keep.
    pub(super) fn unkept_of(&self, id: WorkerId) -> UnkeptCounts {
        let holder = self.holders.get(&id);
        holder.map(|it| it.unkept).unwrap_or_default()
    }

    /// Returns why no session can be kept on this host, if none can.
    pub(super) fn unsupported(&self) -> Option<&str> {
        self.unsupported.as_deref()
    }

    /// Keeps so many sessions at most from now on; what is kept already stays.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most.min(MOST_KEPT);
    }

    /// Returns the most sessions that are kept.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Keeps descriptors back again.
    pub(super) fn refill(&mut self) {
        self.reserve.fill();
    }

    /// Begins to keep sessions of a worker that was started; returns the number and the memory of its table.
    /// `None` if none can be kept.
    pub(super) fn begin(&mut self, id: WorkerId, origin: u64) -> Option<(u64, Arc<OwnedFd>)> {
        let table = self.make_table();
        let given = table.as_ref();
        let given = given.map(|it| (it.number, Arc::clone(&it.file)));
        self.holders.insert(id, Holder::new(origin, table));
        given
    }

    /// Makes a worker its table if it has none, because no descriptor was to be had when it was started; returns a new one
    /// as [`Self::begin`] does.
    pub(super) fn begin_late(&mut self, id: WorkerId) -> Option<(u64, Arc<OwnedFd>)> {
        if self.holders.get(&id)?.table.is_some() {
            return None;
        }
        let table = self.make_table()?;
        let given = (table.number, Arc::clone(&table.file));
        self.holders.get_mut(&id)?.table = Some(table);
        Some(given)
    }

    /// Goes on with keeping the sessions of a worker that another supervisor has started, with what it has told of them.
    pub(super) fn adopt(&mut self, id: WorkerId, told: Told) {
        let Told {
            origin,
            origins,
            table,
            kept,
            missed,
        } = told;
        let table = table.map(|(number, file)| Table {
            number: self.number_of(number),
            file: Arc::new(file),
        });
        let mut holder = Holder::new(origin, table);
        holder.origins.extend(origins);
        if holder.table.is_some() {
            holder.kept = kept;
            holder.unheld = missed;
        } else {
            self.closer.close(kept.into_values());
        }
        self.holders.insert(id, holder);
    }

    /// Returns the number under which the table of a worker is known that another supervisor has started: the one that the
    /// worker says it has, unless another table has it or it leaves none for those to come.
    fn number_of(&mut self, told: u64) -> u64 {
        let holders = self.holders.values().filter_map(|it| it.table.as_ref());
        let is_taken = holders.clone().any(|it| it.number == told);
        let number = if is_taken || !(1..MOST_NUMBER).contains(&told) {
            self.tables + 1
        } else {
            told
        };
        self.tables = self.tables.max(number);
        number
    }

    /// Returns the table of a worker, and the sockets of its sessions; `None` if it has no table.
    pub(super) fn held_by(&self, id: WorkerId) -> Option<Held> {
        let holder = self.holders.get(&id)?;
        let table = holder.table.as_ref()?;
        let kept = holder.kept.iter();
        let kept = kept.map(|(id, pair)| (*id, pair.clone())).collect();
        Some(((table.number, Arc::clone(&table.file)), kept))
    }

    fn make_table(&mut self) -> Option<Table> {
        if self.unsupported.is_some() {
            return None;
        }
        match self.reserve.lend(|| table::create(LENGTH)) {
            Ok(file) => {
                self.tables += 1;
                Some(Table {
                    number: self.tables,
                    file: Arc::new(file),
                })
            }
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    warn!(
                        %error,
                        "a worker has no table, so its sessions end with it; this is logged once"
                    );
                }
                None
            }
        }
    }

    /// Keeps the sockets of these sessions that a worker sent: two for each, or none at all if the worker or the
    /// supervisor was short of descriptors.
    pub(super) fn keep(&mut self, id: WorkerId, ids: &[SessionId], sockets: Vec<OwnedFd>) {
        let mut unwanted = Vec::new();
        let mut missed = Vec::new();
        if sockets.is_empty() {
            missed.extend(ids);
        }
        let mut count = self.count();
        for (session, pair) in ids.iter().zip(pairs(sockets)) {
            if !self.may_keep(id, *session, &pair) {
                unwanted.push(pair);
            } else if count >= self.most {
                unwanted.push(pair);
                missed.push(*session);
            } else if let Some(holder) = self.holders.get_mut(&id) {
                count += 1;
                holder.unheld.remove(session);
                holder.kept.insert(*session, pair);
            }
        }
        self.miss(id, &missed);
        self.closer.close(unwanted);
    }

    /// Returns whether a worker can have this session, of which nothing is kept, and the sockets can be its.
    fn may_keep(&self, id: WorkerId, session: SessionId, pair: &Pair) -> bool {
        let can_have = self.holders.get(&id).is_some_and(|it| it.can_have(session));
        let is_kept = self.holders.values().any(|it| it.has(session))
            || self.waiting.iter().any(|it| it.kept.contains_key(&session));
        can_have && !is_kept && pair.iter().all(is_stream)
    }

    /// Counts sessions that a worker believes are kept, and that are not.
    fn miss(&mut self, id: WorkerId, sessions: &[SessionId]) {
        let Some(holder) = self.holders.get_mut(&id) else {
            return;
        };
        let new = sessions.iter().filter(|session| holder.miss(**session));
        let new = new.count() as u64;
        let unkept = UnkeptCounts::only(UnkeptReason::Descriptors, new);
        self.totals.unkept.add(unkept);
    }

    /// Closes what is kept of sessions of a worker that are over.
    pub(super) fn over(&mut self, id: WorkerId, ids: &[SessionId]) {
        let Some(holder) = self.holders.get_mut(&id) else {
            return;
        };
        self.closer.close(holder.over(ids).into_values());
        let offered = holder.offered;
        let inherited = self.holders.values_mut().flat_map(|it| &mut it.inherited);
        let estates = self.waiting.iter_mut().chain(inherited);
        for estate in estates.filter(|it| offered.is_some_and(|table| it.has(table))) {
            self.closer.close(estate.over(ids).into_values());
        }
    }

    /// Lets another worker have what it takes to go on with the sessions of a worker that still serves them, in this slot and
    /// process; returns how many sessions these are.
    pub(super) fn offer(&mut self, id: WorkerId, (slot, pid): (usize, u32)) -> u64 {
        let holder = self.holders.get_mut(&id);
        let Some(holder) = holder.filter(|it| it.offered.is_none() && !it.kept.is_empty()) else {
            return 0;
        };
        let Some(table) = holder.table.clone() else {
            return 0;
        };
        holder.offered = Some(table.number);
        let kept = std::mem::take(&mut holder.kept);
        let sessions = kept.len() as u64;
        let table = LeftTable {
            table,
            pid,
            end: End::Code(0),
            death: Death::HandedOver,
            lives: true,
        };
        self.waiting.push(Estate {
            slot,
            tables: vec![table],
            kept,
            without: std::mem::take(&mut holder.unheld).len() as u64,
            given: 0,
            harm: 0,
        });
        sessions
    }

    /// Returns the workers that still serve the sessions of these tables, as far as `heir` was handed them.
    pub(super) fn offering(&self, heir: WorkerId, tables: &[u64]) -> Vec<WorkerId> {
        let heir = self.holders.get(&heir);
        let was_handed = |table| heir.is_some_and(|it| it.inherited.iter().any(|it| it.has(table)));
        let offers = |holder: &Holder| {
            let offered = holder.offered.filter(|it| tables.contains(it));
            offered.is_some_and(was_handed)
        };
        let offering = self.holders.iter().filter(|(_, it)| offers(it));
        offering.map(|(id, _)| *id).collect()
    }

    /// Notes that a worker has ended whose sessions another one may have; returns the number of its table, and the workers
    /// that were handed it.
    pub(super) fn end_offer(&mut self, id: WorkerId) -> Option<(u64, Vec<WorkerId>)> {
        let table = self.holders.get_mut(&id)?.offered.take()?;
        for estate in &mut self.waiting {
            estate.end(table);
        }
        let mut heirs = Vec::new();
        for (heir, holder) in &mut self.holders {
            if holder.inherited.iter_mut().any(|it| it.end(table)) {
                heirs.push(*heir);
            }
        }
        Some((table, heirs))
    }

    /// Returns whether a worker still serves sessions of what waits.
    pub(super) fn is_offered(&self, waiting: u64) -> bool {
        let mut estates = self.waiting.iter().filter(|it| key(it) == waiting);
        estates.any(|it| {
            let mut holders = self.holders.values();
            holders.any(|holder| holder.offered.is_some_and(|table| it.has(table)))
        })
    }

    /// Notes how many sessions a worker could not keep, of each kind at most `most`.
    pub(super) fn note_unkept(&mut self, id: WorkerId, counts: &UnkeptCounts, most: u64) {
        if let Some(holder) = self.holders.get_mut(&id) {
            holder.note_unkept(counts, most);
        }
    }

    /// Takes what a worker that has ended leaves.
    pub(super) fn end(&mut self, id: WorkerId, ended: Ended) {
        let Some(holder) = self.holders.remove(&id) else {
            return;
        };
        self.totals.unkept.add(holder.unkept);
        if ended.as_told {
            self.closer.close(holder.kept.into_values());
            self.closer.close_tables(holder.table);
            self.waiting.extend(holder.inherited);
            return;
        }
        self.lose(LossReason::NotKept, ended.unkept);
        let unheld = holder.unheld.len() as u64;
        if holder.kept.is_empty() && holder.inherited.is_empty() {
            self.lose(LossReason::Descriptors, unheld);
            self.closer.close_tables(holder.table);
            return;
        }
        let death = match ended.end {
            _ if ended.handed_over => Death::HandedOver,
            End::Signal(9) if !ended.was_killed => Death::Killed,
            _ => Death::Fault,
        };
        let table = holder.table.map(|table| LeftTable {
            table,
            pid: ended.pid,
            end: ended.end,
            death,
            lives: false,
        });
        let own = Estate {
            slot: ended.slot,
            tables: table.into_iter().collect(),
            kept: holder.kept,
            without: unheld,
            given: 0,
            harm: 0,
        };
        let estate = own.join(holder.inherited);
        if estate.is_hopeless() {
            self.give_up(estate, LossReason::Suspect);
        } else {
            self.waiting.push(estate);
        }
    }

    /// Returns whether sessions that were left in a slot wait for a worker.
    pub(super) fn waits_in(&self, slot: usize) -> bool {
        self.waiting.iter().any(|it| it.slot == slot)
    }

    /// Returns what waits for a worker.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.waiting.iter().map(|estate| Waiting {
            key: key(estate),
            slot: estate.slot,
            others: estate.may_go_to_others(),
        });
        waiting.collect()
    }

    /// Returns the messages that hand a worker what waits; `None` if it has no table to go on with it in.
    pub(super) fn hand(&mut self, waiting: u64, heir: WorkerId) -> Option<Vec<Parcel>> {
        let holder = self.holders.get_mut(&heir);
        let holder = holder.filter(|it| it.table.is_some())?;
        let index = self.waiting.iter().position(|it| key(it) == waiting)?;
        let mut estate = self.waiting.remove(index);
        estate.given = estate.kept.len() as u64;
        let parcels = estate.parcels();
        holder.inherited.push(estate);
        Some(parcels)
    }

    /// Gives up what waits: no worker goes on with its sessions.
    pub(super) fn abandon(&mut self, waiting: u64, why: LossReason) {
        if let Some(index) = self.waiting.iter().position(|it| key(it) == waiting) {
            let estate = self.waiting.remove(index);
            self.give_up(estate, why);
        }
    }

    fn give_up(&mut self, estate: Estate, why: LossReason) {
        let lost = estate.kept.len() as u64 + estate.without;
        let reason = why.name();
        warn!(
            lost,
            reason, "sessions are lost, because no worker goes on with them"
        );
        self.lose(why, lost);
        self.closer.close(estate.kept.into_values());
        let tables = estate.tables.into_iter().map(|it| it.table);
        self.closer.close_tables(tables);
    }

    fn lose(&mut self, why: LossReason, count: u64) {
        self.totals.lost.add(LossCounts::only(why, count));
    }

    /// Notes that a worker says to have taken these tables over, as far as it was handed them; `None` if it was handed
    /// none of them.
    pub(super) fn took_over(
        &mut self,
        id: WorkerId,
        tables: &[u64],
        (taken, lost): (u64, LossCounts),
    ) -> Option<TakenOver> {
        let holder = self.holders.get_mut(&id)?;
        let estates = holder.took_over(tables);
        if estates.is_empty() {
            return None;
        }
        let sockets: u64 = estates.iter().map(|it| it.given).sum();
        let sessions = estates.iter().map(|it| it.without).sum::<u64>() + sockets;
        let taken = taken.min(sockets);
        let mut left = sessions - taken;
        let lost = LossCounts::new(|reason| {
            let count = lost.of(reason).min(left);
            left -= count;
            count
        });
        self.totals.taken_over = self.totals.taken_over.saturating_add(taken);
        self.totals.lost.add(lost);
        let is_all = holder.inherited.is_empty();
        let tables: Vec<_> = estates.into_iter().flat_map(|it| it.tables).collect();
        let from = tables.iter().map(|it| (it.pid, it.end, it.death));
        let from = from.collect();
        let tables = tables.into_iter().map(|it| it.table);
        self.closer.close_tables(tables);
        Some(TakenOver {
            from,
            taken,
            lost,
            is_all,
        })
    }

    fn count(&self) -> usize {
        let holders = self.holders.values().map(Holder::count);
        let waiting = self.waiting.iter().map(|it| it.kept.len());
        holders.chain(waiting).sum()
    }

    /// Returns what became of sessions since the daemon started.
    pub(super) fn counts(&self) -> KeepingCounts {
        let mut counts = KeepingCounts {
            kept: self.count() as u64,
            ..self.totals
        };
        for holder in self.holders.values() {
            counts.unkept.add(holder.unkept);
        }
        counts
    }
}

/// The number by which callers name an estate: that of a table that no other estate has.
fn key(estate: &Estate) -> u64 {
    estate.tables.last().map_or(0, |it| it.table.number)
}

/// Returns descriptors two by two.
pub(in crate::supervisor) fn pairs(descriptors: Vec<OwnedFd>) -> impl Iterator<Item = Pair> {
    let mut all = descriptors.into_iter().map(Arc::new);
    std::iter::from_fn(move || Some([all.next()?, all.next()?]))
}
