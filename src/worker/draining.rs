//! The end of a worker that is to go: its sessions end by themselves within a time, or are cut.

use std::{process::ExitCode, sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::interval};
use tracing::{info, warn};

use super::{Order, Worker, sessions};
use crate::link::{FromWorker, ToWorker};

/// How long sessions that are cut may take to tell their peers.
const GOODBYES: Duration = Duration::from_millis(1500);

impl Worker {
    /// Lets the sessions end, cuts those that are left at the drain timeout, and reports how many it has
    /// cut.
    pub(super) async fn drain(&mut self) -> ExitCode {
        self.listeners.close();
        self.sessions.close();
        let done = tokio::time::timeout(self.drain_timeout, self.sessions.wait()).await;
        let cut = match done {
            Ok(()) => 0,
            Err(_) => self.cut().await,
        };
        if cut == 0 {
            info!(cut, "drained: all sessions have ended by themselves");
        } else {
            let within = self.drain_timeout.as_secs_f64();
            warn!(
                cut,
                "drained: the drain timeout of {within} s was over; the sessions that were left were cut"
            );
        }
        self.count(None);
        self.tell(FromWorker::Drained { cut });
        ExitCode::SUCCESS
    }

    /// Cuts the sessions that are left, which tell their peers; returns how many these were.
    async fn cut(&self) -> u64 {
        self.services.sessions.cut();
        // The peers of sessions that cannot tell them in time see the connection end with the process.
        let _ = tokio::time::timeout(GOODBYES, self.sessions.wait()).await;
        let (open, cut) = self.services.open_and_cut();
        open + cut
    }

    /// Drains, and meanwhile sends the supervisor beats and the counts of the sessions that are left. Those
    /// that are still on their way to a backend may need another resolver meanwhile.
    pub(super) async fn drain_and_beat(&mut self, mut orders: mpsc::Receiver<Order>) -> ExitCode {
        let (services, outbox) = (Arc::clone(&self.services), self.outbox.clone());
        let (told, mut pairs) = (self.told.clone(), self.pairs.clone());
        let (mut heir, household) = (std::mem::take(&mut self.heir), self.household());
        let parcels = self.parcels.clone();
        let mut beats = interval(self.beat);
        let still_here = async move {
            loop {
                let ask = tokio::select! {
                    Some(order) = orders.recv() => match order.message {
                        ToWorker::Count { ask } => Some(ask),
                        ToWorker::Resolver => {
                            pairs.give(order.descriptors.into_iter().next());
                            continue;
                        }
                        message @ (ToWorker::Inherit { .. }
                        | ToWorker::Sockets { .. }
                        | ToWorker::TakeOver) => {
                            heir.take(message, order.descriptors, household.clone(), &parcels);
                            continue;
                        }
                        message => {
                            sessions::answer(message, &services.sessions, &outbox);
                            continue;
                        }
                    },
                    _ = beats.tick() => {
                        if pairs.are_needed() {
                            let _ = outbox.send(FromWorker::NeedsResolver);
                        }
                        None
                    }
                };
                let _ = outbox.send(FromWorker::Beat);
                told.count(&services, ask, &outbox);
            }
        };
        tokio::select! {
            code = self.drain() => code,
            () = still_here => ExitCode::SUCCESS,
        }
    }
}
