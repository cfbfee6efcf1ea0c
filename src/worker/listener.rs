//! Accepts clients: from the worker's own sockets, and from those of slots that it covers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener as StdUnixListener,
    },
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

/// The sockets that a worker accepts from, and those that it would accept from without a supervisor.
#[derive(Debug)]
pub struct Listeners {
    services: Arc<Services>,
    sessions: TaskTracker,
    waiting: Vec<(ListenerKey, usize, OwnedFd)>,
    accepting: BTreeMap<(ListenerKey, usize), Accepting>,
    spares: BTreeMap<(ListenerKey, usize), Arc<OwnedFd>>,
}

/// A socket that is accepted from, until this is dropped.
#[derive(Debug)]
struct Accepting {
    socket: Arc<Listening>,
    task: AbortHandle,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listeners {
    /// Begins without sockets; sessions will run in `sessions`.
    pub fn new(services: Arc<Services>, sessions: TaskTracker) -> Self {
        Self {
            services,
            sessions,
            waiting: Vec::new(),
            accepting: BTreeMap::new(),
            spares: BTreeMap::new(),
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
        self.accepting
            .retain(|(key, _), _| services.get(key).is_some());
        let waiting = std::mem::take(&mut self.waiting);
        for (key, slot, socket) in waiting {
            if services.get(&key).is_none() {
                self.waiting.push((key, slot, socket));
                continue;
            }
            self.begin(key, slot, socket);
        }
    }

    /// Keeps a listening socket for the time without a supervisor, instead of one that came before.
    pub fn spare(&mut self, key: ListenerKey, slot: usize, socket: OwnedFd) {
        self.spares.insert((key, slot), Arc::new(socket));
    }

    /// Drops the spare sockets of listeners that are not served.
    pub fn drop_idle_spares(&mut self) {
        let services = Arc::clone(&self.services);
        self.spares
            .retain(|(key, _), _| services.get(key).is_some());
    }

    /// Accepts from the spare sockets too, because there is no supervisor that would have another worker do so.
    pub fn accept_from_spares(&mut self) {
        for ((key, slot), socket) in std::mem::take(&mut self.spares) {
            if self.accepting.contains_key(&(key.clone(), slot))
                || self.services.get(&key).is_none()
            {
                continue;
            }
            // It may be on its way to a supervisor that has just ended.
            match Arc::try_unwrap(socket).or_else(|socket| socket.try_clone()) {
                Ok(socket) => self.begin(key, slot, socket),
                Err(error) => {
                    warn!(listener = key.bind, %error, "a listening socket of another slot is unusable");
                }
            }
        }
    }

    /// Returns the listening sockets that the worker has, spare ones included.
    pub fn sockets(&self) -> Vec<(ListenerKey, usize, Arc<dyn AsFd + Send + Sync>)> {
        let accepting = self.accepting.iter().map(|((key, slot), it)| {
            let socket: Arc<dyn AsFd + Send + Sync> = Arc::clone(&it.socket) as _;
            (key.clone(), *slot, socket)
        });
        let spares = self.spares.iter().map(|((key, slot), socket)| {
            let socket: Arc<dyn AsFd + Send + Sync> = Arc::clone(socket) as _;
            (key.clone(), *slot, socket)
        });
        accepting.chain(spares).collect()
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
        self.accepting.retain(|(_, other), _| *other != slot);
    }

    /// Stops accepting altogether.
    pub fn close(&mut self) {
        self.waiting.clear();
        self.accepting.clear();
        self.spares.clear();
    }

    /// Accepts from a socket, instead of another of its listener and slot.
    fn begin(&mut self, key: ListenerKey, slot: usize, socket: OwnedFd) {
        match self.accept(key.clone(), socket) {
            Ok(accepting) => drop(self.accepting.insert((key, slot), accepting)),
            Err(error) => error!(listener = key.bind, %error, "a listening socket is unusable"),
        }
    }

    fn accept(&self, key: ListenerKey, socket: OwnedFd) -> io::Result<Accepting> {
        let socket = Arc::new(Listening::new(&key, socket)?);
        let (services, sessions) = (Arc::clone(&self.services), self.sessions.clone());
        let task = tokio::spawn(accept_all(Arc::clone(&socket), key, services, sessions));
        let handle = task.abort_handle();
        tokio::spawn(async move { end_with(task.await) });
        Ok(Accepting {
            socket,
            task: handle,
        })
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
#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
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

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
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

async fn accept_all(
    socket: Arc<Listening>,
    key: ListenerKey,
    services: Arc<Services>,
    sessions: TaskTracker,
) {
    let key = Arc::new(key);
    let mut pause = SHORTEST_PAUSE;
    let mut complained: Option<Instant> = None;
    loop {
        match socket.accept().await {
            Ok((client, peer)) => {
                pause = SHORTEST_PAUSE;
                if let Some(service) = services.get(&key) {
                    sessions.spawn(serve(Accepted {
                        socket: client,
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
