//! The supervisor's decisions: a pure state machine, from events to actions.
//!
//! It starts workers, reads the disk, puts generations in force, replaces failed workers and ends, and
//! keeps the promises of this program:
//!
//! - a slot never holds two workers;
//! - while any worker serves, the sockets of every slot are handed to a worker that accepts from them,
//!   repeatedly until that worker reports that it does;
//! - no worker serves in the place of another before the disk was read again, unless a rollback holds
//!   what is served;
//! - where a worker has left sessions, another one is started to take them over: at once, or after a wait of its
//!   own where workers in a row ended before they had taken them over. It waits neither for the disk nor for the
//!   back-off, and no reload waits for it before it is to serve;
//! - a generation is put in force after every worker that answers has made it ready, and not at all
//!   if one cannot;
//! - a request for a reload is answered once, after a load that began later than the request, when
//!   every worker has confirmed the generation in force;
//! - while a rollback is in force, only an operator's reload reads the disk, and ends it;
//! - a worker's failure is reported, also while the daemon ends.
//!
//! Times are since the daemon's start. Nothing here waits, reads or writes.

mod action;
mod cover;
mod deaths;
mod ending;
mod event;
mod generations;
mod heirs;
mod loads;
#[cfg(test)]
mod model;
mod rollback;
mod slot;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use self::{
    action::{Action, Exit, Failure, NoResult, Outcome},
    ending::Phase,
    event::{Event, Loaded},
    heirs::Successor,
    loads::{AskId, LoadId},
    slot::{Condemned, Doing, Heir, HeldBack, Slot, SlotState, Worker},
};
use self::{
    generations::{Confirming, Retry, Staged},
    loads::{Load, Loads, Wish},
};
pub use crate::children::{End, Id as WorkerId};
use crate::{
    children::restart,
    facts::{Partial, Trigger},
};

/// How much longer a load may take where passphrases come from programs: as long as one may run.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(10);

/// What a worker does that has no sessions to take over.
const START: (Doing, Heir) = (Doing::Starting, Heir::No);

/// What the supervisor knows of its workers, and what it is about to do.
#[derive(Debug)]
pub struct Plan {
    phase: Phase,
    slots: Vec<Slot>,
    covers: BTreeMap<usize, WorkerId>,
    loads: Loads,
    staged: Option<Staged>,
    confirming: Vec<Confirming>,
    retry: Retry,
    generation: u64,
    /// Whether the generation in force is a rollback that no reload has ended.
    rolled_back: bool,
    workers: u64,
    heartbeat_timeout: Duration,
    looked: Duration,
    ending: ending::Ending,
}

/// What a plan goes on after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// The generation that is in force.
    pub generation: u64,
    /// Whether that is a rollback that no reload has ended.
    pub rolled_back: bool,
    /// The last number of a worker.
    pub workers: u64,
}

impl After {
    /// What the first supervisor goes on after: nothing but the first generation.
    pub const NOTHING: Self = Self {
        generation: 1,
        rolled_back: false,
        workers: 0,
    };
}

impl Plan {
    /// Begins with a generation already loaded, after what an earlier supervisor has done; returns what to do first.
    pub fn new(slots: usize, heartbeat_timeout: Duration, after: After) -> (Self, Vec<Action>) {
        let empty = Slot {
            state: SlotState::Empty,
            failures: 0,
            unaccepted_since: Some(Duration::ZERO),
            failed_heirs: 0,
            heir_at: None,
        };
        let mut plan = Self {
            phase: Phase::Starting,
            slots: vec![empty; slots],
            covers: BTreeMap::new(),
            loads: Loads::default(),
            staged: None,
            confirming: Vec::new(),
            retry: Retry::default(),
            generation: after.generation,
            rolled_back: after.rolled_back,
            workers: after.workers,
            heartbeat_timeout,
            looked: Duration::ZERO,
            ending: ending::Ending::default(),
        };
        let mut actions = Vec::new();
        for slot in 0..slots {
            plan.start((slot, false), START, Duration::ZERO, &mut actions);
        }
        (plan, actions)
    }

    /// Returns what the daemon is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the id of a worker that is not started for a slot: an earlier supervisor has started it.
    pub fn issue(&mut self) -> WorkerId {
        self.workers += 1;
        WorkerId(self.workers)
    }

