//! What sockets of sessions have to be and do so that another process can go on with them (socket(7), unix(7)).

#![expect(unsafe_code, reason = "no crate here has a safe form of SO_PEEK_OFF")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use nix::libc::{self, c_int, socklen_t};
use rustix::net::{connect_unspec, ipproto, sockopt};
use socket2::SockRef;

/// What `SO_PEEK_OFF` is where peeking does not move.
const NO_OFFSET: c_int = -1;

/// Has urgent bytes read as part of the stream (`SO_OOBINLINE` in socket(7)), without which the kernel's counts
/// do not add up ([`super::tcp_counts`]).
pub fn oob_inline(socket: impl AsFd) -> io::Result<()> {
    SockRef::from(&socket).set_out_of_band_inline(true)
}

/// Tells whether a socket is one of TCP itself (`SO_PROTOCOL` in socket(7)): the kernel counts the bytes of MPTCP
/// and SMC elsewhere.
pub fn is_tcp(socket: impl AsFd) -> io::Result<bool> {
    Ok(sockopt::socket_protocol(socket)? == Some(ipproto::TCP))
}

/// Resets a connection, even while other processes hold its socket (`AF_UNSPEC` in connect(2)).
///
/// What waits in it, either way, is dropped. A connection whose both ends were sent and acknowledged sends no
/// reset any more.
pub fn reset(socket: impl AsFd) -> io::Result<()> {
    Ok(connect_unspec(socket)?)
}

/// Sets where a peek at a Unix stream begins: this many bytes behind the first that is unread; `None` has all
/// peeks begin at the first (`SO_PEEK_OFF` in socket(7)).
///
/// A peek then moves the offset by what it peeked, and a read moves it back by what it read. It belongs to the
/// socket, not to the process.
pub fn peek_from(socket: impl AsFd, offset: Option<i32>) -> io::Result<()> {
    let offset: c_int = offset.unwrap_or(NO_OFFSET);
    // SAFETY: the descriptor is open while it is borrowed; the kernel reads one number of this type.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const offset).cast(),
            LENGTH,
        )
    };
    checked(result)
}

/// Returns where the next peek at a Unix stream begins ([`peek_from`]); -1 stands for no offset.
pub fn peek_offset(socket: impl AsFd) -> io::Result<i32> {
    let mut offset: c_int = NO_OFFSET;
    let mut length = LENGTH;
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `length` bytes, which is
    // the size of the number.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw mut offset).cast(),
            &raw mut length,
        )
    };
    checked(result).map(|()| offset)
}

/// Bytes of a number that an option holds. It fits.
#[expect(clippy::cast_possible_truncation)]
const LENGTH: socklen_t = size_of::<c_int>() as socklen_t;

fn checked(result: c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests;
