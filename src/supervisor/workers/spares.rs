//! What workers get for the time without a supervisor: the listening sockets of other slots, a door, and what the next
//! supervisor is to know.

use std::collections::BTreeSet;

use super::{WorkerId, Workers};
use crate::link::{ListenerKey, ToWorker};

impl Workers {
    /// Hands every worker that serves the sockets of the other slots, of listeners with these keys or of all.
    pub(in crate::supervisor) fn hand_spares(&self, keys: Option<&BTreeSet<ListenerKey>>) {
        if keys.is_none_or(|keys| !keys.is_empty()) {
            for id in self.processes.keys() {
                self.hand_spares_to(*id, keys);
            }
        }
    }

    /// Hands a worker the sockets of the other slots, unless it is held back.
    pub(super) fn hand_spares_to(&self, id: WorkerId, keys: Option<&BTreeSet<ListenerKey>>) {
        let process = self.processes.get(&id);
        let Some(process) = process.filter(|it| !it.held_back) else {
            return;
        };
        for (key, slot, socket) in self.sockets.of_others(process.slot, keys) {
            let spare = ToWorker::Spare { key, slot };
            process.child.send_with(spare, vec![socket]);
        }
    }

    /// Makes a worker that was started its door.
    pub(super) fn prepare_orphanhood(&self, id: WorkerId) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        if let Some(voice) = process.child.voice() {
            self.doors.make(process.origin, voice.clone());
        }
    }
}
