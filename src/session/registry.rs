//! All sessions of a worker, from accept to close.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    ops::{Bound, Deref},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    chains::{Chains, ClientChain},
    counters::Counters,
    live::LiveSession,
    standing::Changes,
    stop::StopReason,
};
use crate::facts::{Selection, SessionEntry, SessionId};

/// All sessions of a worker, those that are still being opened included.
#[derive(Debug)]
pub struct Registry {
    /// What the ids of the sessions begin with whose clients this worker accepts.
    origin: u64,
    /// The certificates of clients.
    pub chains: Chains,
    /// Wakes the worker when a session ends or is further with being kept.
    pub changes: Arc<Changes>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many sessions began here; the number of the last one.
    last: u64,
    /// Those that began here and those that were taken over. By id, so the oldest of each origin comes first.
    sessions: BTreeMap<SessionId, Arc<LiveSession>>,
    /// The worker waits for sessions no longer.
    is_cut: bool,
}

/// A session that is in its worker's registry until this is dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    session: Arc<LiveSession>,
}

/// A certificate that clients of a listener have shown.
#[derive(Debug)]
pub struct ShownAt {
    /// The listener's name.
    pub listener: String,
    /// The certificate.
    pub chain: Arc<ClientChain>,
    /// How many sessions of the listener are open of it.
    pub sessions: u64,
}

/// Some of the sessions that were asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The sessions in the order of their ids, so the oldest of each origin first.
    pub entries: Vec<SessionEntry>,
    /// Whether there are more behind the last of these.
    pub has_more: bool,
}

impl Registry {
    /// Begins without sessions. The worker's `origin` is no other worker's.
    pub fn new(origin: u64) -> Self {
        Self {
            origin,
            chains: Chains::default(),
            changes: Arc::default(),
            state: Mutex::default(),
        }
    }

    /// Returns what the ids of the sessions begin with whose clients this worker accepts.
    pub fn origin(&self) -> u64 {
        self.origin
    }

    /// Returns an id that no session has had.
    pub fn next_id(&self) -> SessionId {
        self.lock().next_id(self.origin)
    }

    /// Begins the session of a client that was accepted now. It is told to stop at once if all sessions were
    /// before.
    pub fn begin(
        self: &Arc<Self>,
        counters: Arc<Counters>,
        client: Option<SocketAddr>,
        generation: u64,
    ) -> Registered {
        let mut state = self.lock();
        let id = state.next_id(self.origin);
        let session = Arc::new(LiveSession::new(id, counters, client, generation));
        state.insert(&session);
        drop(state);
        self.registered(session)
    }

    /// Goes on with a session that another worker accepted, and which keeps its id. It is told to stop at once
    /// if all sessions were before. Returns `None` for an id that a session has, and for one of this worker's
    /// own origin, which only [`Self::begin`] gives: the table of the other worker is wrong then.
    pub fn resume(self: &Arc<Self>, session: LiveSession) -> Option<Registered> {
        let mut state = self.lock();
        let id = session.id;
        if id.origin == self.origin || state.sessions.contains_key(&id) {
            return None;
        }
        let session = Arc::new(session);
        state.insert(&session);
        drop(state);
        Some(self.registered(session))
    }

