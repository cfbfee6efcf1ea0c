//! The listening sockets: one for each listener and slot, bound here, kept for the daemon's life.
//!
//! A crash, a restart of a worker or a reload closes none of them, so clients wait in the queue instead
//! of being refused.
//! A slot's sockets share their port with those of the other slots (socket(7), `SO_REUSEPORT`),
//! and the kernel spreads clients over them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::{SocketAddr, ToSocketAddrs as _},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt as _, MetadataExt as _},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{
    found::FoundSockets,
    passed::{self, Uses},
    repair,
};
use crate::{
    config::{Address, Listener},
    link::ListenerKey,
    supervisor::activation::{Chosen, PassedSockets},
    sys::tune::tune,
};

/// How many clients may wait in a socket's queue; the kernel lowers this to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// The pause between two tries to bind a port that children of a killed daemon still use.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The mode of a Unix listener: each user with access to its folder may connect.
const UNIX_MODE: u32 = 0o777;

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener \"{name}\": cannot listen on {bind}: {reason}")]
pub(in crate::supervisor) struct BindError {
    name: String,
    bind: String,
    reason: String,
}

/// The listening sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    slots: usize,
    bound: BTreeMap<ListenerKey, Bound>,
    passed: PassedSockets,
    uses: Uses,
}

/// One listener's sockets.
#[derive(Debug)]
pub(super) struct Bound {
    /// One socket for each slot, or a single one that all slots share: that of a Unix listener, and one that systemd has
    /// bound.
    pub(super) sockets: Vec<Arc<OwnedFd>>,
    /// The address that clients connect to, with the real port.
    pub(super) address: String,
    pub(super) owner: Owner,
}

/// Who has bound a listener's sockets, and closes them.
#[derive(Debug)]
pub(super) enum Owner {
    /// This daemon, or the one that it goes on for.
    Daemon,
    /// The same, at a path; the file is to be removed when the listener is closed.
    DaemonAt(SocketFile),
    /// systemd, which passes them to the next supervisor too.
    Systemd,
}

/// The file that clients of a Unix listener connect to.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Its device, inode and time of birth, by which it is told from a later one of that name.
    identity: (u64, u64, Option<SystemTime>),
}

/// Binds sockets beyond those that are bound already.
#[derive(Debug, Clone)]
pub(super) struct Binder {
    slots: usize,
    /// What is bound already, and the number of its passed socket if it has one.
    bound: BTreeMap<ListenerKey, Option<usize>>,
    passed: PassedSockets,
}

/// Sockets bound for a configuration that is not in force yet.
#[derive(Debug, Default)]
pub(super) struct Bindings(BTreeMap<ListenerKey, Bound>);

impl Sockets {
    /// Makes the sockets of so many slots; none is bound yet but those that systemd has passed.
    pub(super) fn new(slots: usize, passed: PassedSockets) -> Self {
        Self {
            slots,
            bound: BTreeMap::new(),
            passed,
            uses: Uses::default(),
        }
    }

    /// Returns the binder for a new configuration, which any thread may use.
    pub(super) fn binder(&self) -> Binder {
        Binder {
            slots: self.slots,
            bound: self
                .bound
                .iter()
                .map(|(key, bound)| (key.clone(), self.passed_number(bound)))
                .collect(),
            passed: self.passed.clone(),
        }
    }

    fn passed_number(&self, bound: &Bound) -> Option<usize> {
        let mut passed = self.passed.iter();
        passed.find_map(|(number, it)| bound.has(&it.socket).then_some(number))
    }

    /// Keeps new sockets and closes those that `listeners` no longer name; returns the files to
    /// remove. Logs what becomes of the sockets that systemd has passed.
    pub(super) fn commit(&mut self, bindings: Bindings, listeners: &[Listener]) -> Vec<SocketFile> {
        let wanted: BTreeSet<ListenerKey> = listeners.iter().map(ListenerKey::of).collect();
        let mut files = Vec::new();
        self.bound.retain(|key, bound| {
            let keep = wanted.contains(key);
            if !keep {
                files.extend(bound.owner.take_file());
            }
            keep
        });
        self.bound.extend(bindings.0);
        let Self { bound, uses, .. } = self;
        uses.note(&self.passed, |socket| {
            bound.values().any(|it| it.has(socket))
        });
        files
    }

    /// Returns the sockets that systemd has passed.
    pub(super) fn passed(&self) -> &PassedSockets {
        &self.passed
    }

    /// Returns the sockets of a slot.
    pub(super) fn of_slot(&self, slot: usize) -> Vec<(ListenerKey, Arc<OwnedFd>)> {
        of_slot(&self.bound, slot)
    }

