//! What is fixed while a session is opened.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{
    places::Place,
    service::{Service, Services},
};
use crate::{
    config::Limits,
    link::ListenerKey,
    protocol::proxy_header::Endpoints,
    session::live::LiveSession,
    tls::stream::{TlsError, TlsStream},
};

/// What is fixed while a session is opened. What moves is elsewhere: the [deadline](super::deadline) and
/// the [backend](super::connect::Target) that is tried.
#[derive(Debug)]
pub struct Context {
    /// The listener's service when the client came.
    pub service: Arc<Service>,
    /// What is known of the session.
    pub session: Arc<LiveSession>,
    /// Who talks to whom, as far as it is known and the backend is told of it.
    pub endpoints: Option<Endpoints>,
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
    /// Returns the listener's bounds and deadlines when the client came.
    pub fn limits(&self) -> &Limits {
        &self.service.listener.limits
    }

    /// Begins TLS with the client, who has said `first`, by the newest generation, which may be newer
    /// than the one that was in force when the client came.
    pub fn accept_tls(&self, first: &[u8]) -> Result<TlsStream, TlsError> {
        let newest = self.newest();
        self.session.begins_tls(newest.generation);
        newest.accept_tls(first)
    }

    /// Returns the listener's service in the newest generation, or when the client came if that has no such
    /// listener.
    pub fn newest(&self) -> Arc<Service> {
        let newest = self.services.get(&self.key);
        newest.unwrap_or_else(|| Arc::clone(&self.service))
    }
}
