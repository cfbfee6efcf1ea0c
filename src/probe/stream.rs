//! A connection to a server, of whichever kind.

use std::{io, net::SocketAddr, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};

use super::failure::{Failure, Phase};

/// How much is read at a time, at least.
const SPACE: usize = 16 * 1024;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At an address of a network.
    Tcp(SocketAddr),
    /// At a Unix socket.
    Unix(PathBuf),
}

impl Place {
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// A connection of which each wait ends at the same deadline.
pub(super) struct Stream {
    socket: Box<dyn Socket>,
    deadline: Instant,
}

impl Stream {
    /// Connects.
    pub(super) async fn connect(place: &Place, deadline: Instant) -> Result<Self, Failure> {
        let connect = async {
            let socket: Box<dyn Socket> = match place {
                Place::Tcp(address) => Box::new(TcpStream::connect(address).await?),
                Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            };
            Ok::<_, io::Error>(socket)
        };
        let connected = timeout_at(deadline, connect).await;
        let connected = connected.map_err(|_| Failure::Late(Phase::Connection))?;
        Ok(Self {
            socket: connected.map_err(|error| Failure::connection(&error))?,
            deadline,
        })
    }

    /// Sends all of these bytes.
    pub(super) async fn send(&mut self, bytes: &[u8], phase: Phase) -> Result<(), Failure> {
        let sent = timeout_at(self.deadline, self.socket.write_all(bytes)).await;
        let sent = sent.map_err(|_| Failure::Late(phase))?;
        sent.map_err(|error| Failure::broken_off(phase, &error))
    }

    /// Receives at least one byte and appends what comes.
    pub(super) async fn receive(
        &mut self,
        bytes: &mut Vec<u8>,
        phase: Phase,
    ) -> Result<(), Failure> {
        bytes.reserve(SPACE);
        let read = timeout_at(self.deadline, self.socket.read_buf(bytes)).await;
        let read = read.map_err(|_| Failure::Late(phase))?;
        match read {
            Ok(0) => Err(Failure::Closed(phase)),
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::broken_off(phase, &error)),
        }
    }

    /// Says these last words and waits, until `deadline` at most, for the server to end too: a connection that
    /// is closed while something lies unread in it is reset.
    pub(super) async fn end(mut self, words: &[u8], deadline: Instant) {
        let ending = async {
            self.socket.write_all(words).await?;
            self.socket.shutdown().await?;
            tokio::io::copy(&mut self.socket, &mut tokio::io::sink()).await
        };
        // All that was to be learned is known.
        let _ = timeout_at(deadline, ending).await;
    }
}
