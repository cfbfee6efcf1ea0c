//! Goes on with the sessions of workers that have ended.

mod arrived;
mod household;
mod loss;

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    time::Duration,
};

use tokio::{task::yield_now, time::sleep};
use tracing::{error, info, warn};

pub(super) use self::household::{Ends, Household};
use self::{arrived::Arrived, loss::Loss};
use super::contact::Voice;
use crate::{
    facts::{Death, LossCounts, LossReason, Reason as _, SessionId},
    link::{FromWorker, ToWorker, worker::MOST_OVER},
    session::{
        socket::Socket,
        table::{Left, LeftSession, Table, layout::RowState, with_table},
        takeover::{MOST_SUSPICION, resume, suspicion},
    },
};

/// How many sessions are taken over before sessions that run here already get their turn.
const AT_ONCE: usize = 16;

/// How often this worker looks whether another one still works on a table.
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// What workers that have ended, or are about to, have left to this one.
#[derive(Debug, Default)]
pub(super) struct Heir {
    /// The tables as they came.
    arrived: Vec<Arrived>,
    /// Those of them that can be read, once no other worker works on them.
    tables: Vec<Left>,
    sockets: HashMap<SessionId, [OwnedFd; 2]>,
    /// Sessions whose sockets did not arrive.
    without_sockets: HashSet<SessionId>,
}

/// A session that was left behind.
struct Candidate {
    table: usize,
    row: u32,
    state: RowState,
    id: SessionId,
    moved: u64,
}

impl Heir {
    /// Takes what the supervisor sends of workers that have ended. When it says so, this worker goes on with their sessions
    /// in a task that its own end waits for, or loses them if it has no household.
    pub(super) fn take(
        &mut self,
        message: ToWorker,
        descriptors: Vec<OwnedFd>,
        household: Option<Household>,
        voice: &Voice,
    ) {
        match message {
            ToWorker::Inherit {
                table,
                death,
                lives,
            } => self.arrived.push(Arrived::new(
                (table, death),
                lives,
                descriptors.into_iter().next(),
            )),
            ToWorker::Sockets { ids } => self.take_sockets(ids, descriptors),
            ToWorker::TakeOver => {
                let heir = std::mem::take(self);
                match household {
                    Some(household) => {
                        let tasks = household.tasks.clone();
                        tasks.spawn(heir.take_over(household));
                    }
                    None => heir.lose(voice),
                }
            }
            _ => {}
        }
    }

    /// Takes the sockets of sessions; none have come if this worker is short of descriptors.
    fn take_sockets(&mut self, ids: Vec<SessionId>, sockets: Vec<OwnedFd>) {
        if sockets.len() != 2 * ids.len() {
            self.without_sockets.extend(ids);
            return;
        }
        let mut sockets = sockets.into_iter();
        for id in ids {
            if let (Some(client), Some(backend)) = (sockets.next(), sockets.next()) {
                self.sockets.insert(id, [client, backend]);
            }
        }
    }

    /// Goes on with all sessions, first with those in which bytes moved most recently; then tells the supervisor.
    ///
    /// A worker that hands its sessions over may still serve them. It has locked its table until it ends, and only the
    /// process that has the lock touches the sessions.
    async fn take_over(mut self, mut household: Household) {
        if !self.await_tables(&mut household).await {
            return;
        }
        let numbers = self.numbers();
        let arrived = std::mem::take(&mut self.arrived);
        self.tables = arrived.into_iter().filter_map(Arrived::map).collect();
        let lacks_table = self.tables.len() < numbers.len();
        let are_elsewhere = self.claim(household.services.sessions.origin());
        with_table(Table::remember_ends);
        let candidates = self.candidates();
        let (mut taken, mut lost) = (0, LossCounts::default());
        for (number, candidate) in candidates.into_iter().enumerate() {
            if number % AT_ONCE == AT_ONCE - 1 {
                yield_now().await;
            }
            let id = candidate.id;
            match self.take_one(&candidate, &household) {
                Ok(()) => taken += 1,
                Err(end) => {
                    lost.add(LossCounts::only(end.reason, 1));
                    end.note(id, &household.services);
                    household.keeper.over(id);
                }
            }
        }
        if are_elsewhere {
            self.leave_rest(&household);
        }
        self.forget_rest(&household, lacks_table, &mut lost).await;
        household
            .told
            .count(&household.services, None, &household.voice.outbox);
        for (reason, count) in lost.counted() {
            let words = reason.words();
            warn!(
                lost = count,
                reason = reason.name(),
                "sessions are lost, each because {words}"
            );
        }
        info!(
            taken,
            lost = lost.sum(),
            "took over the sessions of a worker that has ended"
        );
        let message = FromWorker::TookOver {
            tables: numbers,
            taken,
            lost,
        };
        household.voice.send(message);
    }

    /// Returns the numbers of all tables, those included that cannot be read.
    fn numbers(&self) -> Vec<u64> {
        self.arrived.iter().map(|it| it.number).collect()
    }