    fn registered(self: &Arc<Self>, session: Arc<LiveSession>) -> Registered {
        Registered {
            registry: Arc::clone(self),
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

    /// Returns all sessions.
    pub fn all(&self) -> Vec<Arc<LiveSession>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// Returns how many sessions a selection holds.
    pub fn count(&self, selection: &Selection) -> u64 {
        let state = self.lock();
        let all = state.sessions.values();
        all.filter(|it| it.is_in(selection)).count() as u64
    }

    /// Returns the first sessions that a selection holds, of those whose id comes after `after`, for as long as `fits`
    /// returns true.
    pub fn page(
        &self,
        selection: &Selection,
        after: Option<SessionId>,
        mut fits: impl FnMut(&SessionEntry) -> bool,
    ) -> Page {
        let state = self.lock();
        let rest = (
            after.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let rest = state.sessions.range(rest).map(|(_, session)| session);
        let mut entries = Vec::new();
        for session in rest.filter(|it| it.is_in(selection)) {
            let entry = session.entry();
            if !fits(&entry) {
                return Page {
                    entries,
                    has_more: true,
                };
            }
            entries.push(entry);
        }
        Page {
            entries,
            has_more: false,
        }
    }

    /// Returns the certificates that clients have shown at each listener, with the number of their sessions.
    pub fn shown(&self) -> Vec<ShownAt> {
        let state = self.lock();
        let mut all: HashMap<(&str, *const ClientChain), ShownAt> = HashMap::new();
        for session in state.sessions.values() {
            let Some(chain) = session.chain() else {
                continue;
            };
            let listener = &*session.counters.listener;
            let shown = all.entry((listener, Arc::as_ptr(&chain)));
            let shown = shown.or_insert_with(|| ShownAt {
                listener: listener.to_owned(),
                chain,
                sessions: 0,
            });
            shown.sessions += 1;
        }
        all.into_values().collect()
    }

    /// Tells the sessions that a selection holds to stop, because an operator ends them; returns which these
    /// were, in the order of their ids.
    pub fn end(&self, selection: &Selection, operator: &Arc<str>) -> Vec<SessionId> {
        let state = self.lock();
        let selected = state.sessions.values().filter(|it| it.is_in(selection));
        let ended = selected.filter(|it| it.stop.stop(StopReason::EndedBy(Arc::clone(operator))));
        ended.map(|it| it.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_id(&mut self, origin: u64) -> SessionId {
        self.last += 1;
        SessionId {
            origin,
            number: self.last,
        }
    }

    fn insert(&mut self, session: &Arc<LiveSession>) {
        if self.is_cut {
            session.stop.stop(StopReason::Drained);
        }
        self.sessions.insert(session.id, Arc::clone(session));
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
        let mut state = self.registry.lock();
        state.sessions.remove(&self.session.id);
        self.registry.changes.note();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(7))
    }

    fn begin(registry: &Arc<Registry>) -> Registered {
        registry.begin(Arc::new(Counters::new(String::new())), None, 1)
    }

    fn begin_several(registry: &Arc<Registry>, number: usize) -> Vec<Registered> {
        let all = (0..number).map(|_| begin(registry));
        all.inspect(|session| session.has_place()).collect()
    }

    /// A session of another worker, which has a place.
    fn other(origin: u64, number: u64) -> LiveSession {
        let counters = Arc::new(Counters::new(String::new()));
        let session = LiveSession::new(SessionId { origin, number }, counters, None, 1);
        session.has_place();
        session
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.entries.iter().map(|entry| entry.id.number).collect()
    }

    #[tokio::test]
    async fn a_cut_stops_sessions_that_are_there_and_those_that_come() {
        let registry = registry();
        let there = begin(&registry);
        registry.cut();
        assert_eq!(there.stop.stopped().await, StopReason::Drained);
        assert_eq!(begin(&registry).stop.stopped().await, StopReason::Drained);
    }

    #[test]
    fn a_session_that_has_ended_is_gone_and_its_id_is_not_used_again() {
        let registry = registry();
        let first = begin(&registry).id;
        assert!(registry.lock().sessions.is_empty());
        let second = begin(&registry).id;
        assert_ne!(first, second);
        assert_ne!(second, registry.next_id());
    }

    #[test]
    fn all_sessions_are_found_page_by_page() {
        let registry = registry();
        let sessions = begin_several(&registry, 5);
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let mut left = 2;
            let page = registry.page(&Selection::default(), after, |_| {
                left -= 1;
                left >= 0
            });
            pages.push(numbers(&page));
            if !page.has_more {
                break;
            }
            after = page.entries.last().map(|it| it.id);
        }
        assert_eq!(pages, [vec![1, 2], vec![3, 4], vec![5]]);
        assert_eq!(registry.count(&Selection::default()), 5);
        drop(sessions);
    }

    #[test]
    fn a_client_that_has_no_place_is_not_shown() {
        let registry = registry();
        let _turned_away = begin(&registry);
        assert_eq!(registry.count(&Selection::default()), 0);
    }

    #[tokio::test]
    async fn sessions_are_ended_once_and_then_shown_no_more() {
        let registry = registry();
        let sessions = begin_several(&registry, 3);
        let chosen = Selection {
            ids: [sessions[1].id].into(),
            ..Selection::default()
        };
        let by: Arc<str> = "root".into();
        assert_eq!(registry.end(&chosen, &by), [sessions[1].id]);
        assert_eq!(registry.end(&chosen, &by), []);
        let reason = sessions[1].stop.stopped().await;
        assert_eq!(reason.operator(), Some(&by));
        let page = registry.page(&Selection::default(), None, |_| true);
        assert_eq!(numbers(&page), [1, 3]);
    }
    #[test]
    fn sessions_of_several_origins_are_told_apart_and_found_page_by_page() {
        let registry = registry();
        let own = begin_several(&registry, 2);
        let older = registry.resume(other(3, 2)).unwrap();
        let younger = registry.resume(other(9, 1)).unwrap();
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let mut left = 1;
            let page = registry.page(&Selection::default(), after, |_| {
                left -= 1;
                left >= 0
            });
            found.extend(page.entries.iter().map(|it| (it.id.origin, it.id.number)));
            if !page.has_more {
                break;
            }
            after = page.entries.last().map(|it| it.id);
        }
        assert_eq!(found, [(3, 2), (7, 1), (7, 2), (9, 1)]);
        // Another session has the same number.
        drop(older);
        assert_eq!(registry.count(&Selection::default()), 3);
        assert_eq!(registry.lock().sessions.len(), 3);
        drop((own, younger));
        assert!(registry.lock().sessions.is_empty());
    }

    #[test]
    fn a_session_that_is_taken_over_replaces_none_and_takes_no_id_that_will_be_given() {
        let registry = registry();
        let first = registry.resume(other(3, 1)).unwrap();
        assert!(registry.resume(other(3, 1)).is_none());
        assert!(registry.resume(other(7, 1)).is_none());
        assert_eq!(registry.count(&Selection::default()), 1);
        drop(first);
        assert!(registry.resume(other(3, 1)).is_some());
    }

    #[tokio::test]
    async fn a_session_that_is_taken_over_after_the_cut_is_told_to_stop() {
        let registry = registry();
        registry.cut();
        let late = registry.resume(other(3, 1)).unwrap();
        assert_eq!(late.stop.stopped().await, StopReason::Drained);
    }
}
