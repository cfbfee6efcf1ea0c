//! Workers that take over the sessions of those that ended.
//!
//! Sessions wait neither for the disk nor for the back-off before new clients are served: these hold a worker back
//! from serving, not from going on with sessions.

use std::time::Duration;

use super::{
    Action, Condemned, Doing, End, Heir, HeldBack, Phase, Plan, Slot, SlotState, Worker, WorkerId,
};

/// The worker that is to take over what a worker has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Successor {
    /// This one, as soon as it can be handed something.
    Worker(WorkerId),
    /// None is there yet.
    Later,
    /// None will be there, because the daemon is ending.
    Never,
}

/// How many workers in a row may end before they have taken over sessions while the daemon drains; then the sessions
/// are lost.
const DRAIN_TRIES: u32 = 3;

impl Plan {
    /// Returns which worker is to take over what a worker of `slot` has left. One that serves clients of
    /// its own in another slot is asked only if `others` may be.
    pub fn successor(&self, slot: usize, others: bool) -> Successor {
        let own = self.slots.get(slot).and_then(Slot::worker);
        let own = own.filter(|worker| match worker.doing {
            Doing::HeldBack(_) | Doing::Starting | Doing::Serving { .. } => true,
            // Otherwise it was told to drain already, and may have ended.
            Doing::Draining => worker.heir == Heir::TakesOver,
            Doing::Condemned { .. } => false,
        });
        if let Some(worker) = own {
            return Successor::Worker(worker.id);
        }
        if self.is_ending() {
            return Successor::Never;
        }
        let lively = self.slots.iter().filter(|slot| self.is_lively(slot));
        let mut serving = lively.filter_map(Slot::serving).filter(|_| others);
        serving.next().map_or(Successor::Later, Successor::Worker)
    }

    /// Returns whether a worker that ended like this did what it was told.
    pub fn ended_as_told(&self, id: WorkerId, end: End) -> bool {
        let mut workers = self.slots.iter().filter_map(Slot::worker);
        let worker = workers.find(|worker| worker.id == id);
        worker.is_some_and(|worker| match worker.doing {
            Doing::Draining => worker.heir != Heir::TakesOver && end == End::Code(0),
            Doing::Condemned { why, .. } => why == Condemned::Ending,
            Doing::HeldBack(_) | Doing::Starting | Doing::Serving { .. } => false,
        })
    }

    /// Starts a worker that takes over the sessions that were left in a slot, and may serve after a load
    /// that begins at `until`.
    pub(super) fn start_heir(
        &mut self,
        slot: usize,
        until: Duration,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let doing = Doing::HeldBack(HeldBack::BackOff { until });
        self.start((slot, true), (doing, Heir::TakesOver), now, actions);
    }

    /// Starts a worker that takes over the sessions that were left in a slot, to drain them.
    pub(super) fn start_draining(&mut self, slot: usize, now: Duration, actions: &mut Vec<Action>) {
        let heir = (Doing::Draining, Heir::TakesOver);
        self.start((slot, true), heir, now, actions);
    }

    /// Notes that nothing that was left in a slot waits for a worker any more.
    pub fn has_placed(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.heir_at = None;
        }
    }

    /// Starts the workers that are due to take over the sessions that were left in slots in a back-off.
    pub(super) fn start_due_heirs(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.heir_at.take_if(|at| *at <= now).is_some()
                && let SlotState::Waiting { until } = slot.state
            {
                self.start_heir(index, until, now, actions);
            }
        }
    }

    /// Returns whether another worker may take over the sessions that were left in a slot while the daemon drains:
    /// until the drain timeout is over, and until [`DRAIN_TRIES`] workers in a row have ended before they had.
    pub(super) fn may_drain_on(&self, slot: usize, now: Duration) -> bool {
        let is_time = matches!(self.phase, Phase::Draining { until } if now < until);
        is_time && self.slots[slot].failed_heirs < DRAIN_TRIES
    }

    /// Notes that a worker was handed sessions to take over.
    pub(super) fn inherits(&mut self, id: WorkerId) {
        if let Some(worker) = self.find(id).filter(|it| it.doing != Doing::Draining) {
            worker.heir = Heir::TakesOver;
        }
    }

    /// Notes that a worker has taken over all that it was handed; if the daemon drains, the worker is told to
    /// drain only now, because it would have ended without sessions.
    pub(super) fn took_over(&mut self, id: WorkerId, actions: &mut Vec<Action>) {
        self.heard(id);
        let takes_over = |worker: &&mut Worker| worker.heir == Heir::TakesOver;
        if let Some(worker) = self.find(id).filter(takes_over) {
            worker.heir = Heir::TookOver;
            if worker.doing == Doing::Draining {
                actions.push(Action::Drain(id));
            }
        }
    }
}
