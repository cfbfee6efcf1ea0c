//! Listening sockets that an earlier supervisor has bound, and that its workers still have: this one goes on with them, so
//! that no client is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
};

use socket2::{SockRef, Type};

use super::{
    repair,
    sockets::{Bound, Owner, SocketFile, listen},
};
use crate::{
    config::{Address, Listener},
    link::ListenerKey,
    sys::listening,
};

/// The sockets that were found.
#[derive(Debug, Clone, Default)]
pub(in crate::supervisor) struct FoundSockets {
    all: BTreeMap<ListenerKey, Found>,
    /// The listeners of which some were found.
    keys: BTreeSet<ListenerKey>,
}

/// The sockets of a listener, by slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Found(BTreeMap<usize, Arc<OwnedFd>>);

impl FoundSockets {
    /// Takes sockets, each with its listener and slot, as far as they can be those.
    pub(in crate::supervisor) fn new(all: Vec<(ListenerKey, usize, OwnedFd)>) -> Self {
        let mut found = Self::default();
        for (key, slot, socket) in all {
            if listens_for(&key, &socket) {
                found.keys.insert(key.clone());
                let of_listener = found.all.entry(key).or_default();
                of_listener
                    .0
                    .entry(slot)
                    .or_insert_with(|| Arc::new(socket));
            }
        }
        found
    }

    /// Takes those of a listener out.
    pub(super) fn take(&mut self, key: &ListenerKey) -> Option<Found> {
        self.all.remove(key)
    }

    /// Returns whether one was found of a Unix listener at this path.
    pub(super) fn had_file(&self, path: &Path) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|it| matches!(it.bind.parse(), Ok(Address::Unix(found)) if found == path))
    }
}

impl Found {
    /// Returns the sockets of a listener: those that were found, and beside them new ones for the slots that have none.
    /// `None` if they are of no use.
    pub(super) fn bind(&self, listener: &Listener, slots: usize) -> Option<io::Result<Bound>> {
        match &listener.bind {
            Address::Unix(path) => self.bind_unix(path).map(Ok),
            Address::Tcp { .. } => self.bind_tcp(listener, slots),
        }
    }

    fn bind_tcp(&self, listener: &Listener, slots: usize) -> Option<io::Result<Bound>> {
        let first = SockRef::from(&**self.0.values().next()?);
        let address = first.local_addr().ok()?.as_socket()?;
        let bind = listener.bind.to_string();
        if !first.reuse_port().unwrap_or(true) {
            return self.bind_shared(address, &bind);
        }
        let socket = |slot| match self.0.get(&slot) {
            Some(found) if repair::reopen(found, Some(address), &bind) => Ok(Arc::clone(found)),
            _ => listen(address, listener.freebind).map(|it| Arc::new(it.into())),
        };
        let sockets: io::Result<Vec<_>> = (0..slots).map(socket).collect();
        Some(sockets.map(|sockets| Bound {
            sockets,
            address: address.to_string(),
            owner: Owner::Daemon,
        }))
    }

    /// Goes on with a socket that systemd has bound, and passes no more because its socket unit was stopped: no other can
    /// be bound beside it. `None` if it can no longer listen.
    fn bind_shared(&self, address: SocketAddr, bind: &str) -> Option<io::Result<Bound>> {
        let socket = self.0.values().next()?;
        repair::reopen(socket, Some(address), bind).then(|| {
            Ok(Bound {
                sockets: vec![Arc::clone(socket)],
                address: address.to_string(),
                owner: Owner::Daemon,
            })
        })
    }

    /// Goes on with a socket whose file still leads to it.
    fn bind_unix(&self, path: &Path) -> Option<Bound> {
        let socket = self.0.values().next()?;
        let file = SocketFile::of(path).ok()?;
        let is_whole = repair::reopen(socket, None, &path.display().to_string());
        // Where a name was taken by another socket, this one would wait for clients that cannot come.
        (is_whole && is_listened_at(path)).then(|| Bound {
            sockets: vec![Arc::clone(socket)],
            address: format!("unix:{}", path.display()),
            owner: Owner::DaemonAt(file),
        })
    }
}

