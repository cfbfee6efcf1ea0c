//! The services of a worker: a generation, made ready for handshakes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    backends::{Dialer, Health},
    places::Places,
};
use crate::{
    config::Listener,
    facts::{EndReason, ListenerCounts},
    link::{Given, ListenerKey},
    session::{counters::Counters, keeper::Keeper, registry::Registry},
    tls::{
        policy::{self, BackendPolicy, ClientPolicy, PolicyError},
        resolver::{Keyring, Resolver},
        stream::{TlsError, TlsStream, check_name},
        tickets::TicketSecrets,
    },
};

/// A listener of a generation, with its TLS configurations built.
#[derive(Debug)]
pub struct Service {
    /// The number of the generation.
    pub generation: u64,
    /// The listener as configured.
    pub listener: Listener,
    /// Its sessions, counted across generations.
    pub counters: Arc<Counters>,
    /// The state of its backends as sessions see it, across generations.
    pub health: Arc<Health>,
    /// What connects this worker to backends, and is shared by all listeners.
    pub dialer: Arc<Dialer>,
    /// Its places for sessions, shared with the other workers.
    pub places: Arc<Places>,
    /// How long sessions last before they outlive this worker; `None` if they do not.
    pub keep_after: Option<Duration>,
    clients: ClientPolicy,
    resolver: Arc<Resolver>,
    backend: Option<BackendPolicy>,
}

impl Service {
    /// Begins TLS with a client; `first` are the first bytes that it has sent.
    pub fn accept_tls(&self, first: &[u8]) -> Result<TlsStream, TlsError> {
        check_name(&self.resolver, first)?;
        TlsStream::server(&self.clients)
    }

    /// Returns whether revocation lists name a client's certificate, which is the first of these.
    pub fn is_revoked<D: AsRef<[u8]>>(&self, chain: &[D]) -> bool {
        self.clients.is_revoked(chain)
    }

    /// Whether the leg to the backend at a position has TLS.
    pub fn has_backend_tls(&self, backend: usize) -> bool {
        let policy = self.backend.as_ref();
        policy.is_some_and(|it| it.at(backend).is_some())
    }

    /// Begins TLS with the backend at a position; `None` if that leg has none.
    pub fn connect_tls(&self, backend: usize) -> Option<Result<TlsStream, TlsError>> {
        let (config, name) = self.backend.as_ref()?.at(backend)?;
        Some(TlsStream::client(config, name))
    }
}

/// Why a generation cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A TLS configuration cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The worker was told no number for the sessions of a listener, or has no board.
    #[error(
        "the sessions of listener \"{0}\" cannot be counted, because the supervisor gave no number for them or \
         no board"
    )]
    NoPlaces(String),
}

/// The services in force, which all sessions of this worker share.
#[derive(Debug)]
pub struct Services {
    current: ArcSwap<HashMap<ListenerKey, Arc<Service>>>,
    counters: Mutex<HashMap<String, Arc<Counters>>>,
    health: Mutex<HashMap<String, Arc<Health>>>,
    /// What connects this worker to backends.
    pub dialer: Arc<Dialer>,
    places: Mutex<HashMap<String, Arc<Places>>>,
    keyring: Mutex<Keyring>,
    secrets: Mutex<TicketSecrets>,
    /// All sessions of this worker.
    pub sessions: Arc<Registry>,
    /// What keeps sessions, so that they outlive this worker; there once it has a table.
    pub keeper: OnceLock<Arc<Keeper>>,
}

/// The services of a generation, built but not served yet.
#[derive(Debug)]
pub struct Built {
    services: HashMap<ListenerKey, Arc<Service>>,
    keyring: Keyring,
    /// Whether the end of each session is logged.
    log_sessions: bool,
}

impl Services {
    /// Begins without a generation. The ids of sessions begin with `origin`, which is no other worker's.
    pub fn new(origin: u64) -> Self {
        Self {
            current: ArcSwap::default(),
            counters: Mutex::default(),
            health: Mutex::default(),
            dialer: Arc::default(),
            places: Mutex::default(),
            keyring: Mutex::default(),
            secrets: Mutex::default(),
            sessions: Arc::new(Registry::new(origin)),
            keeper: OnceLock::new(),
        }
    }

