//! Listening sockets that a worker has shut down or set to block.
//!
//! A worker shares each listening socket with the supervisor and with other workers, and what it does to
//! the socket holds for all of them (shutdown(2), and `O_NONBLOCK` in open(2)).

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{error, warn};

use super::sockets::{BACKLOG, Bound, Sockets, Stale};
use crate::link::ListenerKey;

/// How often the sockets are looked at, at most; after a worker's death they are looked at in any case.
const INTERVAL: Duration = Duration::from_millis(500);

/// When the sockets were looked at, and what is being bound anew.
#[derive(Debug, Default)]
pub(super) struct Repair {
    last: Option<Instant>,
    binding: Option<JoinHandle<Rebound>>,
}

/// What became of sockets that were to be bound anew, by listener.
type Rebound = Vec<(ListenerKey, io::Result<Bound>)>;

impl Repair {
    /// Lets no socket block, and has those listen again that were shut down, unless that was done a
    /// moment ago and is not `urgent`; returns whether workers have to be handed sockets again.
    pub(super) fn look(&mut self, sockets: &mut Sockets, urgent: bool, now: Instant) -> bool {
        let replaced = self.take_bound(sockets);
        let is_early = self.last.is_some_and(|last| now < last + INTERVAL);
        if is_early && !urgent {
            return replaced;
        }
        self.last = Some(now);
        let shut = sockets.reopen();
        if !shut.is_empty() && self.binding.is_none() {
            // The folder of a Unix listener may be on a disk that does not answer.
            self.binding = Some(spawn_blocking(move || {
                let anew = |(key, stale): (ListenerKey, Stale)| (key, stale.bind());
                shut.into_iter().map(anew).collect()
            }));
        }
        replaced
    }

    /// Puts in force what was bound anew; returns whether there is any.
    fn take_bound(&mut self, sockets: &mut Sockets) -> bool {
        let Some(bound) = self.binding.take_if(|it| it.is_finished()) else {
            return false;
        };
        let mut replaced = false;
        for (key, bound) in bound
            .now_or_never()
            .and_then(Result::ok)
            .unwrap_or_default()
        {
            match bound {
                Ok(bound) => {
                    warn!(
                        bind = key.bind,
                        "a listening socket that a worker had shut down was bound again"
                    );
                    replaced |= sockets.replace(&key, bound);
                }
                Err(error) => error!(
                    bind = key.bind,
                    %error,
                    "a listening socket that a worker has shut down cannot be bound again; clients are \
                     refused there until the supervisor succeeds, which tries it again"
                ),
            }
        }
        replaced
    }
}

/// Lets a socket not block, and listen again if it was shut down; returns whether it listens where it did.
///
/// A port that the kernel chose is lost with the end of listening.
pub(super) fn reopen(socket: &Arc<OwnedFd>, bind: &str) -> bool {
    let _ = rustix::io::ioctl_fionbio(&**socket, true);
    if !is_shut(socket) {
        return true;
    }
    let address = || SockRef::from(&**socket).local_addr().ok()?.as_socket();
    let before = address();
    let listens = before.is_some_and(|it| it.port() != 0)
        && rustix::net::listen(&**socket, BACKLOG).is_ok()
        && !is_shut(socket)
        && address() == before;
    if listens {
        warn!(
            bind,
            "a listening socket that a worker had shut down listens again"
        );
    }
    listens
}

/// Returns whether a listening socket was shut down: one that listens never hangs up. A Unix socket that
/// was shut down for reading alone hangs up for reading alone.
fn is_shut(socket: &Arc<OwnedFd>) -> bool {
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

    use super::*;

    #[test]
    fn a_tcp_socket_that_was_shut_down_listens_again_and_does_not_block() {
        let chosen = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = chosen.local_addr().unwrap();
        let socket = Arc::new(OwnedFd::from(chosen));
        assert!(reopen(&socket, "main"));
        SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
        rustix::io::ioctl_fionbio(&*socket, false).unwrap();
        assert!(TcpStream::connect(address).is_err());
        assert!(!reopen(&socket, "main"), "its port is lost");
        drop(socket);
        let bound = Stale::Tcp(address, 1).bind().unwrap();
        let socket = bound.of_slot(0).unwrap();
        SockRef::from(&*socket).shutdown(Shutdown::Both).unwrap();
        assert!(reopen(&socket, "main"));
        let listener = TcpListener::from(socket.try_clone().unwrap());
        let _client = TcpStream::connect(address).unwrap();
        listener.accept().unwrap();
        assert!(fcntl_getfl(&*socket).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_unix_socket_that_was_shut_down_is_bound_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut socket = Arc::new(OwnedFd::from(UnixListener::bind(&path).unwrap()));
        for how in [Shutdown::Both, Shutdown::Read] {
            assert!(reopen(&socket, "main"));
            SockRef::from(&*socket).shutdown(how).unwrap();
            assert!(!reopen(&socket, "main"), "{how:?}");
            assert!(UnixStream::connect(&path).is_err());
            let bound = Stale::Unix(Path::new(&path).to_owned()).bind().unwrap();
            UnixStream::connect(&path).unwrap();
            socket = bound.of_slot(0).unwrap();
        }
    }
}
