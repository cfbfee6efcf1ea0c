//! What a client says, and what it must hear.

use std::{
    io::{self, Read, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use socket2::{Domain, Socket, Type};

use super::service::{COLLECT, ECHO, POUR, Service, TOO_MUCH, WELCOME, pattern};
use crate::support::{
    PATIENCE,
    client::{Client, Session, connect},
    eventually,
};

/// The lengths of messages: what is shorter and longer than a record and a segment.
const LENGTHS: [usize; 5] = [1, 300, 20_000, 17, 4096];

/// How conversations go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Messages go and come back, over TLS 1.3.
    Tls13,
    /// The same over TLS 1.2.
    Tls12,
    /// The same over TLS 1.3 to the backend too.
    BothTls,
    /// The same without TLS.
    Plain,
    /// The same over Unix sockets.
    Unix,
    /// The client ends its direction and is answered then, over TLS 1.3.
    HalfClosed,
    /// The client slowly reads more than its buffers hold, over TLS 1.3.
    Slow,
}

impl Kind {
    /// How a session is opened that only echoes.
    pub(super) const ECHO: u8 = ECHO;

    /// Returns how the service is to answer.
    pub(super) fn mode(self) -> u8 {
        match self {
            Self::HalfClosed => COLLECT,
            Self::Slow => POUR,
            _ => ECHO,
        }
    }

    /// Opens a session.
    pub(super) fn open(self, front: &Front, client: &Client) -> io::Result<Line> {
        match (self, front) {
            (_, Front::Unix(path)) => UnixStream::connect(path).map(Line::Unix),
            (Self::Plain, Front::Tcp(address)) => connect(*address).map(Line::Plain),
            (Self::Tls12, Front::Tcp(address)) => {
                let client = client.clone().tls12();
                client.connect(*address).map(Line::tls)
            }
            (Self::Slow, Front::Tcp(address)) => narrow(*address)
                .and_then(|socket| client.over(socket))
                .map(Line::tls),
            (_, Front::Tcp(address)) => client.connect(*address).map(Line::tls),
        }
    }
}

/// Where the daemon is.
pub(super) enum Front {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Connects by a socket with a small buffer and small segments: for large segments the kernel keeps more room.
fn narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(1 << 14)?;
    socket.set_tcp_mss(1400)?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// A client's connection.
pub(super) enum Line {
    Tls(Box<Session>),
    Plain(TcpStream),
    Unix(UnixStream),
}

impl Line {
    fn tls(session: Session) -> Self {
        Self::Tls(Box::new(session))
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tls(session) => session.send(bytes),
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Ends this direction.
    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(session) => session.finish(),
            Self::Plain(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Line {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(session) => session.read(space),
            Self::Plain(stream) => stream.read(space),
            Self::Unix(stream) => stream.read(space),
        }
    }
}

/// How a conversation ended in which every byte that came was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All was heard.
    Well,
    /// The connection ended before.
    Early,
}

/// A session that the service serves.
pub(super) struct Talk {
    line: Line,
    mode: u8,
    /// How many bytes were sent; the next message goes on from there.
    sent: usize,
    /// How many bytes the service has poured, once it has.
    poured: Arc<AtomicUsize>,
}

impl Talk {
    /// Tells the service how to answer, and waits until it has heard.
    pub(super) fn begin(mut line: Line, mode: u8, service: &Service) -> io::Result<Self> {
        if let Line::Unix(stream) = &line {
            stream.set_read_timeout(Some(PATIENCE))?;
        }
        line.send(&[mode])?;
        let mut welcome = [0];
        line.read_exact(&mut welcome)?;
        assert_eq!(welcome, [WELCOME]);
        Ok(Self {
            line,
            mode,
            sent: 0,
            poured: service.poured(),
        })
    }

    /// Says what there is to say and compares what comes back; the error tells what is wrong with it.
    pub(super) fn converse(&mut self) -> Result<Ended, String> {
        match self.mode {
            COLLECT => self.collect(),
            POUR => self.pour(),
            _ => self.echo(),
        }
    }

    fn echo(&mut self) -> Result<Ended, String> {
        for length in LENGTHS {
            let message = self.next(length);
            let sent = self.line.send(&message);
            let heard = self.hear(&message)?;
            if heard == Ended::Early || sent.is_err() {
                return Ok(Ended::Early);
            }
        }
        Ok(Ended::Well)
    }

    fn collect(&mut self) -> Result<Ended, String> {
        let mut all = Vec::new();
        for length in LENGTHS {
            let message = self.next(length);
            self.send(&message)?;
            all.extend(message);
        }
        self.line.finish().map_err(|error| error.to_string())?;
        match self.hear(&all)? {
            Ended::Well => self.hear_end(),
            Ended::Early => Ok(Ended::Early),
        }
    }

    fn pour(&mut self) -> Result<Ended, String> {
        self.poured.store(0, Ordering::SeqCst);
        self.send(b"x")?;
        let poured = eventually("the service has no room", PATIENCE, || {
            let poured = self.poured.load(Ordering::SeqCst);
            (poured > 0).then_some(poured)
        });
        if poured >= TOO_MUCH {
            return Err("nothing waits".to_owned());
        }
        self.hear(&pattern(0, poured))
    }

    fn next(&mut self, length: usize) -> Vec<u8> {
        let message = pattern(self.sent, length);
        self.sent += length;
        message
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.line.send(bytes);
        sent.map_err(|error| format!("a message was not sent: {error}"))
    }

    /// Hears these bytes.
    fn hear(&mut self, expected: &[u8]) -> Result<Ended, String> {
        let mut heard = 0;
        let mut space = [0; 1 << 14];
        while heard < expected.len() {
            let most = space.len().min(expected.len() - heard);
            let read = match self.line.read(&mut space[..most]) {
                Ok(0) => return Ok(Ended::Early),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(format!("nothing came behind {heard} bytes"));
                }
                Err(error) if is_end(&error) => return Ok(Ended::Early),
                read => read.map_err(|error| error.to_string())?,
            };
            if space[..read] != expected[heard..heard + read] {
                return Err(format!("something else came behind {heard} bytes"));
            }
            heard += read;
        }
        Ok(Ended::Well)
    }

    /// Hears the proper end.
    fn hear_end(&mut self) -> Result<Ended, String> {
        match self.line.read(&mut [0; 16]) {
            Ok(0) => Ok(Ended::Well),
            Ok(more) => Err(format!("{more} bytes more came")),
            Err(error) => Err(format!("no proper end came: {error}")),
        }
    }
}

/// Whether a connection ended, by an end or by a reset.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
