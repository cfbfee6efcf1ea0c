//! How a worker that was started comes to serve: it has mapped its board, and is not held back.

use std::sync::Arc;

use super::{WorkerId, Workers};
use crate::link::Generation;

impl Workers {
    /// Shows the board of a worker that has mapped it to the other workers; returns whether it was not shown
    /// before.
    pub(in crate::supervisor) fn has_board(&mut self, id: WorkerId) -> bool {
        let Some(process) = self.processes.get(&id) else {
            return false;
        };
        let slot = process.slot;
        let others = self.processes.iter().filter(|(other, _)| **other != id);
        let others = others.map(|(other, process)| (*other, &process.child));
        let shown = self.boards.show(id, &process.child, others);
        match (shown, self.processes.get_mut(&id)) {
            (Ok(true), Some(process)) => {
                process.has_board = true;
                true
            }
            (Ok(_), _) => false,
            (Err(error), _) => {
                self.not_started(id, slot, &error);
                false
            }
        }
    }

    /// Tells a worker that has its board to serve the generation in force, unless it is held back.
    pub(in crate::supervisor) fn begin_to_serve(
        &mut self,
        id: WorkerId,
        current: &Arc<Generation>,
    ) {
        let process = self.processes.get(&id);
        if process.is_some_and(|it| it.has_board && !it.held_back) {
            self.serve(id, current);
        }
    }

    /// Lets a worker serve that was held back: hands it its slot's sockets and the generation in force, as
    /// soon as it can take them.
    pub(in crate::supervisor) fn admit(&mut self, id: WorkerId, current: &Arc<Generation>) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        process.held_back = false;
        let slot = process.slot;
        self.hand_sockets(id, slot);
        self.hand_spares_to(id, None);
        self.begin_to_serve(id, current);
    }
}
