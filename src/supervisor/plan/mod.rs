//! What the supervisor decides: a pure state machine over what happens to it.
//!
//! It starts workers, reads the disk, swaps generations, restarts what failed and ends, in the
//! order that the promises of this program ask for:
//!
//! - a slot never holds two workers;
//! - while any worker serves, every slot's sockets are accepted from, by its own worker or by one
//!   that covers it;
//! - no worker is started in the place of another before the disk was read again;
//! - who asks for a reload is answered once, after a load that began later than the question, when
//!   every worker has confirmed what came of it.
//!
//! Times are since the daemon's start. Nothing here waits, reads or writes.

mod action;
mod cover;
mod event;
mod loads;
#[cfg(test)]
mod model;
mod slot;

use std::{collections::BTreeMap, time::Duration};

use self::loads::{Load, Loads, Wish};
pub use self::{
    action::{Action, Answer, Failure},
    event::{Event, Loaded},
    loads::AskId,
    slot::{Condemned, Doing, Slot, SlotState, Worker, WorkerId},
};
use crate::control::{Partial, Trigger};

/// How long a worker may take to get ready.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How much longer a load may take for each of its pieces.
const PIECE_PATIENCE: Duration = Duration::from_millis(3);

/// How much longer a load may take where passphrases come from programs: as long as one may run.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(10);

/// Starts that may fail in a row before a daemon that never served anybody gives up.
const START_TRIES: u32 = 3;

/// What the daemon as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No worker has served yet.
    Starting,
    /// It serves, or tries to.
    Serving,
    /// It is to end at this time at the latest.
    Draining {
        /// When what is left is killed.
        until: Duration,
    },
    /// It is to end now.
    Stopping,
}

/// An answer that waits for workers.
#[derive(Debug)]
struct Confirming {
    load: u64,
    generation: u64,
    asks: Vec<AskId>,
}

/// What the supervisor knows of its workers and means to do.
#[derive(Debug)]
pub struct Plan {
    phase: Phase,
    slots: Vec<Slot>,
    covers: BTreeMap<usize, WorkerId>,
    loads: Loads,
    confirming: Vec<Confirming>,
    generation: u64,
    workers: u64,
    heartbeat_timeout: Duration,
    looked: Duration,
}

impl Plan {
    /// Begins with a generation already loaded; returns what to do first.
    pub fn new(slots: usize, heartbeat_timeout: Duration) -> (Self, Vec<Action>) {
        let empty = Slot {
            state: SlotState::Empty,
            failures: 0,
        };
        let mut plan = Self {
            phase: Phase::Starting,
            slots: vec![empty; slots],
            covers: BTreeMap::new(),
            loads: Loads::default(),
            confirming: Vec::new(),
            generation: 1,
            workers: 0,
            heartbeat_timeout,
            looked: Duration::ZERO,
        };
        let mut actions = Vec::new();
        for slot in 0..slots {
            plan.start(slot, false, Duration::ZERO, &mut actions);
        }
        (plan, actions)
    }

    /// Returns what the daemon is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Returns the number of the newest generation.
    #[cfg(test)]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the load that is going on; 0 before the first.
    pub fn load_running(&self) -> u64 {
        self.loads.running()
    }

    /// Changes how much longer a load may take for the number of its `pieces`, and for programs that
    /// it may run.
    pub fn expect(&mut self, pieces: usize, runs_programs: bool) {
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        let programs = if runs_programs {
            PROGRAM_PATIENCE
        } else {
            Duration::ZERO
        };
        let patience = loads::PATIENCE + PIECE_PATIENCE.saturating_mul(pieces) + programs;
        self.loads.set_patience(patience);
    }

