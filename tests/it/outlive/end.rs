//! One end of a session, with TLS or without, over either kind of socket.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use crate::support::{
    PATIENCE,
    raw_tls::{MAX_PLAIN, RawTls},
};

/// What is read at once of a connection without TLS.
const CHUNK: usize = 64 * 1024;

/// One end of a session.
pub(super) enum End {
    /// One without TLS.
    Plain(TcpStream),
    /// One with TLS, whose records the test makes itself.
    Tls(Box<RawTls>),
}

/// Returns a Unix socket as if it were one of TCP: the calls that read, write and shut down are the same for both.
pub(super) fn as_tcp(socket: UnixStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    TcpStream::from(OwnedFd::from(socket))
}

impl End {
    /// Says these words, and waits until the kernel has taken them.
    pub(super) fn say(&mut self, words: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(words),
            Self::Tls(raw) => words.chunks(MAX_PLAIN).try_for_each(|it| raw.say(it)),
        }
    }

    /// Waits for words and returns them; nothing when the other side has said that it is done.
    pub(super) fn hear(&mut self) -> io::Result<Vec<u8>> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(raw) => return raw.hear_some_or_end(),
        };
        let mut words = vec![0; CHUNK];
        let read = socket.read(&mut words)?;
        words.truncate(read);
        Ok(words)
    }

    /// Says that nothing more will be said, in TLS and by the connection.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(raw) => raw.close().and_then(|()| raw.shut_down()),
        }
    }

    /// Returns an end that hears what comes, while this one goes on speaking.
    pub(super) fn hearing_half(&mut self) -> Self {
        match self {
            Self::Plain(socket) => Self::Plain(socket.try_clone().unwrap()),
            Self::Tls(raw) => Self::Tls(Box::new(raw.reading_half().unwrap())),
        }
    }

    /// Returns the TLS of this end if its version is 1.3, the only one in which keys can change.
    pub(super) fn tls13(&mut self) -> Option<&mut RawTls> {
        match self {
            Self::Tls(raw) if raw.is_tls13() => Some(raw),
            Self::Plain(_) | Self::Tls(_) => None,
        }
    }
}