    /// Waits until the workers of all tables have ended, after it has said that it is ready; returns `false` if another
    /// supervisor has been told of their sessions meanwhile.
    ///
    /// The supervisor says which have ended. Where none is left to say so, the locks of the tables tell.
    async fn await_tables(&mut self, household: &mut Household) -> bool {
        let living = self.arrived.iter().filter(|it| it.lived);
        let tables: Vec<u64> = living.map(|it| it.number).collect();
        if tables.is_empty() {
            return true;
        }
        household.voice.send(FromWorker::Holds {
            tables: tables.clone(),
        });
        loop {
            let may_try = {
                let ends = household.ends.borrow_and_update();
                tables.iter().all(|it| ends.may_try(*it))
            };
            if may_try && self.arrived.iter().all(Arrived::is_free) {
                return self.arrived.iter().all(Arrived::is_current);
            }
            tokio::select! {
                changed = household.ends.changed() => if changed.is_err() {
                    return false;
                },
                () = sleep(BETWEEN_TRIES), if may_try => {}
            }
        }
    }

    /// Claims the sessions of the tables for the worker with this origin. Those of a table stay with the worker that has
    /// claimed it before, unless that one has left its own table, and so has ended. Returns whether there are such.
    fn claim(&mut self, origin: u64) -> bool {
        let ended: HashSet<u64> = self.tables.iter().map(Left::origin).collect();
        let before = self.tables.len();
        self.tables
            .retain(|it| it.taker().is_none_or(|taker| ended.contains(&taker)));
        for table in &self.tables {
            if let Err(error) = table.note_taker(origin) {
                warn!(table = table.number, %error, "a table cannot be claimed");
            }
        }
        self.tables.len() < before
    }

    /// Returns the sessions that were left behind, each from the table of the last worker that had it.
    fn candidates(&mut self) -> Vec<Candidate> {
        // The table of a worker that was to take over another table stands behind that one.
        self.tables.reverse();
        let mut seen = HashSet::new();
        let mut candidates = Vec::new();
        for (table, left) in self.tables.iter().enumerate() {
            for row in left.rows() {
                let Some((id, state)) = left.id(row) else {
                    continue;
                };
                if seen.insert(id) && state != RowState::Ended {
                    candidates.push(Candidate {
                        table,
                        row,
                        state,
                        id,
                        moved: left.moved(state),
                    });
                }
            }
        }
        candidates.sort_by_key(|it| std::cmp::Reverse(it.moved));
        candidates
    }

    /// Loses all sessions, because this worker has no table to keep them in; those that another worker still serves stay
    /// with that one.
    fn lose(self, voice: &Voice) {
        if !self.arrived.iter().all(Arrived::is_free) {
            return error!(
                "this worker has no table and cannot go on with the sessions of another, which keeps them"
            );
        }
        let tables = self.numbers();
        error!(
            "this worker has no table and cannot go on with the sessions of another; they are lost"
        );
        let ids: Vec<SessionId> = self.sockets.keys().copied().collect();
        shut(self.sockets.into_values().flatten());
        for ids in ids.chunks(MOST_OVER) {
            voice.send(FromWorker::Over { ids: ids.to_vec() });
        }
        let lost = ids.len() as u64;
        let message = FromWorker::TookOver {
            tables,
            taken: 0,
            lost: LossCounts::only(LossReason::NoRoom, lost),
        };
        voice.send(message);
    }

    /// Takes a session over, and notes meanwhile which: should this worker die over it, the next will know.
    fn take_one(&mut self, candidate: &Candidate, household: &Household) -> Result<(), Loss> {
        let reading = (self.tables[candidate.table].number, candidate.row);
        with_table(|table| table.read_from(Some(reading)));
        let taken = self.try_one(candidate, household);
        with_table(|table| table.read_from(None));
        taken
    }

    fn try_one(&mut self, candidate: &Candidate, household: &Household) -> Result<(), Loss> {
        let Candidate { row, id, .. } = *candidate;
        let worked_on = self.tables[candidate.table].worked_on() == Some(row);
        let deaths = self.deaths_over(candidate, worked_on);
        let sockets = self.sockets.remove(&id);
        // One that has ended two workers by the mere reading of its record is not read.
        if suspicion(0, false, deaths.iter().copied()) >= MOST_SUSPICION {
            shut(sockets.into_iter().flatten());
            return Err(LossReason::Suspect.into());
        }
        // Without its sockets a session cannot go on, and its record is not read: an attacker's table may have any number
        // of such records.
        let Some(sockets) = sockets else {
            let did_not_arrive = self.without_sockets.remove(&id);
            let reason = if did_not_arrive {
                LossReason::Descriptors
            } else {
                LossReason::NotKept
            };
            return Err(reason.into());
        };
        let left = &self.tables[candidate.table];
        let (session, suspicion) = match read(left, candidate, deaths) {
            Ok(read) => read,
            Err(loss) => {
                shut(sockets);
                return Err(loss);
            }
        };
        let mut about = session.record.about();
        let resumed = resume(left, session, sockets, worked_on);
        let gone_on =
            resumed.and_then(|conversation| household.go_on(conversation, &mut about, suspicion));
        gone_on.map_err(|reason| Loss::of(reason, about))
    }

