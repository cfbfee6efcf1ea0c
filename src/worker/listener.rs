//! Accepts clients: from the worker's own sockets, and from those of slots that it covers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::{fd::OwnedFd, unix::net::UnixListener as StdUnixListener},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, UnixListener},
    task::{AbortHandle, JoinError},
};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::{
    serve::{Accepted, serve},
    service::Services,
};
use crate::{link::ListenerKey, session::socket::Socket};

/// The first pause after an accept that failed for lack of resources.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often the warning about failing accepts is logged at most.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// The sockets that a worker accepts from.
#[derive(Debug)]
pub struct Listeners {
    services: Arc<Services>,
    sessions: TaskTracker,
    waiting: Vec<(ListenerKey, usize, OwnedFd)>,
    accepting: BTreeMap<(ListenerKey, usize), AbortHandle>,
}

impl Listeners {
    /// Begins without sockets; sessions will run in `sessions`.
    pub fn new(services: Arc<Services>, sessions: TaskTracker) -> Self {
        Self {
            services,
            sessions,
            waiting: Vec::new(),
            accepting: BTreeMap::new(),
        }
    }

    /// Takes a listening socket; accepts from it once its listener is served.
    pub fn add(&mut self, key: ListenerKey, slot: usize, socket: OwnedFd) {
        // It may be handed over again before its listener is served.
        self.waiting.retain(|it| (&it.0, it.1) != (&key, slot));
        self.waiting.push((key, slot, socket));
        self.follow();
    }

    /// Accepts from the sockets of listeners that are served now, and no longer from those of others.
    pub fn follow(&mut self) {
        let services = Arc::clone(&self.services);
        self.accepting.retain(|(key, _), task| {
            let keep = services.get(key).is_some();
            if !keep {
                task.abort();
            }
            keep
        });
        let waiting = std::mem::take(&mut self.waiting);
        for (key, slot, socket) in waiting {
            if services.get(&key).is_none() {
                self.waiting.push((key, slot, socket));
                continue;
            }
            match self.accept(key.clone(), socket) {
                Ok(task) => {
                    if let Some(old) = self.accepting.insert((key, slot), task) {
                        old.abort();
                    }
                }
                Err(error) => error!(listener = key.bind, %error, "a listening socket is unusable"),
            }
        }
    }

    /// Returns whether the worker has the sockets of a slot for all of these listeners.
    pub fn has_all<'a>(
        &self,
        slot: usize,
        mut keys: impl Iterator<Item = &'a ListenerKey>,
    ) -> bool {
        keys.all(|key| {
            self.accepting.keys().any(|it| (&it.0, it.1) == (key, slot))
                || self.waiting.iter().any(|it| (&it.0, it.1) == (key, slot))
        })
    }

    /// Returns the slots for which the worker accepts from the sockets of all served listeners.
    pub fn slots(&self) -> Vec<usize> {
        let slots: BTreeSet<usize> = self.accepting.keys().map(|(_, slot)| *slot).collect();
        let served = self.services.all();
        let is_whole = |slot: &usize| {
            let mut keys = served.iter().map(|(key, _)| key.clone());
            keys.all(|key| self.accepting.contains_key(&(key, *slot)))
        };
        slots.into_iter().filter(is_whole).collect()
    }

    /// Drops the sockets of listeners that are not served.
    pub fn drop_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Stops accepting for a slot.
    pub fn release(&mut self, slot: usize) {
        self.waiting.retain(|(_, other, _)| *other != slot);
        self.accepting.retain(|(_, other), task| {
            if *other == slot {
                task.abort();
            }
            *other != slot
        });
    }

    /// Stops accepting altogether.
    pub fn close(&mut self) {
        self.waiting.clear();
        for task in self.accepting.values() {
            task.abort();
        }
        self.accepting.clear();
    }

    fn accept(&self, key: ListenerKey, socket: OwnedFd) -> io::Result<AbortHandle> {
        let door = Door::new(&key, socket)?;
        let (services, sessions) = (Arc::clone(&self.services), self.sessions.clone());
        let task = tokio::spawn(accept_all(door, key, services, sessions));
        let handle = task.abort_handle();
        tokio::spawn(async move { end_with(task.await) });
        Ok(handle)
    }
}

/// Ends the worker if its accepting has ended without having been stopped.
///
/// A worker that runs but does not accept would look healthy and serve no client.
#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "no task can return from `main`"
)]
fn end_with(ended: Result<(), JoinError>) {
    if !ended.is_err_and(|error| error.is_cancelled()) {
        error!("accepting ended by itself; this worker exits and a new one is started");
        std::process::exit(super::BROKEN);
    }
}

/// A listening socket.
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    fn new(key: &ListenerKey, socket: OwnedFd) -> io::Result<Self> {
        if key.is_unix() {
            UnixListener::from_std(StdUnixListener::from(socket)).map(Self::Unix)
        } else {
            TcpListener::from_std(StdTcpListener::from(socket)).map(Self::Tcp)
        }
    }

    /// Returns a client's socket, and its address if it has one.
    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                (Socket::Tcp(stream), Some(plain(peer)))
            }
            Self::Unix(listener) => (Socket::Unix(listener.accept().await?.0), None),
        })
    }
}

/// Returns the IPv4 address of an IPv4 client of an IPv6 socket (ipv6(7), `::ffff:` addresses); any other
/// address as it is.
fn plain(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        ip if ip == peer.ip() => peer,
        ip => SocketAddr::new(ip, peer.port()),
    }
}

async fn accept_all(door: Door, key: ListenerKey, services: Arc<Services>, sessions: TaskTracker) {
    let key = Arc::new(key);
    let mut pause = SHORTEST_PAUSE;
    let mut complained: Option<Instant> = None;
    loop {
        match door.accept().await {
            Ok((socket, peer)) => {
                pause = SHORTEST_PAUSE;
                if let Some(service) = services.get(&key) {
                    sessions.spawn(serve(Accepted {
                        socket,
                        peer,
                        service,
                        services: Arc::clone(&services),
                        key: Arc::clone(&key),
                        tasks: sessions.clone(),
                    }));
                }
            }
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
                    complained = Some(Instant::now());
                    warn!(
                        listener = key.bind,
                        %error,
                        "cannot accept clients; they wait in the socket's queue meanwhile"
                    );
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether an accept failed because of the client, and not because of this process (accept(2)).
fn is_of_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}
