//! The service manager's socket.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::BorrowedFd,
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use rustix::net::SocketAddrUnix;

use super::Send;
use crate::sys::fds;

/// A socket of this process, and the address of the service manager.
#[derive(Debug)]
pub(in crate::supervisor) struct Socket {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Socket {
    /// Takes an address as `NOTIFY_SOCKET` gives it: a path, or an abstract name behind `@`.
    ///
    /// Returns `None` for an address of another kind, and if no socket can be made: the daemon then runs
    /// as if there were no service manager.
    pub(super) fn new(address: &OsStr) -> Option<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
            [b'/', ..] => SocketAddr::from_pathname(address).ok()?,
            _ => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, address })
    }
}

impl Send for Socket {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.socket.send_to_addr(message, &self.address).map(|_| ())
    }

    fn send_with(&self, message: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let address = match (self.address.as_pathname(), self.address.as_abstract_name()) {
            (Some(path), _) => SocketAddrUnix::new(path)?,
            (None, Some(name)) => SocketAddrUnix::new_abstract_name(name)?,
            (None, None) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        fds::send_packet_to(&self.socket, &address, message, &[descriptor])
    }
}
