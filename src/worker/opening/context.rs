//! What the opening of a session needs to know.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::{
    config::Address,
    link::ListenerKey,
    protocol::proxy_header::Endpoints,
    session::live::LiveSession,
    tls::stream::{TlsError, TlsStream},
    worker::{
        connect::Trial,
        places::Place,
        service::{Service, Services},
    },
};

/// What the opening of a session needs to know.
#[derive(Clone, Debug)]
pub struct Context {
    /// The listener's service when the client came.
    pub service: Arc<Service>,
    /// When the opening must be over.
    pub deadline: Instant,
    /// What is known of the session.
    pub session: Arc<LiveSession>,
    /// Who talks to whom, as far as it is known and the backend is told of it.
    pub endpoints: Option<Endpoints>,
    /// The position of the backend that the session talks to, or tries to.
    pub backend: usize,
    /// The attempt to reach it, as long as nobody knows how it ends.
    pub trial: Option<Trial>,
    /// What this worker serves, which changes.
    pub services: Arc<Services>,
    /// The listener in it.
    pub key: Arc<ListenerKey>,
    /// What the worker waits for before it ends.
    pub tasks: TaskTracker,
    /// The session's place among those that the listener and the client may have; `None` if there is none
    /// left.
    pub place: Option<Arc<Place>>,
}

impl Context {
    /// Begins TLS with the client, who has said `first`, by the newest generation, which may be newer
    /// than the one that was in force when the client came.
    pub fn accept_tls(&self, first: &[u8]) -> Result<TlsStream, TlsError> {
        let newest = self.newest();
        self.session.begins_tls(newest.generation);
        newest.accept_tls(first)
    }

    /// Begins TLS with the backend by the newest generation that has it; `None` if that leg has none.
    pub fn connect_tls(&self) -> Option<Result<TlsStream, TlsError>> {
        let (service, position) = self.newest_with_backend();
        service.connect_tls(position)
    }

    /// Whether the leg to the backend has TLS, by the same generation.
    pub fn has_backend_tls(&self) -> bool {
        let (service, position) = self.newest_with_backend();
        service.has_backend_tls(position)
    }

    /// Returns where the backend is that the session talks to, or tries to.
    pub fn backend(&self) -> &Address {
        self.service.listener.backends.at(self.backend)
    }

    /// Returns the newest generation that has the backend, and its position there.
    fn newest_with_backend(&self) -> (Arc<Service>, usize) {
        let newest = self.newest();
        let backends = &newest.listener.backends;
        let position = backends.iter().position(|it| it == self.backend());
        match position {
            Some(position) => (newest, position),
            None => (Arc::clone(&self.service), self.backend),
        }
    }

    fn newest(&self) -> Arc<Service> {
        self.services
            .get(&self.key)
            .unwrap_or_else(|| Arc::clone(&self.service))
    }
}