    /// Returns the deaths of the workers that died while they worked on a session or read its record.
    fn deaths_over(&self, candidate: &Candidate, worked_on: bool) -> Vec<Death> {
        let left = &self.tables[candidate.table];
        let reading = Some((left.number, candidate.row));
        let readers = self.tables.iter().filter(|it| it.was_reading() == reading);
        let died_over_it = worked_on.then_some(left).into_iter().chain(readers);
        died_over_it.map(|it| it.death).collect()
    }

    /// Lets go of the sessions that are left, without a word to their peers: another worker serves them that the supervisor
    /// does not know of.
    fn leave_rest(&mut self, household: &Household) {
        let sessions = self.sockets.len();
        for (id, _) in self.sockets.drain() {
            household.keeper.over(id);
        }
        warn!(
            sessions,
            "a worker that could not be found has taken sessions over that were left here; it goes on with them"
        );
    }

    /// Ends the connections of sessions of which no table has a record: they had ended, or their table cannot be read.
    async fn forget_rest(
        &mut self,
        household: &Household,
        lacks_table: bool,
        lost: &mut LossCounts,
    ) {
        for (number, (id, sockets)) in std::mem::take(&mut self.sockets).into_iter().enumerate() {
            if number % AT_ONCE == AT_ONCE - 1 {
                yield_now().await;
            }
            shut(sockets);
            if lacks_table {
                lost.add(LossCounts::only(LossReason::Damaged, 1));
            }
            household.keeper.over(id);
        }
    }
}

/// Reads the record of a session, and returns it with how suspect the session is; refuses one that is too suspect.
fn read(left: &Left, candidate: &Candidate, deaths: Vec<Death>) -> Result<(LeftSession, u8), Loss> {
    let session = left.read(candidate.row, candidate.state);
    let session = session.ok().filter(|it| it.record.id == candidate.id);
    let session = session.ok_or(LossReason::Damaged)?;
    let has_moved = session.commits > 1;
    let suspicion = suspicion(session.record.suspicion, has_moved, deaths);
    if suspicion >= MOST_SUSPICION {
        return Err(Loss::of(LossReason::Suspect, session.record));
    }
    Ok((session, suspicion))
}

/// Ends the connections of sessions that are lost.
fn shut(sockets: impl IntoIterator<Item = OwnedFd>) {
    for socket in sockets {
        if let Ok(socket) = Socket::take(socket) {
            socket.shut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        session::table::{self, layout},
        sys::table::create,
    };

    /// Returns a table with this number that a worker has left, in which these sessions live and those have ended.
    fn left(number: u64, living: &[u64], ended: &[u64]) -> Left {
        let file = create(layout::LENGTH).unwrap();
        table::begin(file.try_clone().unwrap(), number).unwrap();
        with_table(|table| {
            table.remember_ends();
            for number in living.iter().chain(ended) {
                let row = table.take_row(id(*number)).unwrap();
                let (at, half, second) = (layout::BLOCKS as u64, 0, false);
                table.set(row, RowState::Live { at, half, second });
                if ended.contains(number) {
                    table.end_row(row);
                }
            }
        });
        Left::map(number, Death::Killed, file).unwrap()
    }

    fn id(number: u64) -> SessionId {
        SessionId { origin: 1, number }
    }

    #[test]
    fn a_session_is_taken_from_the_last_worker_that_had_it_whatever_numbers_tables_have() {
        // A worker that was there already, with the number 5, took over some of what the one with 9 had left.
        let mut heir = Heir {
            tables: vec![left(9, &[1, 2, 3], &[]), left(5, &[1], &[2])],
            ..Heir::default()
        };
        let mut found: Vec<_> = heir
            .candidates()
            .into_iter()
            .map(|it| (it.id, heir.tables[it.table].number))
            .collect();
        found.sort();
        assert_eq!(found, [(id(1), 5), (id(3), 9)]);
    }

    #[test]
    fn sessions_that_a_worker_has_taken_which_has_not_ended_stay_with_it() {
        let taken = left(9, &[1], &[]);
        taken.note_taker(5).unwrap();
        let mut heir = Heir {
            tables: vec![taken, left(8, &[2], &[])],
            ..Heir::default()
        };
        assert!(heir.claim(7));
        let found: Vec<_> = heir.candidates().into_iter().map(|it| it.id).collect();
        assert_eq!(found, [id(2)]);
        assert_eq!(heir.tables[0].taker(), Some(7));
    }

    #[test]
    fn sessions_that_a_worker_has_taken_which_has_ended_are_taken_from_it() {
        let taken = left(9, &[1, 2], &[]);
        taken.note_taker(5).unwrap();
        let mut heir = Heir {
            tables: vec![taken, left(5, &[1], &[])],
            ..Heir::default()
        };
        assert!(!heir.claim(7));
        assert_eq!(heir.candidates().len(), 2);
        assert!(heir.tables.iter().all(|it| it.taker() == Some(7)));
    }
}