    /// Builds the services of a generation, without changing those in force.
    pub fn build(&self, generation: &Given) -> Result<Built, ServeError> {
        let mut next = HashMap::new();
        let mut keyring = Keyring::new(&generation.material.identities, &lock(&self.keyring));
        let secrets = lock(&self.secrets).clone();
        for listener in &generation.config.listeners {
            let resolver = policy::resolver(listener, &mut keyring)?;
            let service = Service {
                generation: generation.number,
                clients: policy::server_config(
                    listener,
                    &generation.material,
                    &resolver,
                    &secrets,
                )?,
                resolver,
                backend: policy::client_config(listener, &generation.material)?,
                counters: self.counters_of(&listener.name),
                health: self.health_of(&listener.name),
                dialer: Arc::clone(&self.dialer),
                places: self.places_of(&listener.name)?,
                keep_after: generation.config.keep_after,
                listener: listener.clone(),
            };
            next.insert(ListenerKey::of(listener), Arc::new(service));
        }
        Ok(Built {
            services: next,
            keyring,
            log_sessions: generation.config.log.sessions,
        })
    }

    /// Puts built services in force.
    pub fn install(&self, built: Built) {
        *lock(&self.keyring) = built.keyring;
        let secrets = lock(&self.secrets).clone();
        for service in built.services.values() {
            service.counters.tell_all(built.log_sessions);
            service.health.follow(&service.listener.backends);
            // The secrets may have changed since the service was built.
            service.clients.renew_tickets(&secrets);
        }
        self.current.store(Arc::new(built.services));
        self.drop_places();
    }

    /// Takes a listener's places, before its first generation; those that it has already stay.
    pub fn set_places(&self, listener: String, places: Places) {
        let mut all = lock(&self.places);
        if all
            .get(&listener)
            .is_none_or(|known| known.number != places.number)
        {
            all.insert(listener, Arc::new(places));
        }
    }

    /// Drops the places of listeners that are not served: should one of that name come back, its
    /// places are others.
    pub fn drop_places(&self) {
        let served = self.current.load();
        lock(&self.places).retain(|name, _| {
            let mut served = served.values();
            served.any(|service| service.listener.name == *name)
        });
    }

    /// Uses these secrets from now on to make tickets and to open them.
    pub fn set_ticket_secrets(&self, secrets: TicketSecrets) {
        for service in self.current.load().values() {
            service.clients.renew_tickets(&secrets);
        }
        *lock(&self.secrets) = secrets;
    }

    /// Returns the listener's service in the newest generation; `None` if that has no such listener.
    pub fn get(&self, key: &ListenerKey) -> Option<Arc<Service>> {
        self.current.load().get(key).cloned()
    }

    /// Returns all services of the newest generation.
    pub fn all(&self) -> Vec<(ListenerKey, Arc<Service>)> {
        let current = self.current.load();
        let all = current.iter();
        all.map(|(key, service)| (key.clone(), Arc::clone(service)))
            .collect()
    }

    /// Returns the counts of every listener that was ever served, and what is known of its backends.
    pub fn counts(&self) -> Vec<(String, ListenerCounts)> {
        let health = lock(&self.health);
        let counters = lock(&self.counters);
        let counts = counters.iter().map(|(name, counters)| {
            let counts = ListenerCounts {
                connections: counters.counts(),
                backends: health.get(name).map_or_else(Vec::new, |it| it.statuses()),
            };
            (name.clone(), counts)
        });
        counts.collect()
    }

    /// Returns how many sessions are open, and how many were cut.
    pub fn open_and_cut(&self) -> (u64, u64) {
        let counters = lock(&self.counters);
        counters.values().fold((0, 0), |(open, cut), counters| {
            let counts = counters.counts();
            (
                open + counts.open,
                cut + counts.ended.of(EndReason::Drained),
            )
        })
    }

    fn health_of(&self, name: &str) -> Arc<Health> {
        Arc::clone(lock(&self.health).entry(name.to_owned()).or_default())
    }

    /// Returns the counts of a listener's sessions.
    pub fn counters_of(&self, name: &str) -> Arc<Counters> {
        let mut all = lock(&self.counters);
        let counters = all
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Counters::new(name.to_owned())));
        Arc::clone(counters)
    }

    fn places_of(&self, name: &str) -> Result<Arc<Places>, ServeError> {
        let places = lock(&self.places).get(name).cloned();
        places.ok_or_else(|| ServeError::NoPlaces(name.to_owned()))
    }
}

/// Locks a mutex that only this worker's one thread uses, so this never waits.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
