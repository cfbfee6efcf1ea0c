//! What the kernel knows of a TCP connection (`TCP_INFO`, tcp(7)).

#![expect(
    unsafe_code,
    reason = "no crate here has a safe form of getsockopt(2) with TCP_INFO"
)]

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
    time::Duration,
};

use nix::libc;

/// How much of `struct tcp_info` is asked for: up to the last field that is read here.
const LENGTH: usize = 148;

/// Where the fields are in it, as `<linux/tcp.h>` has them; they do not move.
mod at {
    pub(super) const PROBES: usize = 3;
    pub(super) const UNACKED: usize = 24;
    pub(super) const LAST_DATA_SENT: usize = 44;
    pub(super) const LAST_DATA_RECEIVED: usize = 52;
    pub(super) const LAST_ACK_RECEIVED: usize = 56;
    pub(super) const UNSENT: usize = 144;
}

/// What one end of a TCP connection knows of what it sent, and of the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// Segments that were sent and are not acknowledged.
    pub unacknowledged: u32,
    /// Bytes that were written and not sent, such as for want of room at the peer.
    pub unsent: u32,
    /// Probes for room at the peer, or for its life, since the last of them that was answered.
    pub probes: u8,
    /// How long ago data was sent last, or sent again.
    pub sent: Duration,
    /// How long ago the last acknowledgement came.
    pub heard: Duration,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: the peer has all that was written.
    Nothing,
    /// For the peer to make room: it has answered all that it was sent or asked.
    Room,
    /// For an acknowledgement of what was sent last.
    Acknowledgement,
}

impl TcpInfo {
    /// Asks the kernel.
    ///
    /// Fails for a socket that is not one of TCP.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        let (bytes, _) = ask::<LENGTH>(socket)?;
        Ok(Self::read(&bytes))
    }

    /// What an older kernel does not tell is zero.
    fn read(bytes: &[u8; LENGTH]) -> Self {
        let number = |at: usize| {
            let mut number = [0; 4];
            number.copy_from_slice(&bytes[at..at + 4]);
            u32::from_ne_bytes(number)
        };
        let ago = |at| Duration::from_millis(number(at).into());
        Self {
            unacknowledged: number(at::UNACKED),
            unsent: number(at::UNSENT),
            probes: bytes[at::PROBES],
            sent: ago(at::LAST_DATA_SENT),
            // Data acknowledges too, but where it acknowledges nothing new, the kernel may note it as data
            // alone.
            heard: ago(at::LAST_ACK_RECEIVED).min(ago(at::LAST_DATA_RECEIVED)),
        }
    }

    /// Returns what the connection waits for.
    ///
    /// A peer that reads nothing has room for nothing. It answers what asks it for room, but it may be
    /// asked two minutes apart, so that the time since its last answer alone tells nothing. What was sent
    /// and found no room is sent again as such a question. A single question may be lost; two are not.
    #[must_use]
    pub fn wait(&self) -> Wait {
        if self.unacknowledged > 0 {
            if self.heard > self.sent {
                Wait::Acknowledgement
            } else {
                Wait::Room
            }
        } else if self.unsent == 0 {
            Wait::Nothing
        } else if self.probes > 1 {
            Wait::Acknowledgement
        } else {
            Wait::Room
        }
    }
}