/// Returns whether a socket listens at this path. Does not wait, however many clients do.
fn is_listened_at(path: &Path) -> bool {
    match listening::knock(path) {
        Ok(()) => true,
        // Its queue is full.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Returns whether a socket that a worker has told of listens, and can be one of the listener of this key: a worker that
/// was taken over may send anything.
pub(in crate::supervisor) fn listens_for(key: &ListenerKey, socket: &OwnedFd) -> bool {
    let socket = SockRef::from(socket);
    let listens =
        socket.r#type().is_ok_and(|it| it == Type::STREAM) && socket.is_listener().unwrap_or(false);
    let (Ok(bound), Ok(wanted)) = (socket.local_addr(), key.bind.parse::<Address>()) else {
        return false;
    };
    let is_there = match wanted {
        Address::Unix(path) => bound.as_pathname() == Some(&path),
        Address::Tcp { host, port } => bound.as_socket().is_some_and(|bound| {
            // What a name meant when it was bound is not known.
            let ip = host.parse::<IpAddr>();
            let has_ip = ip.map_or(true, |ip| bound.ip() == ip);
            has_ip && (port == 0 || bound.port() == port)
        }),
    };
    listens && is_there
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{TcpListener, TcpStream},
        os::unix::net::{UnixListener, UnixStream},
        time::Duration,
    };

    use super::*;
    use crate::{
        supervisor::{
            activation::PassedSockets,
            workers::sockets::{Binder, Sockets, testing::reserved},
        },
        tls::testing,
    };

    fn listener(bind: &str) -> Listener {
        let mut listener = testing::listener(&[]);
        listener.bind = bind.parse().unwrap();
        listener
    }

    fn binder(slots: usize) -> Binder {
        Sockets::new(slots, PassedSockets::default()).binder()
    }

    /// Binds what an earlier supervisor of two slots would have; returns a listener at its address, and the sockets.
    fn earlier() -> (Listener, Vec<(ListenerKey, usize, OwnedFd)>) {
        let (_reserved, address) = reserved();
        let listener = listener(&address.to_string());
        let of = |slot| {
            let socket = listen(address, false).unwrap();
            (ListenerKey::of(&listener), slot, socket.into())
        };
        let sockets = vec![of(0), of(1)];
        (listener, sockets)
    }

    fn cookies(sockets: &[(ListenerKey, usize, OwnedFd)]) -> Vec<u64> {
        let all = sockets.iter();
        all.map(|it| SockRef::from(&it.2).cookie().unwrap())
            .collect()
    }

    #[test]
    fn sockets_that_were_found_are_used_and_missing_ones_bound_beside_them() {
        let (listener, sockets) = earlier();
        let before = cookies(&sockets);
        let found = FoundSockets::new(sockets);
        let all = std::slice::from_ref(&listener);
        let bindings = binder(3).bind(all, Duration::ZERO, found).unwrap();
        let now: Vec<u64> = (0..3)
            .map(|slot| {
                SockRef::from(&*bindings.of_slot(slot)[0].1)
                    .cookie()
                    .unwrap()
            })
            .collect();
        assert_eq!(now[..2], before[..]);
        assert!(!before.contains(&now[2]));
    }

    #[test]
    fn a_socket_that_was_shut_down_is_bound_anew_and_what_is_configured_no_more_is_closed() {
        let (first, mut sockets) = earlier();
        let socket = SockRef::from(&sockets[0].2);
        socket.shutdown(std::net::Shutdown::Both).unwrap();
        let (other, others) = earlier();
        sockets.extend(others);
        let found = FoundSockets::new(sockets);
        let all = std::slice::from_ref(&first);
        let bindings = binder(2).bind(all, Duration::ZERO, found).unwrap();
        assert_eq!(bindings.of_slot(0).len(), 1);
        TcpStream::connect(first.bind.to_string()).unwrap();
        TcpStream::connect(other.bind.to_string()).unwrap_err();
    }

    #[test]
    fn a_socket_of_a_file_is_used_as_long_as_the_file_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let listener = listener(&format!("unix:{}", path.display()));
        let before = UnixListener::bind(&path).unwrap();
        let cookie = SockRef::from(&before).cookie().unwrap();
        let found = |socket: &UnixListener| {
            let socket = socket.try_clone().unwrap().into();
            FoundSockets::new(vec![(ListenerKey::of(&listener), 0, socket)])
        };
        let all = std::slice::from_ref(&listener);
        let bindings = binder(2).bind(all, Duration::ZERO, found(&before)).unwrap();
        let socket = bindings.of_slot(1).remove(0).1;
        assert_eq!(SockRef::from(&*socket).cookie().unwrap(), cookie);
        std::fs::remove_file(&path).unwrap();
        let bindings = binder(2).bind(all, Duration::ZERO, found(&before)).unwrap();
        let socket = bindings.of_slot(1).remove(0).1;
        assert_ne!(SockRef::from(&*socket).cookie().unwrap(), cookie);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_used_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let listener = listener(&format!("unix:{}", path.display()));
        let before = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&before, 0).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        let socket = before.try_clone().unwrap().into();
        let found = FoundSockets::new(vec![(ListenerKey::of(&listener), 0, socket)]);
        let of_it = &found.all[&ListenerKey::of(&listener)];
        assert!(of_it.bind_unix(&path).is_some());
    }

    #[test]
    fn a_socket_that_cannot_be_the_listener_s_is_not_taken() {
        let (listener, sockets) = earlier();
        let key = ListenerKey::of(&listener);
        assert!(listens_for(&key, &sockets[0].2));
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let (stream, mut other) = UnixStream::pair().unwrap();
        let wrong = [
            OwnedFd::from(elsewhere),
            OwnedFd::from(stream),
            std::fs::File::open("/dev/null").unwrap().into(),
        ];
        let wrong = wrong.map(|socket| (key.clone(), 0, socket));
        assert!(wrong.iter().all(|it| !listens_for(&key, &it.2)));
        let mut found = FoundSockets::new(wrong.into());
        assert!(found.take(&key).is_none());
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
    }
}
