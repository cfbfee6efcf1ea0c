//! Tries out whether the kernel counts as [`TcpCounts`] takes it to.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};

use super::{OPENER_WRITTEN, TcpCounts, state};
use crate::sys::keeping::oob_inline;

/// How long all of it may take; what is waited for crosses the loopback interface alone.
const LIMIT: Duration = Duration::from_secs(2);

/// Bytes that a socket holds which are unread; a peer writes several times that.
const ROOM: usize = 1 << 13;

/// Bytes that are certainly enough to fill both.
const ENOUGH: usize = 16 << 20;

/// Finds out by a connection to this host itself whether the kernel counts as this room says.
///
/// Takes a few milliseconds, and at most two seconds. The error tells operators what differs.
pub fn self_test() -> Result<(), String> {
    let trial = Trial::begin().map_err(|error| format!("no connection to 127.0.0.1: {error}"))?;
    trial.run()
}

/// A connection between two sockets of this process.
struct Trial {
    opener: TcpStream,
    accepted: TcpStream,
    end: Instant,
}

/// What [`TcpCounts`] should tell: the state, bytes read, and bytes written.
struct Expected {
    state: Option<u8>,
    read: u64,
    written: u64,
}

impl Trial {
    fn begin() -> io::Result<Self> {
        let end = Instant::now() + LIMIT;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let opener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // Before they are connected, so that the peer is told so.
        for socket in [SockRef::from(&listener), SockRef::from(&opener)] {
            socket.set_recv_buffer_size(ROOM)?;
            socket.set_send_buffer_size(8 * ROOM)?;
        }
        opener.connect_timeout(&listener.local_addr()?.into(), LIMIT)?;
        let opener = TcpStream::from(opener);
        listener.set_nonblocking(true)?;
        let accepted = loop {
            wait_readable(&listener, end)?;
            let (accepted, peer) = listener.accept()?;
            // Another process may have connected first.
            if peer == opener.local_addr()? {
                break accepted;
            }
        };
        for socket in [&opener, &accepted] {
            oob_inline(socket)?;
            socket.set_nonblocking(true)?;
        }
        Ok(Self {
            opener,
            accepted,
            end,
        })
    }

    fn run(self) -> Result<(), String> {
        let (opener, accepted) = (&self.opener, &self.accepted);
        let mut sent = OPENER_WRITTEN;
        self.expect("before any byte", opener, 0, sent)?;
        self.expect("before any byte", accepted, 0, 0)?;

        self.write(b"ten bytes.")?;
        sent += 10;
        self.expect("with bytes written", opener, 0, sent)?;
        self.take(4)?;
        self.expect("with bytes partly read", accepted, 4, 0)?;

        urgent(opener)?;
        sent += 1;
        self.expect("with an urgent byte written", opener, 0, sent)?;
        self.take(7)?;
        self.expect("with an urgent byte read", accepted, 11, 0)?;

        let filled = fill(accepted)?;
        self.expect(
            "with more written than the peer has room for",
            accepted,
            11,
            filled,
        )?;
        self.expect("with bytes unread", opener, 0, sent)?;

        shut(opener)?;
        self.expect_in(state::FIN_WAIT2, opener, 0, sent)?;
        self.expect_in(state::CLOSE_WAIT, accepted, 11, filled)?;
        if self.read(accepted, 1)? != 0 {
            return Err("bytes behind the end".to_owned());
        }
        self.expect_in(state::CLOSE_WAIT, accepted, 11, filled)?;

        shut(accepted)?;
        self.expect_in(state::LAST_ACK, accepted, 11, filled)?;
        self.drain(filled)?;
        self.expect_in(state::CLOSE, accepted, 11, filled + 1)?;
        self.expect_in(state::CLOSE, opener, filled, sent + 1)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), String> {
        // The buffers are empty.
        let result = (&self.opener).write_all(bytes);
        result.map_err(|error| format!("a write failed: {error}"))
    }