    /// Returns the sockets of all slots but one: those of listeners with these keys, or all; none of sockets that all slots
    /// share.
    pub(super) fn of_others(
        &self,
        slot: usize,
        keys: Option<&BTreeSet<ListenerKey>>,
    ) -> Vec<(ListenerKey, usize, Arc<OwnedFd>)> {
        let wanted = self.bound.iter();
        let wanted = wanted.filter(|(key, bound)| {
            !bound.is_shared() && keys.is_none_or(|keys| keys.contains(key))
        });
        let of = |(key, bound): (&ListenerKey, &Bound)| {
            let key = key.clone();
            let all = bound.sockets.clone().into_iter().enumerate();
            all.filter(move |(other, _)| *other != slot)
                .map(move |(other, socket)| (key.clone(), other, socket))
        };
        wanted.flat_map(of).collect()
    }

    /// Returns each socket that is the daemon's own once, with its slot, those of the first slot first.
    pub(super) fn own(&self) -> Vec<(ListenerKey, usize, Arc<OwnedFd>)> {
        let of_slot = |slot: usize| {
            let bound = self.bound.iter();
            let bound = bound.filter(|(_, bound)| !matches!(bound.owner, Owner::Systemd));
            bound.filter_map(move |(key, bound)| {
                Some((key.clone(), slot, Arc::clone(bound.sockets.get(slot)?)))
            })
        };
        (0..self.slots).flat_map(of_slot).collect()
    }

    /// Returns the `bind` of each listener whose socket systemd has passed.
    pub(super) fn binds_of_systemd(&self) -> Vec<String> {
        let bound = self.bound.iter();
        let passed = bound.filter(|(_, bound)| matches!(bound.owner, Owner::Systemd));
        passed.map(|(key, _)| key.bind.clone()).collect()
    }

    /// Returns the address that clients of `listener` connect to, with the real port.
    pub(super) fn address(&self, listener: &Listener) -> String {
        self.bound
            .get(&ListenerKey::of(listener))
            .map_or_else(|| listener.bind.to_string(), |bound| bound.address.clone())
    }

    /// Has the sockets listen again that a worker has shut down or connected, and lets none block; returns those that
    /// must be bound anew, which stay as they are. `None` says that systemd alone can do that.
    pub(super) fn reopen(&self) -> Vec<(ListenerKey, Option<Stale>)> {
        let mut stale = Vec::new();
        for (key, bound) in &self.bound {
            let address = bound.address.parse().ok();
            let sockets = bound.sockets.iter();
            let mended = sockets.map(|it| repair::reopen(it, address, &key.bind));
            if mended.filter(|listens| !listens).count() > 0 {
                stale.push((key.clone(), bound.stale()));
            }
        }
        stale
    }

    /// Puts sockets that were bound anew in the place of those of the same listener. If there is none any
    /// more, closes them and returns their file to remove.
    pub(super) fn replace(
        &mut self,
        key: &ListenerKey,
        bound: Bound,
    ) -> Result<(), Option<SocketFile>> {
        let Some(before) = self.bound.get_mut(key) else {
            return Err(bound.close());
        };
        *before = bound;
        Ok(())
    }

    /// Closes all sockets: clients are refused from now on. Returns the files to remove.
    pub(super) fn close(&mut self) -> Vec<SocketFile> {
        let bound = std::mem::take(&mut self.bound).into_values();
        bound.filter_map(Bound::close).collect()
    }
}

impl Bindings {
    /// Returns the keys of the listeners that they are of.
    pub(super) fn keys(&self) -> BTreeSet<ListenerKey> {
        self.0.keys().cloned().collect()
    }

    /// Returns the new sockets of a slot.
    pub(super) fn of_slot(&self, slot: usize) -> Vec<(ListenerKey, Arc<OwnedFd>)> {
        of_slot(&self.0, slot)
    }

    /// Closes these sockets again; returns the files to remove.
    pub(super) fn discard(self) -> Vec<SocketFile> {
        let bound = self.0.into_values();
        bound.filter_map(Bound::close).collect()
    }
}

