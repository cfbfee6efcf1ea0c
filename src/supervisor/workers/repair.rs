//! Listening sockets that a worker has shut down, connected or set to block.
//!
//! A worker shares each listening socket with the supervisor and with other workers, and what it does to
//! the socket holds for all of them (shutdown(2), connect(2), and `O_NONBLOCK` in open(2)).

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, warn};

use super::{
    passed::LOST,
    sockets::{BACKLOG, Bound, SocketFile, Sockets, Stale},
};
use crate::{link::ListenerKey, sys::tune::tune_listening};

/// How often the sockets are looked at, at most; after a worker's death they are looked at in any case.
const INTERVAL: Duration = Duration::from_millis(500);

/// When the sockets were looked at, and what is being bound anew.
#[derive(Debug, Default)]
pub(super) struct Repair {
    last: Option<Instant>,
    binding: Option<JoinHandle<Rebound>>,
    /// The listeners whose sockets systemd alone can bind anew, which was logged.
    lost: BTreeSet<ListenerKey>,
}

/// What a look at the sockets leads to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Whether workers have to be handed sockets again.
    pub(super) replaced: bool,
    /// Files of sockets that were bound anew for listeners that are gone.
    pub(super) unwanted: Vec<SocketFile>,
}

/// What became of sockets that were to be bound anew, by listener.
type Rebound = Vec<(ListenerKey, io::Result<Bound>)>;

impl Repair {
    /// Lets no socket block, and has those listen again that were shut down, unless that was done a
    /// moment ago and is not `urgent`.
    pub(super) fn look(&mut self, sockets: &mut Sockets, urgent: bool, now: Instant) -> Looked {
        let looked = self.take_bound(sockets);
        let is_early = self.last.is_some_and(|last| now < last + INTERVAL);
        if is_early && !urgent {
            return looked;
        }
        self.last = Some(now);
        let shut = self.without_lost(sockets.reopen());
        if !shut.is_empty() && self.binding.is_none() {
            // The folder of a Unix listener may be on a disk that does not answer.
            self.binding = Some(spawn_blocking(move || {
                let anew = |(key, stale): (ListenerKey, Stale)| (key, stale.bind());
                shut.into_iter().map(anew).collect()
            }));
        }
        looked
    }

    /// Logs, once for each, which sockets systemd alone can bind anew; returns the others.
    fn without_lost(
        &mut self,
        shut: Vec<(ListenerKey, Option<Stale>)>,
    ) -> Vec<(ListenerKey, Stale)> {
        let mut lost = BTreeSet::new();
        let mut stale = Vec::new();
        for (key, it) in shut {
            match it {
                Some(it) => stale.push((key, it)),
                None => drop(lost.insert(key)),
            }
        }
        for key in lost.difference(&self.lost) {
            error!(
                bind = key.bind,
                "a worker has shut down a listening socket that systemd passes, and clients are refused there: {LOST}"
            );
        }
        self.lost = lost;
        stale
    }

    /// Waits until what is being bound anew is bound, and closes it; returns the files to remove.
    pub(super) async fn finish(&mut self) -> Vec<SocketFile> {
        let Some(binding) = self.binding.take() else {
            return Vec::new();
        };
        let bound = binding.await.unwrap_or_default().into_iter();
        bound.filter_map(|(_, bound)| bound.ok()?.close()).collect()
    }

    /// Puts in force what was bound anew.
    fn take_bound(&mut self, sockets: &mut Sockets) -> Looked {
        let mut looked = Looked::default();
        let Some(bound) = self.binding.take_if(|it| it.is_finished()) else {
            return looked;
        };
        for (key, bound) in bound
            .now_or_never()
            .and_then(Result::ok)
            .unwrap_or_default()
        {
            match bound {
                Ok(bound) => match sockets.replace(&key, bound) {
                    Ok(()) => {
                        looked.replaced = true;
                        warn!(
                            bind = key.bind,
                            "a listening socket that a worker had shut down was bound again"
                        );
                    }
                    Err(file) => looked.unwanted.extend(file),
                },
                Err(error) => error!(
                    bind = key.bind,
                    %error,
                    "a listening socket that a worker has shut down cannot be bound again; clients are \
                     refused there until the supervisor succeeds, which tries it again"
                ),
            }
        }
        looked
    }
}

