//! A connected stream socket, TCP or Unix.

use std::{
    io,
    net::Shutdown,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, recv,
    sockopt::{socket_cookie, socket_domain},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{TcpStream, UnixStream},
};

use crate::sys::{keeping, tcp_info::TcpInfo};

/// A connected stream socket.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Takes a connection to a Unix socket, which the resolver has set not to block: a worker cannot change
    /// that of a descriptor.
    pub fn unix(connection: OwnedFd) -> io::Result<Self> {
        UnixStream::from_std(StdUnixStream::from(connection)).map(Self::Unix)
    }

    /// Takes a connection that another process has left behind, which does not block.
    pub fn take(connection: OwnedFd) -> io::Result<Self> {
        if socket_domain(&connection)? == AddressFamily::UNIX {
            return Self::unix(connection);
        }
        TcpStream::from_std(connection.into()).map(Self::Tcp)
    }

    /// Returns the addresses of the peer and of this end, if they are IP addresses.
    pub fn addresses(&self) -> Option<(std::net::SocketAddr, std::net::SocketAddr)> {
        match self {
            Self::Tcp(stream) => Some((stream.peer_addr().ok()?, stream.local_addr().ok()?)),
            Self::Unix(_) => None,
        }
    }

    /// Returns how the peer has ended the connection behind what was not read yet, as far as the kernel
    /// has told.
    pub fn end(&self) -> Option<SocketEnd> {
        let interest = Interest::READABLE | Interest::ERROR;
        let ready = match self {
            Self::Tcp(stream) => at_once(stream.ready(interest)),
            Self::Unix(stream) => at_once(stream.ready(interest)),
        };
        match ready {
            Some(Ok(ready)) if ready.is_error() => Some(SocketEnd::Broken),
            Some(Ok(ready)) if ready.is_read_closed() => Some(SocketEnd::Closed),
            _ => None,
        }
    }

    /// Returns the number by which the kernel knows the socket and no other (`SO_COOKIE`, socket(7)); 0 if it
    /// does not tell.
    pub fn cookie(&self) -> u64 {
        match self {
            Self::Tcp(stream) => socket_cookie(stream),
            Self::Unix(stream) => socket_cookie(stream),
        }
        .unwrap_or(0)
    }

    /// Returns what TCP knows of the connection; `None` for other sockets.
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        match self {
            Self::Tcp(stream) => TcpInfo::of(stream).ok(),
            Self::Unix(_) => None,
        }
    }

    /// Resets the connection, so that the kernel keeps nothing to send again to a peer that does not answer, also while
    /// other processes hold the socket.
    pub fn give_up(&self) {
        if let Self::Tcp(stream) = self {
            // If that fails, the kernel gives the connection up by itself.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = keeping::reset(stream);
        }
    }

    /// Ends both directions, also while other processes hold the socket.
    pub fn shut(&self) {
        // One that is not connected any more has ended already.
        let _ = match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Both),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Both),
        };
    }

    /// Reads from a Unix socket without taking anything from it, behind what was peeked at before (`SO_PEEK_OFF`,
    /// socket(7)).
    pub fn poll_peek(&self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self::Unix(stream) = self else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let peeked = stream.try_io(Interest::READABLE, || {
                let (peeked, _) = recv(stream, &mut *space, RecvFlags::PEEK)?;
                Ok(peeked)
            });
            match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return Poll::Ready(peeked),
            }
        }
    }

    /// Takes so many bytes, which have come already, from a Unix socket, and forgets them.
    pub fn discard(&self, mut bytes: usize) -> io::Result<()> {
        let Self::Unix(stream) = self else {
            return Ok(());
        };
        let mut space = [0; 4096];
        while bytes > 0 {
            let most = bytes.min(space.len());
            let (taken, _) = recv(stream, &mut space[..most], RecvFlags::empty())?;
            if taken == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes -= taken;
        }
        Ok(())
    }

    /// Returns another descriptor of the socket.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => stream.as_fd().try_clone_to_owned(),
            Self::Unix(stream) => stream.as_fd().try_clone_to_owned(),
        }
    }
}

/// How a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketEnd {
    /// The peer sends nothing more.
    Closed,
    /// The peer is gone.
    Broken,
}

/// Returns what is known without waiting.
fn at_once(ready: impl Future<Output = io::Result<Ready>>) -> Option<io::Result<Ready>> {
    match pin!(ready).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => Some(ready),
        Poll::Pending => None,
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
