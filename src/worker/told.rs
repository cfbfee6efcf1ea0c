//! What the supervisor was told of this worker's sessions and backends, so that only changes are sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc::UnboundedSender;

use super::service::Services;
use crate::{
    facts::{BackendStatus, ConnectionCounts, ListenerCounts},
    link::FromWorker,
};

/// What was told last, by listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<HashMap<String, ListenerCounts>>>);

impl Told {
    /// Has all be told again, to a supervisor that was told nothing.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ListenerCounts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what has changed, and that this is all, if an `ask` waits for that.
    pub(super) fn count(
        &self,
        services: &Services,
        ask: Option<u64>,
        outbox: &UnboundedSender<FromWorker>,
    ) {
        let mut told = self.lock();
        let mut messages = Vec::new();
        for (listener, counts) in services.counts() {
            if let Some(before) = told.get(&listener) {
                changes(&listener, before, &counts, &mut messages);
            } else {
                changes(
                    &listener,
                    &ListenerCounts::default(),
                    &counts,
                    &mut messages,
                );
            }
            told.insert(listener, counts);
        }
        messages.extend(ask.map(|ask| FromWorker::Counted { ask }));
        for message in messages {
            // If the supervisor is gone, messages are dropped.
            let _ = outbox.send(message);
        }
    }
}

/// Adds messages that tell of the difference between two counts of a listener.
fn changes(
    listener: &str,
    before: &ListenerCounts,
    now: &ListenerCounts,
    messages: &mut Vec<FromWorker>,
) {
    if before.connections != now.connections {
        messages.push(counts(listener, &now.connections));
    }
    let new = now
        .backends
        .iter()
        .filter(|it| !before.backends.contains(it));
    messages.extend(new.map(|status| backend(listener, status)));
}

fn counts(listener: &str, counts: &ConnectionCounts) -> FromWorker {
    FromWorker::Counts {
        listener: listener.to_owned(),
        counts: *counts,
    }
}

fn backend(listener: &str, status: &BackendStatus) -> FromWorker {
    FromWorker::Backend {
        listener: listener.to_owned(),
        status: status.clone(),
    }
}
