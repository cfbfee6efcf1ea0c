//! The sockets of sessions: what is kept of those that a worker sends, and how they are closed.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    net::{AddressFamily, SocketType, sockopt},
};
use socket2::SockRef;

use super::estate::Table;
use crate::sys::child::Jobs;

/// The two sockets of a session: its client's, then its backend's.
pub(in crate::supervisor) type Pair = [Arc<OwnedFd>; 2];

/// Returns whether a descriptor is a stream socket that may be connected: a worker that was taken over may
/// send anything.
pub(in crate::supervisor) fn is_stream(descriptor: impl AsFd) -> bool {
    let families = [
        AddressFamily::INET,
        AddressFamily::INET6,
        AddressFamily::UNIX,
    ];
    let descriptor = descriptor.as_fd();
    sockopt::socket_type(descriptor).is_ok_and(|it| it == SocketType::STREAM)
        && sockopt::socket_domain(descriptor).is_ok_and(|it| families.contains(&it))
        && sockopt::socket_acceptconn(descriptor).is_ok_and(|listens| !listens)
}

/// Lets no read and no write of a socket wait: the flag belongs to all that have the socket, so the worker that
/// ended may have changed it.
pub(super) fn unblock(socket: impl AsFd) {
    if let Ok(flags) = fcntl_getfl(&socket)
        && !flags.contains(OFlags::NONBLOCK)
    {
        // The heir would find out; it is not believed either.
        let _ = fcntl_setfl(&socket, flags | OFlags::NONBLOCK);
    }
}

/// Closes sockets on a thread of its own: to close ten thousand takes a while, and a worker that was taken over
/// may have set a socket to wait for its peer (`SO_LINGER` in socket(7)).
#[derive(Debug)]
pub(super) struct Closer(Jobs);

impl Closer {
    /// Starts the thread.
    pub(super) fn new() -> io::Result<Self> {
        Jobs::new("session-ends").map(Self)
    }

    /// Closes tables, which takes a while where much memory was written.
    pub(super) fn close_tables(&self, tables: impl IntoIterator<Item = Table>) {
        let tables: Vec<Table> = tables.into_iter().collect();
        if !tables.is_empty() {
            self.0.add(move || drop(tables));
        }
    }

    /// Closes sockets, unless they are in use elsewhere.
    pub(super) fn close(&self, sockets: impl IntoIterator<Item = Pair>) {
        let sockets: Vec<Pair> = sockets.into_iter().collect();
        if !sockets.is_empty() {
            self.0
                .add(move || sockets.iter().flatten().for_each(|it| end_linger(it)));
        }
    }
}

/// Lets a socket be closed without a wait.
fn end_linger(socket: &OwnedFd) {
    let options = SockRef::from(socket);
    // No time at all means a reset, which waits for nothing.
    if options
        .linger()
        .is_ok_and(|linger| linger.is_some_and(|it| it > Duration::ZERO))
    {
        let _ = options.set_linger(None);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    };

    use super::*;
    use crate::link::end;

    #[test]
    fn only_stream_sockets_that_do_not_listen_are_of_sessions() {
        let (unix, _other) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("[::1]:0")
            .or_else(|_| TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(is_stream(&unix) && is_stream(&tcp));
        assert!(!is_stream(&listener));
        assert!(!is_stream(UdpSocket::bind("127.0.0.1:0").unwrap()));
        assert!(!is_stream(UnixDatagram::pair().unwrap().0));
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        assert!(!is_stream(listener));
        assert!(!is_stream(end::pair().unwrap().0));
        assert!(!is_stream(std::fs::File::open("/dev/null").unwrap()));
    }

    #[test]
    fn a_socket_that_was_set_to_wait_does_not_wait_again() {
        let (socket, _other) = UnixStream::pair().unwrap();
        unblock(&socket);
        let error = (&socket).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_that_lingers_keeps_no_other_from_being_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let linger = Some(Duration::from_secs(3600));
        SockRef::from(&stream).set_linger(linger).unwrap();
        let (last, mut other) = UnixStream::pair().unwrap();
        let pair = [OwnedFd::from(stream), last.into()].map(Arc::new);
        Closer::new().unwrap().close([pair]);
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
    }
}