impl SocketFile {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino(), metadata.created().ok()),
        })
    }

    /// Removes the file, unless another file has taken its name meanwhile. Blocks.
    pub(super) fn remove(&self) {
        let same = Self::of(&self.path).is_ok_and(|now| now.identity == self.identity);
        if same {
            // The next daemon that listens there replaces a file that is left.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn of_slot(bound: &BTreeMap<ListenerKey, Bound>, slot: usize) -> Vec<(ListenerKey, Arc<OwnedFd>)> {
    let sockets = bound.iter();
    sockets
        .filter_map(|(key, bound)| Some((key.clone(), bound.of_slot(slot)?)))
        .collect()
}

impl Binder {
    /// Binds what `listeners` need beyond what is bound already, trying for `patience` while an
    /// address is in use. What an earlier supervisor has bound of it is used; the rest of that is closed.
    ///
    /// If one fails, none of the new ones is kept, and the files of those that were found stay. Blocks.
    pub(super) fn bind(
        &self,
        listeners: &[Listener],
        patience: Duration,
        mut found: FoundSockets,
    ) -> Result<Bindings, BindError> {
        let mut bindings = Bindings::default();
        let choice = self.passed.choose(listeners, passed::look_up);
        for listener in listeners {
            let key = ListenerKey::of(listener);
            if self.bound.contains_key(&key) {
                continue;
            }
            // What is there of a socket that systemd passes is that socket itself.
            let there = found.take(&key).unwrap_or_default();
            let bound = match choice.of(&listener.name) {
                Some(Chosen::One(number)) => match self.holder_of(*number, listeners) {
                    Some(other) => Err(io::Error::other(held(other))),
                    None => passed::bound(&self.passed, *number, listener),
                },
                Some(Chosen::Several(numbers)) => {
                    Err(io::Error::other(self.passed.several(numbers)))
                }
                None => when_free(patience, || match there.bind(listener, self.slots) {
                    Some(bound) => bound,
                    None => bind(listener, self.slots),
                }),
            };
            match bound {
                Ok(bound) => drop(bindings.0.insert(key, bound)),
                Err(error) => {
                    let new = bindings.discard().into_iter();
                    let new = new.filter(|it| !found.had_file(&it.path));
                    new.for_each(|it| it.remove());
                    return Err(BindError {
                        name: listener.name.clone(),
                        bind: listener.bind.to_string(),
                        reason: self.explain(&error, &listener.bind),
                    });
                }
            }
        }
        Ok(bindings)
    }

    /// Returns the listener that has a passed socket already and keeps it.
    fn holder_of<'l>(&self, number: usize, listeners: &'l [Listener]) -> Option<&'l Listener> {
        let has_it = |it: &&Listener| {
            let bound = self.bound.get(&ListenerKey::of(it));
            bound == Some(&Some(number))
        };
        listeners.iter().find(has_it)
    }

    fn explain(&self, error: &io::Error, address: &Address) -> String {
        let ours = self.bound.keys().find(|key| {
            let bound = key.bind.parse::<Address>();
            bound.is_ok_and(|bound| bound.port() == address.port())
        });
        if error.kind() != io::ErrorKind::AddrInUse {
            return explain(error, address);
        }
        if let Some(told) = passed::in_the_way(&self.passed, address) {
            return told;
        }
        match ours {
            Some(ours) => format!(
                "this daemon listens on {} already, which overlaps; take that listener away with \
                 one reload and add this one with the next",
                ours.bind
            ),
            None => explain(error, address),
        }
    }
}

fn held(other: &Listener) -> String {
    format!(
        "listener \"{}\" has the socket that systemd passes for this address; take that listener away with one reload, and \
         add both with the next",
        other.name
    )
}

/// A listener whose sockets must be bound anew.
#[derive(Debug)]
pub(super) enum Stale {
    /// At a path.
    Unix(PathBuf),
    /// At this address, one for each slot.
    Tcp(SocketAddr, usize),
    /// At an address that cannot be read.
    Unknown(String),
}

impl Stale {
    /// Binds the sockets anew. Blocks.
    pub(super) fn bind(&self) -> io::Result<Bound> {
        match self {
            Self::Unix(path) => bind_unix(path),
            Self::Tcp(address, slots) => {
                let socket = |_| listen(*address, true).map(|it| Arc::new(it.into()));
                Ok(Bound {
                    sockets: (0..*slots).map(socket).collect::<io::Result<_>>()?,
                    address: address.to_string(),
                    owner: Owner::Daemon,
                })
            }
            Self::Unknown(address) => Err(io::Error::other(format!("{address} is no address"))),
        }
    }
}

impl Bound {
    /// Whether this socket is one of its own.
    fn has(&self, socket: &Arc<OwnedFd>) -> bool {
        self.sockets.iter().any(|it| Arc::ptr_eq(it, socket))
    }

    fn stale(&self) -> Option<Stale> {
        Some(match (&self.owner, self.address.parse()) {
            (Owner::Systemd, _) => return None,
            (Owner::DaemonAt(file), _) => Stale::Unix(file.path.clone()),
            (Owner::Daemon, Ok(address)) => Stale::Tcp(address, self.sockets.len()),
            (Owner::Daemon, Err(_)) => Stale::Unknown(self.address.clone()),
        })
    }

    /// Closes the sockets; returns the file to remove.
    pub(super) fn close(mut self) -> Option<SocketFile> {
        self.owner.take_file()
    }

    pub(super) fn of_slot(&self, slot: usize) -> Option<Arc<OwnedFd>> {
        let index = if self.is_shared() { 0 } else { slot };
        self.sockets.get(index).cloned()
    }

