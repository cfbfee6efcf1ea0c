//! Starting workers, and handing them what they need: places, sockets, secrets, generations.

use std::sync::Arc;

use tracing::error;

use super::{Message, Supervisor, plan::WorkerId};
use crate::link::{Handover, ListenerKey, ToWorker};

impl Supervisor {
    /// Starts a worker in a slot; `again` tells whether it takes the place of one that failed.
    pub(super) fn start(&mut self, slot: usize, worker: WorkerId, again: bool) {
        self.restarts += u64::from(again);
        match self.launcher.launch(worker, slot) {
            Ok(process) => {
                self.processes.insert(worker, process);
                self.hand_places(worker);
                self.hand_sockets(worker, slot);
                self.send(worker, ToWorker::Tickets(self.tickets.secrets().clone()));
                self.serve(worker);
            }
            Err(error) => {
                error!(slot, %error, "a worker could not be started");
                let _ = self.inbox.send(Message::Exited(worker, None));
            }
        }
    }

    /// Lets a worker take places of the listeners whose places it does not know yet.
    pub(super) fn hand_places(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        for listener in self.places.names() {
            if process.held.iter().any(|held| held.listener() == listener) {
                continue;
            }
            match self.places.issue(listener) {
                Ok(Some((free, count, held))) => {
                    process.held.push(held);
                    let listener = listener.clone();
                    process.send(ToWorker::Places { listener }, vec![free, count]);
                }
                Ok(None) => {}
                Err(error) => error!(%error, listener, "a worker gets no places for sessions"),
            }
        }
    }

    /// Hands a worker what it lacks of the newest generation.
    pub(super) fn serve(&mut self, worker: WorkerId) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let generation = Arc::clone(&self.current.borrow());
        let given = process.given.replace(Arc::clone(&generation));
        let handover = Handover::new(given.as_deref(), &generation);
        process.send(ToWorker::Serve(handover), Vec::new());
    }

    /// Lets a worker accept from all sockets of a slot.
    pub(super) fn hand_sockets(&self, worker: WorkerId, slot: usize) {
        let keys: Vec<_> = self
            .sockets
            .of_slot(slot)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.hand_socket(worker, slot, key);
        }
    }

    /// Lets a worker accept from a slot's socket of one listener.
    pub(super) fn hand_socket(&self, worker: WorkerId, slot: usize, key: ListenerKey) {
        let Some(socket) = self.sockets.of_listener(&key, slot) else {
            return;
        };
        match socket.try_clone_to_owned() {
            Ok(socket) => {
                if let Some(process) = self.processes.get(&worker) {
                    process.send(ToWorker::Accept { key, slot }, vec![socket]);
                }
            }
            Err(error) => error!(%error, slot, "a listening socket cannot be handed to a worker"),
        }
    }

    /// Tells a worker something.
    pub(super) fn send(&self, worker: WorkerId, message: ToWorker) {
        if let Some(process) = self.processes.get(&worker) {
            process.send(message, Vec::new());
        }
    }

    /// Kills a worker.
    pub(super) fn kill(&self, worker: WorkerId) {
        if let Some(process) = self.processes.get(&worker) {
            process.kill();
        }
    }
}
