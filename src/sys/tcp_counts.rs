//! How many bytes processes have read from a TCP connection, and written to it, since it was connected.
//!
//! The kernel knows this whichever process did it, so that a process can go on with the connection of one that
//! was killed between two system calls. Its counts are of sequence numbers (`tcp_info` in `<linux/tcp.h>`,
//! tcp(7)), and a FIN takes one of those too:
//!
//! | state of the socket | own FIN sent | peer's FIN received | [`TcpCounts::read`] | [`TcpCounts::written`] |
//! |---|---|---|---|---|
//! | 1 ESTABLISHED | no | no | received − unread | acknowledged + waiting |
//! | 4 FIN-WAIT-1, 5 FIN-WAIT-2 | yes | no | received − unread | acknowledged + waiting − 1 |
//! | 8 CLOSE-WAIT | no | yes | received − unread − 1 | acknowledged + waiting |
//! | 9 LAST-ACK, 11 CLOSING | yes | yes | received − unread − 1 | acknowledged + waiting − 1 |
//! | 7 CLOSE, by the two FINs | yes | yes | received − unread − 1 | one too many |
//! | 7 CLOSE, by a reset | perhaps | perhaps | perhaps one too few | perhaps one too many |
//!
//! A socket whose both FINs were acknowledged is in CLOSE; TIME-WAIT is not a process's to see. Which FINs there were
//! then, [`TcpCounts::peer_ended`] tells where it can be known. A SYN counts as acknowledged, so that the end that
//! connected begins with
//! [`OPENER_WRITTEN`]. An urgent byte fits the sums only where it is read as part of the stream (`SO_OOBINLINE`).

#![expect(unsafe_code, reason = "no crate here has a safe form of SIOCOUTQ")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use nix::libc;
use rustix::io::ioctl_fionread;

use super::tcp_info::ask;

mod self_test;

pub use self::self_test::self_test;

/// What [`TcpCounts::written`] is for the end that connected, before a process wrote anything: its SYN. The end
/// that accepted begins with 0, and both begin with 0 bytes read.
pub const OPENER_WRITTEN: u64 = 1;

/// How often the kernel is asked until two answers fit each other. Each answer takes about a microsecond, and
/// only a packet that comes between two of them makes them differ.
const ATTEMPTS: u32 = 10_000;

/// How much of `struct tcp_info` is asked for: up to the last field that is read here.
const LENGTH: usize = 136;

/// Where the fields are in it, as `<linux/tcp.h>` has them; they do not move.
mod at {
    pub(super) const STATE: usize = 0;
    pub(super) const BYTES_ACKED: usize = 120;
    pub(super) const BYTES_RECEIVED: usize = 128;
}

/// States of a connection (`enum` in `<netinet/tcp.h>`).
mod state {
    pub(super) const FIN_WAIT1: u8 = 4;
    pub(super) const FIN_WAIT2: u8 = 5;
    pub(super) const CLOSE: u8 = 7;
    pub(super) const CLOSE_WAIT: u8 = 8;
    pub(super) const LAST_ACK: u8 = 9;
    pub(super) const CLOSING: u8 = 11;
}

/// The kernel's counts of a connection at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpCounts {
    /// The state (`<netinet/tcp.h>`).
    pub state: u8,
    /// Sequence numbers received in order: bytes, and the FIN of the peer.
    pub received: u64,
    /// Bytes received that no process has read.
    pub unread: u64,
    /// Sequence numbers that the peer has acknowledged: the SYN of the end that connected, bytes, and the FIN.
    pub acknowledged: u64,
    /// Sequence numbers written, which the peer has not acknowledged, sent or not.
    pub waiting: u64,
}

/// What `TCP_INFO` tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Info {
    state: u8,
    received: u64,
    acknowledged: u64,
}

impl TcpCounts {
    /// Asks the kernel, until its answers are of one moment.
    ///
    /// That is so once no packet came between them, provided that no other process reads or writes meanwhile.
    /// Fails with [`io::ErrorKind::WouldBlock`] if packets keep coming between them, and for a socket that is
    /// not a connection of TCP.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let mut before = Info::of(&socket)?;
        for _ in 0..ATTEMPTS {
            let unread = ioctl_fionread(&socket)?;
            let waiting = waiting(&socket)?;
            let after = Info::of(&socket)?;
            if before == after {
                return Ok(Self {
                    state: after.state,
                    received: after.received,
                    unread,
                    acknowledged: after.acknowledged,
                    waiting,
                });
            }
            before = after;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Returns how many bytes processes have read.
    ///
    /// In CLOSE it is one too few if the peer's FIN never came: see [`Self::read_without_fin`].
    #[must_use]
    pub fn read(&self) -> u64 {
        let fin = matches!(
            self.state,
            state::CLOSE | state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING
        );
        self.read_without_fin().saturating_sub(u64::from(fin))
    }

    /// Returns how many bytes processes have read if no FIN of the peer came.
    #[must_use]
    pub fn read_without_fin(&self) -> u64 {
        self.received.saturating_sub(self.unread)
    }

    /// Returns how many bytes processes have written, and [`OPENER_WRITTEN`] more at the end that connected.
    ///
    /// In CLOSE it is one too many if this end's FIN was sent.
    #[must_use]
    pub fn written(&self) -> u64 {
        let fin = matches!(
            self.state,
            state::FIN_WAIT1 | state::FIN_WAIT2 | state::LAST_ACK | state::CLOSING
        );
        let all = self.acknowledged.saturating_add(self.waiting);
        all.saturating_sub(u64::from(fin))
    }

    /// Tells of a connection that is over whether the peer's FIN came before: it is what [`Self::read`] takes off;
    /// otherwise [`Self::read_without_fin`] is right. `None` where that cannot be known.
    ///
    /// `all` is what [`Self::written`] is without this end's FIN once all is written that there was to write, and
    /// `error` is that of the socket (`SO_ERROR`), which is told once and so must not have been told before to
    /// one that wrote.
    ///
    /// `tcp_reset` of the kernel gives a connection whose peer had ended EPIPE if this end had not, and ECONNRESET
    /// in all other states. If this end's FIN was acknowledged, all that a reset could have found is FIN-WAIT-2.
    #[must_use]
    pub fn peer_ended(&self, all: u64, error: Option<i32>) -> Option<bool> {
        let sequence = self.acknowledged.saturating_add(self.waiting);
        let has_ended = sequence == all.saturating_add(1);
        match error {
            Some(libc::EPIPE) => Some(true),
            Some(libc::ECONNRESET) if !has_ended || self.waiting == 0 => Some(false),
            None if has_ended && self.waiting == 0 => Some(true),
            _ => None,
        }
    }

    /// Tells whether the connection is over: both FINs were acknowledged, or it was reset. What is unread can
    /// still be read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == state::CLOSE
    }
}

impl Info {
    fn of(socket: impl AsFd) -> io::Result<Self> {
        let (bytes, told) = ask::<LENGTH>(socket)?;
        if told != LENGTH {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self::read(&bytes))
    }

    fn read(bytes: &[u8; LENGTH]) -> Self {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(number)
        };
        Self {
            state: bytes[at::STATE],
            received: number(at::BYTES_RECEIVED),
            acknowledged: number(at::BYTES_ACKED),
        }
    }
}

/// Returns how many sequence numbers were written and not acknowledged (`SIOCOUTQ` in tcp(7)).
fn waiting(socket: impl AsFd) -> io::Result<u64> {
    let mut number: libc::c_int = 0;
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes one number of this type there
    // (tcp(7)), whatever kind of descriptor it is (`TIOCOUTQ` in ioctl_tty(2)).
    let result =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut number) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests;