/// Asks the kernel for the first `LENGTH` bytes of what it knows of a connection; returns them, zero where an older
/// kernel does not tell, and how many it told.
pub(super) fn ask<const LENGTH: usize>(socket: impl AsFd) -> io::Result<([u8; LENGTH], usize)> {
    let mut bytes = [0_u8; LENGTH];
    let mut length = libc::socklen_t::try_from(LENGTH).unwrap_or(0);
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `length` bytes, which is at
    // most how many `bytes` has, and any bytes are valid there.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((bytes, usize::try_from(length).unwrap_or(LENGTH)))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
        os::unix::net::UnixStream,
        time::Instant,
    };

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    /// Looks until the connection waits for this.
    fn until(socket: &TcpStream, wait: Wait) -> TcpInfo {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let info = TcpInfo::of(socket).unwrap();
            if info.wait() == wait {
                return info;
            }
            assert!(Instant::now() < end, "{info:?} does not wait for {wait:?}");
            std::thread::yield_now();
        }
    }

    fn info(unacknowledged: u32, unsent: u32, probes: u8, sent: u64, heard: u64) -> TcpInfo {
        TcpInfo {
            unacknowledged,
            unsent,
            probes,
            sent: Duration::from_millis(sent),
            heard: Duration::from_millis(heard),
        }
    }

    #[test]
    fn the_fields_are_where_the_kernel_has_them() {
        let mut bytes = [0; LENGTH];
        let fields = [(24, 1_u32), (44, 2), (52, 4), (56, 3), (144, 5)];
        for (at, number) in fields {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        bytes[3] = 6;
        assert_eq!(TcpInfo::read(&bytes), info(1, 5, 6, 2, 3));
        // Of C's layout the C library knows all but the last.
        assert_eq!(
            at::PROBES,
            std::mem::offset_of!(libc::tcp_info, tcpi_probes)
        );
        for (at, known) in [
            (
                at::UNACKED,
                std::mem::offset_of!(libc::tcp_info, tcpi_unacked),
            ),
            (
                at::LAST_DATA_SENT,
                std::mem::offset_of!(libc::tcp_info, tcpi_last_data_sent),
            ),
            (
                at::LAST_DATA_RECEIVED,
                std::mem::offset_of!(libc::tcp_info, tcpi_last_data_recv),
            ),
            (
                at::LAST_ACK_RECEIVED,
                std::mem::offset_of!(libc::tcp_info, tcpi_last_ack_recv),
            ),
        ] {
            assert_eq!(at, known);
        }
    }

    #[test]
    fn a_peer_that_has_all_is_waited_for_no_more() {
        let (mut one, mut other) = pair();
        one.write_all(b"a question").unwrap();
        other.read_exact(&mut [0; 10]).unwrap();
        let info = until(&one, Wait::Nothing);
        assert_eq!((info.unacknowledged, info.unsent), (0, 0));
        assert_eq!(info.probes, 0);
    }

    #[test]
    fn a_peer_that_does_not_read_is_waited_for_to_make_room() {
        let (mut one, _other) = pair();
        one.set_nonblocking(true).unwrap();
        while one.write(&[0; 4096]).is_ok() {}
        let info = until(&one, Wait::Room);
        assert!(info.unsent > 0);
    }

    #[test]
    fn a_unix_socket_has_no_acknowledgements() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(TcpInfo::of(&one).is_err());
    }

    #[test]
    fn what_is_sent_and_not_acknowledged_is_waited_for() {
        assert_eq!(info(1, 0, 0, 400, 401).wait(), Wait::Acknowledgement);
        assert_eq!(info(0, 0, 0, 400, 90_000).wait(), Wait::Nothing);
    }

    #[test]
    fn a_peer_without_room_that_answers_is_not_waited_for_long_after_its_last_answer() {
        let last_answer = 119_000;
        // It was probed, and has answered all but one probe, which may be lost.
        for probes in [0, 1] {
            let wait = info(0, 1, probes, 500_000, last_answer).wait();
            assert_eq!(wait, Wait::Room);
        }
        assert_eq!(
            info(0, 1, 2, 500_000, last_answer).wait(),
            Wait::Acknowledgement
        );
        // What it had no room for was sent again, and it has answered that it has none.
        assert_eq!(info(3, 1, 0, last_answer, last_answer).wait(), Wait::Room);
    }

    #[test]
    fn the_kernels_question_whether_an_idle_peer_is_there_is_the_kernels() {
        assert_eq!(info(0, 0, 7, 90_000, 90_000).wait(), Wait::Nothing);
    }
}
