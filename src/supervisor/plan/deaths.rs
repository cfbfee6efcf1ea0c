//! Workers that hang, fail and die.

use std::time::Duration;

use super::{
    Action, Condemned, Doing, End, Failure, Heir, Phase, Plan, Slot, SlotState, Worker, WorkerId,
};

/// How long a worker may take to get ready.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long a worker that has confirmed no generation may be silent at least: it does not know yet how often it is to
/// send a beat, and a busy host may take a while to start its process.
const NEW_PATIENCE: Duration = Duration::from_secs(3);

/// How many starts may fail in a row before a daemon that has never served gives up.
const START_TRIES: u32 = 3;

impl Plan {
    /// Kills a worker for `why`; its end is then reported as a failure, unless the daemon ends at once
    /// meanwhile.
    pub(super) fn condemn(&mut self, id: WorkerId, why: Condemned, actions: &mut Vec<Action>) {
        let Some(worker) = self.find(id) else { return };
        if matches!(worker.doing, Doing::Condemned { .. }) {
            return;
        }
        let since = worker.served_since();
        worker.doing = Doing::Condemned { why, since };
        actions.push(Action::Kill(id));
    }

    pub(super) fn exited(
        &mut self,
        id: WorkerId,
        (end, leaves): (End, bool),
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let position = |slot: &Slot| slot.worker().is_some_and(|worker| worker.id == id);
        let Some(index) = self.slots.iter().position(position) else {
            return;
        };
        let ending = self.is_ending();
        let slot = &mut self.slots[index];
        let before = std::mem::replace(&mut slot.state, SlotState::Empty);
        let SlotState::Worker(worker) = before else {
            return;
        };
        let wait = slot.fail(worker.served_since(), now);
        let heir_wait = slot.fail_heir(&worker).min(wait);
        slot.heir_at = None;
        let failure = Failure {
            slot: index,
            worker: id,
            end,
            condemned: worker.condemned(),
            served: has_served(&worker),
            failures: slot.failures,
            wait: (!ending).then_some(wait),
            has_heir: false,
        };
        if ending {
            if was_unwanted(&worker, end) {
                let has_heir = leaves && self.may_drain_on(index, now);
                self.ending.note_failure();
                actions.push(Action::Report(Failure {
                    has_heir,
                    ..failure
                }));
                if has_heir {
                    self.start_draining(index, now, actions);
                }
            }
            return;
        }
        slot.state = SlotState::Waiting { until: now + wait };
        let gives_up = self.phase == Phase::Starting && failure.failures >= START_TRIES;
        let has_heir = leaves && !gives_up && heir_wait.is_zero();
        actions.push(Action::Report(Failure {
            has_heir,
            ..failure
        }));
        if gives_up {
            self.give_up(now, actions);
            return;
        }
        if has_heir {
            self.start_heir(index, now + wait, now, actions);
        } else if leaves {
            self.slots[index].heir_at = Some(now + heir_wait);
        }
        if wait.is_zero() {
            self.refill(index, now, actions);
        }
    }

    /// Kills workers that are silent, do not get ready in time or do not confirm in time. Repeats
    /// handovers that have not arrived.
    pub(super) fn look(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let passed = now.saturating_sub(self.looked);
        if passed < self.look_interval() {
            return;
        }
        self.looked = now;
        let (interval, timeout) = (self.look_interval(), self.heartbeat_timeout);
        let mut dead = Vec::new();
        for worker in self.slots.iter_mut().filter_map(Slot::worker_mut) {
            worker.silence += passed.min(interval);
            dead.extend(fault(worker, now, timeout).map(|why| (worker.id, why)));
        }
        for (worker, why) in dead {
            self.condemn(worker, why, actions);
        }
        if !self.is_ending() {
            self.hand_again(now, actions);
            self.serve_again(now, actions);
        }
    }

    /// Tells workers that have refused the generation in force to serve it, once more.
    fn serve_again(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let mut due = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let worker = slot.worker_mut().filter(|worker| worker.is_wanted());
            let Some(worker) = worker else { continue };
            let owed = worker.owed.as_mut();
            if owed.is_some_and(|owed| owed.again.take_if(|again| *again <= now).is_some()) {
                due.push((index, worker.id));
            }
        }
        for (slot, worker) in due {
            self.hand(worker, slot, now, actions);
            actions.push(Action::Serve(worker));
        }
    }
}

/// Returns why to kill a worker at `now`; `None` if it is in order.
fn fault(worker: &Worker, now: Duration, heartbeat_timeout: Duration) -> Option<Condemned> {
    let unconfirmed = worker.owed.is_some_and(|owed| owed.until <= now);
    let patience = match worker.generation {
        0 => heartbeat_timeout.max(NEW_PATIENCE),
        _ => heartbeat_timeout,
    };
    let is_silent = worker.silence >= patience;
    match worker.doing {
        // Its sessions stand still while it is silent, as those of a worker that serves do.
        Doing::Starting if worker.heir != Heir::No && is_silent => Some(Condemned::Silent),
        Doing::Starting if now >= worker.started + START_PATIENCE => Some(Condemned::NeverReady),
        Doing::HeldBack(_) | Doing::Serving { .. } | Doing::Draining if is_silent => {
            Some(Condemned::Silent)
        }
        Doing::Serving { .. } if unconfirmed => Some(Condemned::Unconfirmed),
        _ => None,
    }
}

/// Returns whether a worker ever served clients, took sessions over, or drained.
fn has_served(worker: &Worker) -> bool {
    let took_over = worker.heir == Heir::TookOver;
    worker.served_since().is_some() || took_over || worker.doing == Doing::Draining
}

/// Returns whether a worker's end while the daemon ends is a failure.
fn was_unwanted(worker: &Worker, end: End) -> bool {
    match worker.condemned() {
        Some(why) => why != Condemned::Ending,
        None => end != End::Code(0),
    }
}
