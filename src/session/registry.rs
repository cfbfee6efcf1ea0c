//! All sessions of a worker, from accept to close.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{counters::Counters, live::LiveSession, stop::StopReason};

/// All sessions of a worker, those that are still being opened included.
#[derive(Debug, Default)]
pub struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// How many sessions there were; the number of the last one.
    last: u64,
    /// By number, so the oldest comes first.
    sessions: BTreeMap<u64, Arc<LiveSession>>,
    /// The worker waits for sessions no longer.
    is_cut: bool,
}

/// A session that is in its worker's registry until this is dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    number: u64,
    session: Arc<LiveSession>,
}

impl Registry {
    /// Begins the session of a client that was accepted now. It is told to stop at once if all sessions were
    /// before.
    pub fn begin(
        self: &Arc<Self>,
        counters: Arc<Counters>,
        client: Option<SocketAddr>,
        generation: u64,
    ) -> Registered {
        let session = Arc::new(LiveSession::new(counters, client, generation));
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        if state.is_cut {
            session.stop.stop(StopReason::Drained);
        }
        state.sessions.insert(number, Arc::clone(&session));
        drop(state);
        Registered {
            registry: Arc::clone(self),
            number,
            session,
        }
    }

    /// Tells all sessions to stop, and those that begin later too, because the worker ends.
    pub fn cut(&self) {
        let mut state = self.lock();
        state.is_cut = true;
        for session in state.sessions.values() {
            session.stop.stop(StopReason::Drained);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Registered {
    type Target = Arc<LiveSession>;

    fn deref(&self) -> &Arc<LiveSession> {
        &self.session
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.lock().sessions.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(registry: &Arc<Registry>) -> Registered {
        registry.begin(Arc::new(Counters::new(String::new())), None, 1)
    }

    #[tokio::test]
    async fn a_cut_stops_sessions_that_are_there_and_those_that_come() {
        let registry = Arc::new(Registry::default());
        let there = begin(&registry);
        registry.cut();
        assert_eq!(there.stop.stopped().await, StopReason::Drained);
        assert_eq!(begin(&registry).stop.stopped().await, StopReason::Drained);
    }

    #[test]
    fn a_session_that_has_ended_is_gone() {
        let registry = Arc::new(Registry::default());
        drop(begin(&registry));
        assert!(registry.lock().sessions.is_empty());
    }
}