    /// Whether all slots share one socket. A single slot has no other to share with.
    fn is_shared(&self) -> bool {
        self.sockets.len() == 1
    }
}

impl Owner {
    /// Takes the file that is to be removed.
    fn take_file(&mut self) -> Option<SocketFile> {
        match std::mem::replace(self, Self::Daemon) {
            Self::DaemonAt(file) => Some(file),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// Says what an error of binding `address` means, and what to do.
pub(in crate::supervisor) fn explain(error: &io::Error, address: &Address) -> String {
    if let Address::Unix(path) = address {
        return explain_unix(error, path);
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, or choose another address".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; see `ip address`, or set `freebind` if it comes \
             later"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Says why a socket file cannot be made, which mostly depends on its folder.
fn explain_unix(error: &io::Error, path: &Path) -> String {
    let folder = path.parent().unwrap_or(Path::new("/")).display();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there; stop it, or choose another path".to_owned()
        }
        io::ErrorKind::PermissionDenied => format!(
            "permission denied; user {} needs the rights to write and search in the folder {folder}",
            nix::unistd::geteuid()
        ),
        io::ErrorKind::NotFound => format!("there is no folder {folder}; make it"),
        _ => error.to_string(),
    }
}

fn bind(listener: &Listener, slots: usize) -> io::Result<Bound> {
    match &listener.bind {
        Address::Tcp { host, port } => bind_tcp((host, *port), listener.freebind, slots),
        Address::Unix(path) => bind_unix(path),
    }
}

/// Calls `bind` until its address is not in use, but not for longer than `patience`. Blocks.
pub(in crate::supervisor) fn when_free<T>(
    patience: Duration,
    bind: impl Fn() -> io::Result<T>,
) -> io::Result<T> {
    let give_up = Instant::now() + patience;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                wait(RETRY_INTERVAL);
            }
            bound => return bound,
        }
    }
}

/// Waits while another process closes its sockets, for which the kernel has no event.
#[expect(
    clippy::disallowed_methods,
    reason = "binding is called where it may block"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn bind_tcp(address: (&String, u16), freebind: bool, slots: usize) -> io::Result<Bound> {
    let mut last = io::Error::other("the name has no address");
    for address in (address.0.as_str(), address.1).to_socket_addrs()? {
        match bind_slots(address, freebind, slots) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_slots(address: SocketAddr, freebind: bool, slots: usize) -> io::Result<Bound> {
    if address.port() != 0 {
        probe(address, freebind)?;
    }
    let first = listen(address, freebind)?;
    let real = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("the socket has no address"))?;
    let mut sockets = vec![Arc::new(OwnedFd::from(first))];
    for _ in 1..slots {
        sockets.push(Arc::new(listen(real, freebind)?.into()));
    }
    Ok(Bound {
        sockets,
        address: real.to_string(),
        owner: Owner::Daemon,
    })
}

/// Fails if a process listens at the address, even one that would share the port.
///
/// Sharing is for the slots of one daemon; two daemons on one port would take clients from each other.
///
/// The socket never listens, and is closed at once: a daemon that binds there at the same moment succeeds.
pub(in crate::supervisor) fn probe(address: SocketAddr, freebind: bool) -> io::Result<()> {
    let socket = new_socket(address, freebind)?;
    socket.bind(&address.into())
}

/// Makes a socket for `address`; `freebind` lets it have an address that this machine does not have
/// (`ip(7)`, `IP_FREEBIND`).
fn new_socket(address: SocketAddr, freebind: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) if freebind => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) if freebind => socket.set_freebind_v6(true)?,
        _ => {}
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Whatever `net.ipv6.bindv6only` says, `[::]` is for clients of both kinds.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

pub(super) fn listen(address: SocketAddr, freebind: bool) -> io::Result<Socket> {
    let socket = new_socket(address, freebind)?;
    socket.set_reuse_port(true)?;
    tune(&SockRef::from(&socket))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    fs::set_permissions(
        path,
        std::os::unix::fs::PermissionsExt::from_mode(UNIX_MODE),
    )?;
    socket.listen(BACKLOG)?;
    Ok(Bound {
        sockets: vec![Arc::new(socket.into())],
        address: format!("unix:{}", path.display()),
        owner: Owner::DaemonAt(SocketFile::of(path)?),
    })
}

/// Removes a socket file if no process listens there any more, and no other file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(io::Error::other(
            "a file that is not a socket has that name; remove it, or choose another path",
        )),
        Ok(_) if UnixStream::connect(path).is_ok() => Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => fs::remove_file(path),
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Returns an address of which no other process is given the port while the socket is held; others can be bound beside it
    /// that share their port.
    pub(in crate::supervisor::workers) fn reserved() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }
}