    /// Returns when [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let slots = self.slots.iter().filter_map(|slot| match slot.state {
            SlotState::Waiting { until } => Some(until),
            SlotState::Worker(_) => Some(self.looked + self.look_interval()),
            SlotState::Empty | SlotState::Loading { .. } => None,
        });
        let drain = match self.phase {
            Phase::Draining { until } => Some(until),
            Phase::Starting | Phase::Serving | Phase::Stopping => None,
        };
        slots.chain(self.loads.deadline()).chain(drain).min()
    }

    /// How often silence is measured.
    ///
    /// Each look adds at most this much to a worker's silence, so that a supervisor that was itself
    /// held up, or a machine that was asleep, does not take its workers for dead.
    fn look_interval(&self) -> Duration {
        self.heartbeat_timeout / 8
    }

    /// Takes in what happened at `now`; returns what to do, in this order.
    #[expect(clippy::needless_pass_by_value, reason = "what happened is over")]
    pub fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => self.tick(now, &mut actions),
            Event::Loaded(loaded) => self.loaded(loaded, now, &mut actions),
            Event::Heard(worker) => self.heard(worker),
            Event::Serving { worker, generation } => {
                self.serving(worker, generation, now, &mut actions);
            }
            Event::Unable(worker) => self.condemn(worker, Condemned::Unable, &mut actions),
            Event::Exited(worker) => self.exited(worker, now, &mut actions),
            Event::Reload {
                ask,
                trigger,
                partial,
            } => self.reload((trigger, partial), ask, now, &mut actions),
            Event::Drain { within } => self.drain(now + within, &mut actions),
            Event::Stop => self.stop(&mut actions),
        }
        self.cover(&mut actions);
        self.confirm(&mut actions);
        self.end_if_empty(&mut actions);
        actions
    }

    fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Stopping)
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

    fn start(&mut self, slot: usize, again: bool, now: Duration, actions: &mut Vec<Action>) {
        self.workers += 1;
        let worker = WorkerId(self.workers);
        self.slots[slot].state = SlotState::Worker(Worker {
            id: worker,
            started: now,
            doing: Doing::Starting,
            generation: 0,
            silence: Duration::ZERO,
        });
        actions.push(Action::Start {
            slot,
            worker,
            again,
        });
    }

    fn heard(&mut self, id: WorkerId) {
        if let Some(worker) = self.find(id) {
            worker.silence = Duration::ZERO;
        }
    }

    fn serving(&mut self, id: WorkerId, generation: u64, now: Duration, actions: &mut Vec<Action>) {
        let Some(worker) = self.find(id) else { return };
        worker.silence = Duration::ZERO;
        worker.generation = worker.generation.max(generation);
        if worker.doing == Doing::Starting {
            worker.doing = Doing::Serving { since: now };
            if self.phase == Phase::Starting {
                self.phase = Phase::Serving;
                actions.push(Action::Ready);
            }
        }
    }

    /// Kills a worker whose end will be reported as a failure.
    fn condemn(&mut self, id: WorkerId, why: Condemned, actions: &mut Vec<Action>) {
        let Some(worker) = self.find(id) else { return };
        if matches!(worker.doing, Doing::Condemned { .. }) {
            return;
        }
        let since = worker.served_since();
        worker.doing = Doing::Condemned { why, since };
        actions.push(Action::Kill(id));
    }

    fn exited(&mut self, id: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        let ending = self.is_ending();
        let found = self.slots.iter_mut().enumerate().find_map(|(index, slot)| {
            let worker = *slot.worker()?;
            (worker.id == id).then_some((index, slot, worker))
        });
        let Some((index, slot, worker)) = found else {
            return;
        };
        if ending {
            slot.state = SlotState::Empty;
            return;
        }
        let wait = slot.fail(worker.served_since(), now);
        slot.state = SlotState::Waiting { until: now + wait };
        actions.push(Action::Report(Failure {
            slot: index,
            worker: id,
            condemned: match worker.doing {
                Doing::Condemned { why, .. } => Some(why),
                _ => None,
            },
            served: worker.served_since().is_some(),
            failures: slot.failures,
            wait: Some(wait),
        }));
        if self.phase == Phase::Starting && slot.failures >= START_TRIES {
            actions.push(Action::GiveUp);
            self.stop(actions);
        } else if wait.is_zero() {
            self.refill(index, now, actions);
        }
    }

    /// Begins to fill a slot again: first the disk, then the worker.
    fn refill(&mut self, slot: usize, now: Duration, actions: &mut Vec<Action>) {
        let partial = Partial::Allow;
        match self.loads.wish(Trigger::Crash, partial, None, now) {
            Wish::Begins(load) => {
                self.slots[slot].state = SlotState::Loading { load };
                actions.push(Action::Load {
                    load,
                    trigger: Trigger::Crash,
                    partial,
                });
            }
            Wish::Queued(load) => self.slots[slot].state = SlotState::Loading { load },
            Wish::Hopeless => self.start(slot, true, now, actions),
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
            answer(asks, Answer::Ending, actions);
            return;
        }
        match self.loads.wish(trigger, partial, ask, now) {
            Wish::Begins(load) => actions.push(Action::Load {
                load,
                trigger,
                partial,
            }),
            Wish::Queued(_) => {}
            Wish::Hopeless => answer(asks, Answer::DiskHangs, actions),
        }
    }

    fn loaded(&mut self, loaded: Loaded, now: Duration, actions: &mut Vec<Action>) {
        let Some((ended, begun)) = self.loads.end(now) else {
            return;
        };
        if loaded == Loaded::New {
            self.generation += 1;
            actions.extend(self.wanted().map(|worker| Action::Serve(worker.id)));
        }
        if !ended.asks.is_empty() {
            self.confirming.push(Confirming {
                load: ended.id,
                generation: self.generation,
                asks: ended.asks,
            });
        }
        self.start_waiting(ended.id, now, actions);
        if let Some(load) = begun {
            actions.push(Action::Load {
                load: load.id,
                trigger: load.trigger,
                partial: load.partial,
            });
        }
    }

    /// Starts the workers that waited for a load.
    fn start_waiting(&mut self, load: u64, now: Duration, actions: &mut Vec<Action>) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].state == (SlotState::Loading { load }) {
                self.start(slot, true, now, actions);
            }
        }
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Some(given_up) = self.loads.give_up(now) {
            for Load { id, asks, .. } in given_up {
                answer(asks, Answer::DiskHangs, actions);
                self.start_waiting(id, now, actions);
            }
        }
        for slot in 0..self.slots.len() {
            if matches!(self.slots[slot].state, SlotState::Waiting { until } if until <= now) {
                self.refill(slot, now, actions);
            }
        }
        self.look(now, actions);
        if matches!(self.phase, Phase::Draining { until } if until <= now) {
            self.stop(actions);
        }
    }

    /// Kills workers that are silent or do not get ready.
    fn look(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let passed = now.saturating_sub(self.looked);
        if passed < self.look_interval() {
            return;
        }
        self.looked = now;
        let (interval, timeout) = (self.look_interval(), self.heartbeat_timeout);
        let mut dead = Vec::new();
        for worker in self.slots.iter_mut().filter_map(Slot::worker_mut) {
            worker.silence += passed.min(interval);
            match worker.doing {
                Doing::Starting if now >= worker.started + START_PATIENCE => {
                    dead.push((worker.id, Condemned::NeverReady));
                }
                Doing::Serving { .. } | Doing::Draining if worker.silence >= timeout => {
                    dead.push((worker.id, Condemned::Silent));
                }
                _ => {}
            }
        }
        for (worker, why) in dead {
            self.condemn(worker, why, actions);
        }
    }

    fn drain(&mut self, until: Duration, actions: &mut Vec<Action>) {
        if self.is_ending() {
            return;
        }
        self.phase = Phase::Draining { until };
        self.abandon(actions);
        for slot in &mut self.slots {
            match &mut slot.state {
                SlotState::Worker(worker) => match worker.doing {
                    Doing::Starting => {
                        worker.doing = Doing::Condemned {
                            why: Condemned::Ending,
                            since: None,
                        };
                        actions.push(Action::Kill(worker.id));
                    }
                    Doing::Serving { .. } => {
                        worker.doing = Doing::Draining;
                        actions.push(Action::Drain(worker.id));
                    }
                    Doing::Draining | Doing::Condemned { .. } => {}
                },
                state => *state = SlotState::Empty,
            }
        }
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Stopping {
            return;
        }
        self.phase = Phase::Stopping;
        self.abandon(actions);
        for slot in &mut self.slots {
            match &mut slot.state {
                SlotState::Worker(worker) => {
                    worker.doing = Doing::Condemned {
                        why: Condemned::Ending,
                        since: worker.served_since(),
                    };
                    actions.push(Action::Kill(worker.id));
                }
                state => *state = SlotState::Empty,
            }
        }
    }

    /// Tells everybody who waits that the daemon is ending.
    fn abandon(&mut self, actions: &mut Vec<Action>) {
        let mut asks = self.loads.abandon();
        asks.extend(self.confirming.drain(..).flat_map(|waiting| waiting.asks));
        answer(asks, Answer::Ending, actions);
    }

    /// Answers those whose generation every worker has confirmed.
    fn confirm(&mut self, actions: &mut Vec<Action>) {
        let oldest = self.wanted().map(|worker| worker.generation).min();
        let workers = self.wanted().count();
        self.confirming.retain_mut(|waiting| {
            // Without a worker there is nobody who could have confirmed it.
            if oldest.is_none_or(|oldest| oldest < waiting.generation) {
                return true;
            }
            let result = Answer::Result {
                load: waiting.load,
                workers,
            };
            answer(std::mem::take(&mut waiting.asks), result, actions);
            false
        });
    }

    fn end_if_empty(&self, actions: &mut Vec<Action>) {
        let empty = self.slots.iter().all(|slot| slot.state == SlotState::Empty);
        if self.is_ending() && empty {
            actions.push(Action::Exit);
        }
    }
}

fn answer(asks: Vec<AskId>, answer: Answer, actions: &mut Vec<Action>) {
    if !asks.is_empty() {
        actions.push(Action::Answer { asks, answer });
    }
}