/// Lets a socket not block and have its options again, and listen again if it does not; returns whether it
/// listens at `address`, which a Unix socket has none of.
///
/// A port that the kernel chose is lost with the end of listening, and a socket that was connected may have
/// another address.
pub(super) fn reopen(socket: &Arc<OwnedFd>, address: Option<SocketAddr>, bind: &str) -> bool {
    let _ = rustix::io::ioctl_fionbio(&**socket, true);
    if address.is_some() {
        // Accepted connections have the options of the socket that they came to.
        let _ = tune_listening(&SockRef::from(&**socket));
    }
    if !is_shut(socket) {
        return true;
    }
    let now = || SockRef::from(&**socket).local_addr().ok()?.as_socket();
    let is_there = || now() == address;
    let listens = address.is_some()
        && is_there()
        && rustix::net::listen(&**socket, BACKLOG).is_ok()
        && !is_shut(socket)
        && is_there();
    if listens {
        warn!(
            bind,
            "a listening socket that a worker had shut down listens again"
        );
    }
    listens
}

/// Returns whether a listening socket takes no more clients.
///
/// One that takes them never hangs up. A Unix socket that was shut down still says that it listens, and
/// hangs up, for reading alone if it was shut down for that alone. A TCP socket that was connected need not
/// hang up, and no longer says that it listens.
fn is_shut(socket: &Arc<OwnedFd>) -> bool {
    if !rustix::net::sockopt::socket_acceptconn(&**socket).unwrap_or(true) {
        return true;
    }
    let ends = PollFlags::HUP | PollFlags::RDHUP;
    let mut asked = [PollFd::from_borrowed_fd(socket.as_fd(), ends)];
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_ok() && asked[0].revents().intersects(ends)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Shutdown, TcpListener, TcpStream},
        os::unix::net::{UnixListener, UnixStream},
        path::Path,
    };

    use rustix::fs::{OFlags, fcntl_getfl};
    use socket2::TcpKeepalive;

    use super::*;
    use crate::{
        config::Address,
        supervisor::{
            activation::PassedSockets,
            workers::{
                FoundSockets,
                sockets::{listen, testing::reserved},
            },
        },
        tls::testing,
    };

    #[test]
    fn a_tcp_socket_that_was_shut_down_listens_again_and_does_not_block() {
        let chosen = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = chosen.local_addr().unwrap();
        let socket = Arc::new(OwnedFd::from(chosen));
        let here = Some(address);
        assert!(reopen(&socket, here, "main"));
        SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
        rustix::io::ioctl_fionbio(&*socket, false).unwrap();
        assert!(TcpStream::connect(address).is_err());
        assert!(!reopen(&socket, here, "main"), "its port is lost");
        drop(socket);
        let bound = Stale::Tcp(address, 1).bind().unwrap();
        let socket = bound.of_slot(0).unwrap();
        SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
        assert!(reopen(&socket, here, "main"));
        let listener = TcpListener::from(socket.try_clone().unwrap());
        let _client = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
        assert!(fcntl_getfl(&*socket).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_tcp_socket_that_was_connected_elsewhere_is_bound_anew() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = elsewhere.local_addr().unwrap();
        let (_reserved, address) = reserved();
        let bound = Stale::Tcp(address, 1).bind().unwrap();
        let socket = bound.of_slot(0).unwrap();
        SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
        // It does not block.
        let _ = SockRef::from(&*socket).connect(&to.into());
        assert!(!reopen(&socket, Some(address), "main"));
        let bound = Stale::Tcp(address, 1).bind().unwrap();
        let socket = bound.of_slot(0).unwrap();
        assert!(reopen(&socket, Some(address), "main"));
        let _client = TcpStream::connect(address).unwrap();
        TcpListener::from(socket.try_clone().unwrap())
            .accept()
            .unwrap();
    }

    #[test]
    fn options_that_were_set_on_a_listening_socket_are_undone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().ok();
        let socket = Arc::new(OwnedFd::from(listener));
        let options = SockRef::from(&*socket);
        assert!(reopen(&socket, address, "main"));
        let interval = options.tcp_keepalive_interval().unwrap();
        let other = TcpKeepalive::new().with_interval(interval * 2);
        options.set_tcp_keepalive(&other).unwrap();
        options.set_keepalive(false).unwrap();
        options.set_tcp_nodelay(false).unwrap();
        options.set_linger(Some(Duration::ZERO)).unwrap();
        assert!(reopen(&socket, address, "main"));
        assert_eq!(options.tcp_keepalive_interval().unwrap(), interval);
        assert!(options.keepalive().unwrap() && options.tcp_nodelay().unwrap());
        assert_eq!(options.linger().unwrap(), None);
    }

    /// A listener at a Unix socket that was shut down, and a look that has it bound anew.
    fn bound_anew(path: &Path) -> (Sockets, Repair) {
        let mut listener = testing::listener(&[]);
        listener.bind = Address::Unix(path.to_owned());
        let mut sockets = Sockets::new(1, PassedSockets::default());
        let bindings = sockets.binder().bind(
            std::slice::from_ref(&listener),
            Duration::ZERO,
            FoundSockets::default(),
        );
        sockets.commit(bindings.unwrap(), &[listener]);
        let (_, socket) = sockets.of_slot(0).remove(0);
        SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
        let mut repair = Repair::default();
        assert!(!repair.look(&mut sockets, true, Instant::now()).replaced);
        (sockets, repair)
    }

    #[tokio::test]
    async fn a_listener_that_ends_while_it_is_bound_anew_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (mut sockets, mut repair) = bound_anew(&path);
        let mut files = sockets.close();
        repair.binding = Some(bound(repair.binding.take()).await);
        let looked = repair.look(&mut sockets, true, Instant::now());
        assert!(!looked.replaced);
        files.extend(looked.unwanted);
        files.iter().for_each(SocketFile::remove);
        assert!(!path.exists());
    }

    /// Waits until all is bound, and gives it back.
    async fn bound(binding: Option<JoinHandle<Rebound>>) -> JoinHandle<Rebound> {
        let rebound = binding.unwrap().await.unwrap();
        let done = tokio::spawn(async { rebound });
        while !done.is_finished() {
            tokio::task::yield_now().await;
        }
        done
    }

    #[tokio::test]
    async fn a_daemon_that_ends_while_a_socket_is_bound_anew_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (mut sockets, mut repair) = bound_anew(&path);
        let mut files = sockets.close();
        files.extend(repair.finish().await);
        files.iter().for_each(SocketFile::remove);
        assert!(!path.exists());
    }

    /// Listens with a socket that systemd has passed; then a worker shuts it down.
    fn passed_and_shut(socket: OwnedFd, bind: Address) -> Sockets {
        let passed = PassedSockets::new(vec![("proxyd.socket".to_owned(), socket)]);
        let mut listener = testing::listener(&[]);
        listener.bind = bind;
        let mut sockets = Sockets::new(2, passed);
        let bindings = sockets.binder().bind(
            std::slice::from_ref(&listener),
            Duration::ZERO,
            FoundSockets::default(),
        );
        sockets.commit(bindings.unwrap(), &[listener]);
        assert!(sockets.own().is_empty(), "it is systemd's");
        let (_, socket) = sockets.of_slot(1).remove(0);
        SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
        sockets
    }

    #[test]
    fn a_tcp_socket_of_systemd_that_was_shut_down_listens_again() {
        // A port that the kernel chose is lost with the end of listening.
        let (_reserved, address) = reserved();
        let socket = listen(address, false).unwrap();
        let bind = address.to_string().parse().unwrap();
        let mut sockets = passed_and_shut(socket.into(), bind);
        let mut repair = Repair::default();
        repair.look(&mut sockets, true, Instant::now());
        TcpStream::connect(address).unwrap();
        assert!(repair.lost.is_empty());
    }

    #[test]
    fn a_unix_socket_of_systemd_that_was_shut_down_is_left_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = UnixListener::bind(&path).unwrap();
        let mut sockets = passed_and_shut(socket.into(), Address::Unix(path.clone()));
        let mut repair = Repair::default();
        for _ in 0..2 {
            repair.look(&mut sockets, true, Instant::now());
            assert!(repair.binding.is_none());
            assert_eq!(repair.lost.len(), 1);
        }
        assert!(sockets.close().is_empty());
        assert!(path.exists());
    }

    #[test]
    fn a_unix_socket_that_was_shut_down_is_bound_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut socket = Arc::new(OwnedFd::from(UnixListener::bind(&path).unwrap()));
        for how in [Shutdown::Both, Shutdown::Read] {
            assert!(reopen(&socket, None, "main"));
            SockRef::from(&*socket).shutdown(how).unwrap();
            assert!(!reopen(&socket, None, "main"), "{how:?}");
            assert!(UnixStream::connect(&path).is_err());
            let bound = Stale::Unix(Path::new(&path).to_owned()).bind().unwrap();
            UnixStream::connect(&path).unwrap();
            socket = bound.of_slot(0).unwrap();
        }
    }
}