    /// Returns whether some worker has or had this id.
    pub fn has_issued(&self, id: WorkerId) -> bool {
        id.0 <= self.workers
    }

    /// Returns whether each slot has a worker of its own that serves, and accepts for it.
    pub fn is_manned(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.all(|slot| slot.serving().is_some()) && self.accepts_everywhere()
    }

    /// Returns the slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Returns the number of the generation in force.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the last number of a worker.
    pub fn workers(&self) -> u64 {
        self.workers
    }

    /// Returns whether a load is under way, or a generation that it has brought is not served by all workers yet.
    pub fn is_loading(&self) -> bool {
        !self.loads.is_idle() || self.staged.is_some() || !self.confirming.is_empty()
    }

    /// Notes what is served: how many pieces of material there are, whether passphrase programs are
    /// run, and whether files are watched.
    pub fn expect(&mut self, pieces: usize, runs_programs: bool, watches: bool) {
        let programs = if runs_programs {
            PROGRAM_PATIENCE
        } else {
            Duration::ZERO
        };
        let pieces = generations::patience_for(pieces);
        self.loads.set_patience(loads::PATIENCE + pieces + programs);
        self.retry.is_allowed = watches;
    }

    /// Returns when [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let slots = self.slots.iter().flat_map(|slot| {
            let look = slot.worker().map(|_| self.looked + self.look_interval());
            [slot.backs_off_until(), look]
        });
        let heirs = self.slots.iter().filter_map(|slot| slot.heir_at);
        let own = [
            heirs.min(),
            self.loads.deadline(),
            self.staged.as_ref().map(|staged| staged.until),
            self.retry.due,
            self.ending_deadline(),
        ];
        slots.chain(own).flatten().min()
    }

    /// How often the plan measures the silence of workers, and looks for overdue answers.
    ///
    /// Each look adds at most this much to a worker's silence, so that a supervisor that was itself
    /// held up, or a machine that was suspended, does not take its workers for dead.
    fn look_interval(&self) -> Duration {
        restart::look_interval(self.heartbeat_timeout)
    }

    /// Handles an event at `now`; returns what to do, in this order.
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => self.tick(now, &mut actions),
            Event::Loaded { load, loaded } => self.loaded(load, loaded, now, &mut actions),
            Event::Heard(worker) => self.heard(worker),
            Event::Accepts { worker, slots } => {
                if let Some(worker) = self.find(worker) {
                    worker.accepts = slots;
                }
            }
            Event::Staged { worker, load } => self.note_staged(worker, load),
            Event::Serving { worker, generation } => {
                self.serving(worker, generation, now, &mut actions);
            }
            Event::Refused {
                worker,
                offer,
                reason,
            } => self.refused(worker, offer, reason, now, &mut actions),
            Event::Exited {
                worker,
                end,
                leaves,
            } => self.exited(worker, (end, leaves), now, &mut actions),
            Event::Inherits(worker) => self.inherits(worker),
            Event::TookOver(worker) => self.took_over(worker, &mut actions),
            Event::Reload {
                ask,
                trigger,
                partial,
            } => self.reload((trigger, partial), ask, now, &mut actions),
            Event::Drain { within } => self.drain(now + within, &mut actions),
            Event::Stop => self.stop(now, &mut actions),
        }
        self.commit_if_ready(now, &mut actions);
        self.cover(now, &mut actions);
        self.note_acceptance(now);
        self.confirm(&mut actions);
        self.exit_if_empty(&mut actions);
        actions
    }

    /// Returns what a worker does; `None` if it has ended.
    pub fn doing(&self, id: WorkerId) -> Option<Doing> {
        let mut workers = self.slots.iter().filter_map(Slot::worker);
        workers.find(|it| it.id == id).map(|it| it.doing)
    }

    fn find(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.slots
            .iter_mut()
            .filter_map(Slot::worker_mut)
            .find(|worker| worker.id == id)
    }

    fn wanted(&self) -> impl Iterator<Item = &Worker> {
        self.slots
            .iter()
            .filter_map(Slot::worker)
            .filter(|worker| worker.is_wanted())
    }

    /// Starts a worker in a slot, `again` if in the place of another, to do what is given.
    fn start(
        &mut self,
        (slot, again): (usize, bool),
        (doing, heir): (Doing, Heir),
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.workers += 1;
        let worker = WorkerId(self.workers);
        let held_back = doing != Doing::Starting;
        let handed = (!held_back).then_some((slot, now));
        self.slots[slot].state = SlotState::Worker(Worker {
            id: worker,
            started: now,
            doing,
            generation: 0,
            owed: None,
            handed: handed.into_iter().collect(),
            accepts: BTreeSet::new(),
            refusals: 0,
            silence: Duration::ZERO,
            heir,
        });
        actions.push(Action::Start {
            slot,
            worker,
            again,
            held_back,
        });
    }

    fn heard(&mut self, id: WorkerId) {
        if let Some(worker) = self.find(id) {
            worker.silence = Duration::ZERO;
        }
    }

    /// Begins to fill a slot again: reads the disk first, then starts the worker, or lets the one serve that
    /// was started to take sessions over. A rollback that is in force holds without the disk.
    fn refill(&mut self, slot: usize, now: Duration, actions: &mut Vec<Action>) {
        match self.load_again(now, actions) {
            Some(load) => self.await_load(slot, load),
            None => self.fill(slot, now, actions),
        }
    }

    /// Begins or queues a load of the disk after a worker's end; `None` if none is to be waited for.
    fn load_again(&mut self, now: Duration, actions: &mut Vec<Action>) -> Option<LoadId> {
        let (trigger, partial) = (Trigger::Crash, Partial::Allow);
        if self.is_held(trigger) && self.loads.is_idle() {
            return None;
        }
        match self.loads.wish(trigger, partial, None, now) {
            Wish::Begins(load) => {
                actions.push(Action::Load {
                    load,
                    trigger,
                    partial,
                });
                Some(load)
            }
            Wish::Queued(load) => Some(load),
            Wish::DiskStuck => None,
        }
    }

    fn await_load(&mut self, slot: usize, load: LoadId) {
        let slot = &mut self.slots[slot];
        match slot.worker_mut() {
            Some(worker) => worker.doing = Doing::HeldBack(HeldBack::Load { load }),
            None => slot.state = SlotState::Loading { load },
        }
    }

    /// Starts a slot's worker, or lets the one serve that was held back.
    fn fill(&mut self, slot: usize, now: Duration, actions: &mut Vec<Action>) {
        match self.slots[slot].worker_mut() {
            Some(worker) => {
                worker.admit(slot, now);
                actions.push(Action::Admit(worker.id));
            }
            None => self.start((slot, true), START, now, actions),
        }
    }

    fn reload(
        &mut self,
        (trigger, partial): (Trigger, Partial),
        ask: Option<AskId>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let asks: Vec<AskId> = ask.into_iter().collect();
        if self.is_ending() {
            answer(asks, NoResult::Ending, actions);
            return;
        }
        // A load that is going on may end the rollback, and may have read older files.
        if self.is_held(trigger) && self.loads.is_idle() {
            return;
        }
        match self.loads.wish(trigger, partial, ask, now) {
            Wish::Begins(load) => actions.push(Action::Load {
                load,
                trigger,
                partial,
            }),
            Wish::Queued(_) => {}
            Wish::DiskStuck => answer(asks, NoResult::DiskStuck, actions),
        }
    }

    /// Fills the slots that waited for a load.
    fn fill_waiting(&mut self, load: LoadId, now: Duration, actions: &mut Vec<Action>) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].awaits() == Some(load) {
                self.fill(slot, now, actions);
            }
        }
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Some(given_up) = self.loads.give_up(now) {
            for Load { id, asks, .. } in given_up {
                answer(asks, NoResult::DiskStuck, actions);
                self.fill_waiting(id, now, actions);
            }
        }
        for slot in 0..self.slots.len() {
            let backs_off_until = self.slots[slot].backs_off_until();
            if backs_off_until.is_some_and(|until| until <= now) {
                self.refill(slot, now, actions);
            }
        }
        if self.retry.is_due(now) {
            self.reload((Trigger::Watch, Partial::Allow), None, now, actions);
        }
        self.look(now, actions);
        self.start_due_heirs(now, actions);
        self.end_overdue(now, actions);
    }
}

fn answer(asks: Vec<AskId>, answer: NoResult, actions: &mut Vec<Action>) {
    if !asks.is_empty() {
        actions.push(Action::Answer { asks, answer });
    }
}
