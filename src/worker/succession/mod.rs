//! What a worker has for a supervisor that did not start it: what it tells of itself, and how its sessions get to that
//! supervisor's workers.

mod asking;
mod handing_over;
mod rewriting;
#[cfg(test)]
mod tests;

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use tokio::time::Instant;
use tracing::{error, info};

use self::handing_over::{Tally, Verdict};
pub(super) use self::{asking::Asking, handing_over::HandingOver, rewriting::Rewriting};
use super::{
    Worker,
    contact::{Along, Parcel},
    life::{Ended, Phase},
};
use crate::{
    facts::PROGRAM_VERSION,
    link::{
        FromWorker,
        worker::{About, MOST_OF_VERSION},
    },
    session::{
        live::LiveSession,
        record,
        standing::Standing,
        table::{Table, with_table},
    },
};

/// What a worker keeps for the next supervisor.
#[derive(Debug, Default)]
pub(super) struct Bequest {
    /// Its board.
    pub(super) board: Option<Arc<OwnedFd>>,
    /// The number of its table.
    pub(super) table: Option<u64>,
    /// What its supervisor has left: the book, the memory of its generation, and packs.
    pub(super) state: Vec<Arc<OwnedFd>>,
}

impl Bequest {
    /// Takes what the supervisor leaves, instead of what it has left before; nothing has come if this process is short of
    /// descriptors.
    pub(super) fn set_state(&mut self, state: Vec<OwnedFd>) {
        if state.is_empty() {
            error!("what the supervisor leaves for the next one did not arrive");
            return;
        }
        self.state = state.into_iter().map(Arc::new).collect();
    }
}

impl Worker {
    /// Begins to tell the supervisor all that this worker has.
    pub(super) fn tell_all(&mut self) {
        self.tell_about();
        if !self.bequest.state.is_empty() {
            let state = self.bequest.state.iter();
            let state = state.map(|it| Arc::clone(it) as Along).collect();
            self.voice.send(with(FromWorker::State, state));
        }
        if let Some(board) = &self.bequest.board {
            self.voice
                .send(with(FromWorker::Board, vec![Arc::clone(board) as Along]));
        }
        for (key, slot, socket) in self.listeners.sockets() {
            self.voice
                .send(with(FromWorker::Socket { key, slot }, vec![socket]));
        }
        let sessions = self.services.sessions.all();
        let kept = sessions.iter().filter(|it| it.keep.is_noted());
        self.telling = Some(Asking::new(kept));
        self.wait_for_sessions();
    }

    fn tell_about(&self) {
        let table = with_table(|table| Table::file(table));
        let number = self.bequest.table.filter(|_| table.is_some());
        let about = FromWorker::About(Box::new(About {
            pid: std::process::id(),
            slot: self.slot,
            origin: self.services.sessions.origin(),
            table: number,
            generation: self.given.as_ref().map_or(0, |it| it.number),
            version: PROGRAM_VERSION.chars().take(MOST_OF_VERSION).collect(),
            accepts: !self.listeners.slots().is_empty(),
        }));
        let table = table.filter(|_| number.is_some());
        // A copy of the table's descriptor would drop the lock when it is closed.
        let table = table.map(|it| Arc::new(it) as Arc<dyn AsFd + Send + Sync>);
        self.voice.send(with(about, table.into_iter().collect()));
    }

    /// Has the next sessions send their sockets, and says when that was all.
    pub(super) fn go_on_telling(&mut self) {
        let has_sent_all = self.has_sent_all();
        let Some(telling) = &mut self.telling else {
            return;
        };
        if !telling.go_on(has_sent_all) {
            return;
        }
        self.telling = None;
        self.accepts.clear();
        self.refusals.forget_told();
        self.told.forget();
        if let Some(keeper) = self.services.keeper.get() {
            keeper.tell_unkept();
        }
        self.count(None);
        if let Phase::Serving = self.phase {
            self.tell_accepts();
        }
        self.voice.send(FromWorker::Told);
        self.wait_for_sessions();
    }

    /// Begins to hand over the sessions, with records of this version.
    pub(super) fn hand_over(&mut self, version: u16) -> Option<Ended> {
        if let Phase::Parting { .. } = self.phase {
            return None;
        }
        info!("this worker hands over its sessions");
        self.listeners.close();
        self.sessions.reopen();
        let are_to_change = record::version::written() != version;
        let can_write = Self::write_records_in(version);
        let link = self.link();
        let sessions = self.services.sessions.all();
        let asked = sessions.iter().filter(|it| {
            let is_ready = !are_to_change && it.keep.standing(link) == Standing::Told;
            can_write && it.has_opened() && !is_ready
        });
        self.phase = Phase::HandingOver(HandingOver::new(Asking::new(asked), can_write));
        self.wait_for_sessions();
        self.go_on_handing_over(false)
    }

    /// Has the records of sessions written in this version from now on, or in the one before; returns whether they can be.
    fn write_records_in(version: u16) -> bool {
        record::version::write(version);
        let written = record::version::written();
        // Each program reads its own version and the one before.
        let can_write = written == version || written + 1 == version;
        if !can_write {
            error!(
                version,
                "this worker cannot write records of sessions in the version that was asked for, so it keeps its \
                 sessions"
            );
        }
        can_write
    }

    /// Goes on with handing over; returns how the worker ends once it may. `again` asks those sessions once more that are
    /// not with the supervisor.
    pub(super) fn go_on_handing_over(&mut self, again: bool) -> Option<Ended> {
        let (has_sent_all, link) = (self.has_sent_all(), self.link());
        let Phase::HandingOver(handing_over) = &mut self.phase else {
            return None;
        };
        if !handing_over.asking.go_on(has_sent_all) || !handing_over.may_look(Instant::now()) {
            return None;
        }
        let sessions = self.services.sessions.all();
        let tally = Tally::of(&sessions, link, handing_over.can_write);
        let stay = match tally.verdict(self.sessions.len() as u64) {
            Verdict::Wait => return None,
            Verdict::Leave if handing_over.may_leave => {
                info!(
                    sessions = tally.ready,
                    "this worker has handed over its sessions and exits"
                );
                return Some(Ended::HandedOver);
            }
            Verdict::Leave => 0,
            Verdict::Stay(stay) => stay,
        };
        if stay > 0 && again && handing_over.can_write {
            let stays = |it: &&Arc<LiveSession>| it.keep.standing(link) == Standing::Stays;
            handing_over.asking = Asking::new(sessions.iter().filter(stays));
        }
        // What it has said to be ready for is not taken back: another worker may be about to go on with it.
        if handing_over.told != Some(0) && handing_over.told != Some(stay) {
            handing_over.told = Some(stay);
            self.voice.send(FromWorker::HandedOver { stays: stay });
        }
        None
    }

    /// Leaves the sessions to another worker, now that it can go on with them; returns how this worker ends once it may.
    pub(super) fn leave(&mut self) -> Option<Ended> {
        if let Phase::HandingOver(handing_over) = &mut self.phase
            && handing_over.told == Some(0)
        {
            handing_over.may_leave = true;
        }
        self.go_on_handing_over(false)
    }

    /// Returns the number of the link over which sockets are sent; 0 without a table.
    fn link(&self) -> u32 {
        self.services.keeper.get().map_or(0, |it| it.link())
    }

    fn has_sent_all(&self) -> bool {
        let keeper = self.services.keeper.get();
        keeper.is_none_or(|it| it.has_sent_all())
    }
}

/// Returns a message with what belongs to it.
fn with(message: FromWorker, along: Vec<Along>) -> Parcel {
    Parcel {
        along,
        ..Parcel::from(message)
    }
}
