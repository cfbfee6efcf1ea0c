//! Which worker accepts from the sockets of each slot.

use std::time::Duration;

use super::{Action, Plan, Slot, SlotState, WorkerId};

/// How long after a handover a worker that does not report that it accepts for the slot is handed the
/// sockets again.
const HAND_AGAIN: Duration = Duration::from_secs(1);

/// How long a slot may be without a worker that accepts for it before its clients count as waiting;
/// longer than a handover takes.
const HANDOVER: Duration = Duration::from_secs(1);

impl Plan {
    /// Returns the slots that a worker is to accept for: its own, and those that it covers.
    pub fn slots_of(&self, id: WorkerId) -> Vec<usize> {
        let own = |(index, slot): (usize, &Slot)| {
            (slot.worker().map(|worker| worker.id) == Some(id)).then_some(index)
        };
        let covered = self.covers.iter().filter(|(_, by)| **by == id);
        let own = self.slots.iter().enumerate().filter_map(own);
        own.chain(covered.map(|(slot, _)| *slot)).collect()
    }

    /// Returns how many slots have had no worker that accepts for them for longer than a handover takes.
    pub fn unaccepted(&self, now: Duration) -> usize {
        let waits = |since: Duration| now.saturating_sub(since) >= HANDOVER;
        let slots = self.slots.iter();
        slots
            .filter(|slot| slot.unaccepted_since.is_some_and(waits))
            .count()
    }

    /// Returns whether each slot has a worker that accepts for it now.
    pub(super) fn accepts_everywhere(&self) -> bool {
        let mut slots = self.slots.iter();
        slots.all(|slot| slot.unaccepted_since.is_none())
    }

    /// Makes sure that a worker accepts for every slot, as long as any worker accepts.
    ///
    /// A worker that was silent for a while may hang: another worker accepts for its slot as well, before
    /// it is known whether it hangs.
    pub(super) fn cover(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.is_ending() {
            self.covers.clear();
            return;
        }
        let serving: Vec<Option<WorkerId>> = self.slots.iter().map(Slot::serving).collect();
        let able = self.able(&serving);
        let mut released = Vec::new();
        self.covers.retain(|slot, by| {
            let keep = able.contains(&Some(*by)) && able[*slot].is_none();
            if !keep && serving.contains(&Some(*by)) {
                released.push((*by, *slot));
            }
            keep
        });
        for (worker, slot) in released {
            if let Some(worker) = self.find(worker) {
                worker.handed.remove(&slot);
                worker.accepts.remove(&slot);
            }
            actions.push(Action::Release { worker, slot });
        }
        for slot in 0..able.len() {
            if able[slot].is_some() || self.covers.contains_key(&slot) {
                continue;
            }
            let neighbours = able[slot..].iter().chain(&able[..slot]);
            if let Some(worker) = neighbours.flatten().next().copied() {
                self.covers.insert(slot, worker);
                self.hand(worker, slot, now, actions);
            }
        }
    }

    pub(super) fn hand(
        &mut self,
        id: WorkerId,
        slot: usize,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if let Some(worker) = self.find(id) {
            worker.handed.insert(slot, now);
            actions.push(Action::Hand { worker: id, slot });
        }
    }

    /// Hands sockets again to serving workers that do not report that they accept from them.
    pub(super) fn hand_again(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let mut missing = Vec::new();
        for worker in self.slots.iter().filter_map(Slot::serving_worker) {
            let due = |(slot, at): (&usize, &Duration)| {
                let is_missing = !worker.accepts.contains(slot) && now >= *at + HAND_AGAIN;
                is_missing.then_some((worker.id, *slot))
            };
            missing.extend(worker.handed.iter().filter_map(due));
        }
        for (worker, slot) in missing {
            self.hand(worker, slot, now, actions);
        }
    }

    /// Notes for which slots a worker accepts.
    pub(super) fn note_acceptance(&mut self, now: Duration) {
        for index in 0..self.slots.len() {
            let mut workers = self.slots.iter().filter_map(Slot::serving_worker);
            // One that serves an older generation lacks the listeners that are new since.
            let accepted = workers.any(|it| it.owed.is_none() && it.accepts.contains(&index));
            let slot = &mut self.slots[index];
            if accepted || slot.state == SlotState::Empty {
                slot.unaccepted_since = None;
            } else {
                slot.unaccepted_since.get_or_insert(now);
            }
        }
    }

    /// Returns which of the `serving` workers are expected to accept: those that have sent a message
    /// lately, or all of them if none has.
    fn able(&self, serving: &[Option<WorkerId>]) -> Vec<Option<WorkerId>> {
        let lively: Vec<_> = self
            .slots
            .iter()
            .map(|slot| slot.serving().filter(|_| self.is_lively(slot)))
            .collect();
        if lively.iter().any(Option::is_some) {
            lively
        } else {
            serving.to_vec()
        }
    }

    /// Returns whether the slot's worker has sent a message lately.
    pub(super) fn is_lively(&self, slot: &Slot) -> bool {
        let quiet = self.heartbeat_timeout / 2;
        slot.worker().is_some_and(|worker| worker.silence < quiet)
    }
}