    /// Has the accepted end read so many bytes.
    fn take(&self, mut bytes: usize) -> Result<(), String> {
        while bytes > 0 {
            let read = self.read(&self.accepted, bytes)?;
            if read == 0 {
                return Err("the connection ended too soon".to_owned());
            }
            bytes -= read;
        }
        Ok(())
    }

    /// Has the end that connected read until the other's end, which comes behind so many bytes.
    fn drain(&self, expected: u64) -> Result<(), String> {
        let mut all = 0;
        loop {
            match self.read(&self.opener, 1 << 16)? {
                0 => break,
                read => all += read as u64,
            }
        }
        if all == expected {
            Ok(())
        } else {
            Err(format!("{all} bytes came of {expected}"))
        }
    }

    /// Waits for bytes and reads at most so many; 0 is the end.
    fn read(&self, mut socket: &TcpStream, most: usize) -> Result<usize, String> {
        let mut buffer = vec![0; most];
        loop {
            match socket.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_readable(socket, self.end)
                }
                result => return result.map_err(|error| format!("a read failed: {error}")),
            }
            .map_err(|error| format!("nothing to read: {error}"))?;
        }
    }

    fn expect(
        &self,
        when: &str,
        socket: &TcpStream,
        read: u64,
        written: u64,
    ) -> Result<(), String> {
        let state = None;
        let expected = Expected {
            state,
            read,
            written,
        };
        self.until(when, socket, &expected)
    }

    fn expect_in(
        &self,
        state: u8,
        socket: &TcpStream,
        read: u64,
        written: u64,
    ) -> Result<(), String> {
        let state = Some(state);
        let expected = Expected {
            state,
            read,
            written,
        };
        self.until("at an end", socket, &expected)
    }

    /// Asks until the answer is the expected one.
    fn until(&self, when: &str, socket: &TcpStream, expected: &Expected) -> Result<(), String> {
        loop {
            let counts = TcpCounts::of(socket)
                .map_err(|error| format!("the kernel does not tell its counts: {error}"))?;
            if expected.fits(&counts) {
                return Ok(());
            }
            if Instant::now() >= self.end {
                return Err(expected.differs(when, &counts));
            }
            // Acknowledgements wake no process that waits.
            pause();
        }
    }
}

impl Expected {
    fn fits(&self, counts: &TcpCounts) -> bool {
        self.state.is_none_or(|state| state == counts.state)
            && (counts.read(), counts.written()) == (self.read, self.written)
    }

    fn differs(&self, when: &str, counts: &TcpCounts) -> String {
        let (read, written) = (counts.read(), counts.written());
        let state = self.state.unwrap_or(counts.state);
        format!(
            "{when} in state {} the kernel counts {read} bytes read and {written} written, not {} and {} in \
             state {state}",
            counts.state, self.read, self.written
        )
    }
}

fn shut(socket: &TcpStream) -> Result<(), String> {
    let result = socket.shutdown(Shutdown::Write);
    result.map_err(|error| format!("shutdown failed: {error}"))
}

fn urgent(socket: &TcpStream) -> Result<(), String> {
    let result = SockRef::from(socket).send_out_of_band(b"!");
    result
        .map(drop)
        .map_err(|error| format!("an urgent byte was not sent: {error}"))
}

/// Writes until the socket takes no more; returns how many bytes it took.
fn fill(mut socket: &TcpStream) -> Result<u64, String> {
    let chunk = [0; 1 << 14];
    let mut all = 0;
    while all < ENOUGH {
        match socket.write(&chunk) {
            Ok(written) => all += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all as u64),
            Err(error) => return Err(format!("a write failed: {error}")),
        }
    }
    Err(format!(
        "a socket took {all} bytes that its peer did not read"
    ))
}

fn wait_readable(socket: &impl std::os::fd::AsFd, end: Instant) -> io::Result<()> {
    let left = end.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut sockets = [PollFd::new(socket, PollFlags::IN)];
    match poll(&mut sockets, Some(&left)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits for a moment.
fn pause() {
    let moment = Timespec {
        tv_sec: 0,
        tv_nsec: 200_000,
    };
    // A signal ends it sooner, which does no harm.
    let _ = poll(&mut [], Some(&moment));
}
