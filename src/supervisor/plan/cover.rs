//! Who accepts from the sockets of a slot whose own worker does not.

use super::{Action, Plan, Slot, WorkerId};

impl Plan {
    /// Returns the slots that a worker accepts for: those it covers, and its own.
    pub fn slots_of(&self, id: WorkerId) -> Vec<usize> {
        let own = |(index, slot): (usize, &Slot)| {
            (slot.worker().map(|worker| worker.id) == Some(id)).then_some(index)
        };
        let covered = self.covers.iter().filter(|(_, by)| **by == id);
        let own = self.slots.iter().enumerate().filter_map(own);
        own.chain(covered.map(|(slot, _)| *slot)).collect()
    }

    /// Sees to it that every slot is accepted from while anybody accepts.
    ///
    /// A worker that has been quiet for a while may be hung: others accept for it as well, before
    /// it is known whether it lives.
    pub(super) fn cover(&mut self, actions: &mut Vec<Action>) {
        if self.is_ending() {
            self.covers.clear();
            return;
        }
        let serving: Vec<Option<WorkerId>> = self.slots.iter().map(Slot::serving).collect();
        let able = self.able(&serving);
        self.covers.retain(|slot, by| {
            let keep = able.contains(&Some(*by)) && able[*slot].is_none();
            if !keep && serving.contains(&Some(*by)) {
                actions.push(Action::Release {
                    worker: *by,
                    slot: *slot,
                });
            }
            keep
        });
        for slot in 0..able.len() {
            if able[slot].is_some() || self.covers.contains_key(&slot) {
                continue;
            }
            let neighbours = able[slot..].iter().chain(&able[..slot]);
            if let Some(worker) = neighbours.flatten().next() {
                self.covers.insert(slot, *worker);
                actions.push(Action::Cover {
                    worker: *worker,
                    slot,
                });
            }
        }
    }

    /// Returns which of the `serving` workers can be counted on to accept: those that were heard of
    /// lately, or all if none was.
    fn able(&self, serving: &[Option<WorkerId>]) -> Vec<Option<WorkerId>> {
        let quiet = self.heartbeat_timeout / 2;
        let lively = |slot: &Slot| slot.worker().is_some_and(|worker| worker.silence < quiet);
        let lively: Vec<_> = self
            .slots
            .iter()
            .map(|slot| slot.serving().filter(|_| lively(slot)))
            .collect();
        if lively.iter().any(Option::is_some) {
            lively
        } else {
            serving.to_vec()
        }
    }
}
