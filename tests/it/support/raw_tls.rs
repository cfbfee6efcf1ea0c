//! A TLS peer that leaves its handshake to rustls and makes and reads every record after that itself.
//!
//! It stands on the AEADs of `aws_lc_rs` alone and shares nothing with the record layer of the daemon, so
//! that the two can be held against each other. It may send whatever a test wants: any type, any
//! padding, any length, any nonce, and any part of a record at a time.

// Handshakes, and the secrets that come out of them.
mod handshake;
// Keys of one direction, and the records sealed with them.
mod keys;
// The side of a server.
mod server;

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use rustls::{AlertDescription, ProtocolVersion, SupportedCipherSuite};

use super::pause;

pub(crate) use self::{
    handshake::{V12, V13, every_suite},
    keys::{Direction, Record},
    server::Server,
};

/// The type of a `change_cipher_spec` record (RFC 8446 §5.1; so are those that follow).
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
/// The type of a record of alerts.
pub(crate) const ALERT: u8 = 21;
/// The type of a record of handshake messages.
pub(crate) const HANDSHAKE: u8 = 22;
/// The type of a record of application data.
pub(crate) const APPLICATION_DATA: u8 = 23;

/// The most plaintext that a record may hold (RFC 8446 §5.1).
pub(crate) const MAX_PLAIN: usize = 16_384;

/// The level of an alert that ends nothing (RFC 5246 §7.2).
pub(crate) const WARNING: u8 = 1;
/// The level of an alert that ends the connection.
pub(crate) const FATAL: u8 = 2;

/// The message that changes its sender's keys and asks for nothing (RFC 8446 §4.6.3).
pub(crate) const UPDATE: &[u8] = &[24, 0, 0, 1, 0];
/// The message that changes its sender's keys and asks for the same of the other side.
pub(crate) const UPDATE_BOTH: &[u8] = &[24, 0, 0, 1, 1];

/// How long the second part of what is torn is held back, so that it is read by itself.
const BETWEEN_SEGMENTS: Duration = Duration::from_millis(5);

/// The type of a handshake message by which a server gives a ticket (RFC 8446 §4.6.1).
const NEW_SESSION_TICKET: u8 = 4;

/// One end of a TLS connection whose handshake is over.
pub(crate) struct RawTls {
    /// The connection under it.
    pub(crate) socket: TcpStream,
    /// How records are sealed.
    pub(crate) tx: Direction,
    /// How records are opened.
    pub(crate) rx: Direction,
    /// How often the other side has changed its keys.
    pub(crate) updates: usize,
    /// How many tickets have come.
    pub(crate) tickets: usize,
}

/// How the other side ended, and what it said before.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct End {
    /// Application data.
    pub(crate) data: Vec<u8>,
    /// Alerts: level and description.
    pub(crate) alerts: Vec<(u8, AlertDescription)>,
    /// How the connection ended.
    pub(crate) how: How,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// It was closed between two records.
    Closed,
    /// It was closed within a record.
    Torn,
    /// It was reset.
    Reset,
}

impl RawTls {
    /// Completes a handshake as a client that knows this suite alone, and checks nothing.
    pub(crate) fn connect(socket: TcpStream, suite: SupportedCipherSuite) -> io::Result<Self> {
        Self::connect_behind(socket, suite, |_| Vec::new())
    }

    /// Does the same, and sends records right behind its last message in the same segment.
    pub(crate) fn connect_behind(
        socket: TcpStream,
        suite: SupportedCipherSuite,
        behind: impl FnOnce(&mut Direction) -> Vec<u8>,
    ) -> io::Result<Self> {
        Self::connect_torn(socket, suite, None, usize::MAX, behind)
    }

    /// Does the same in two segments, of which the first has this length, and with messages of the
    /// handshake in records that are no longer than that.
    pub(crate) fn connect_torn(
        mut socket: TcpStream,
        suite: SupportedCipherSuite,
        longest: Option<usize>,
        at: usize,
        behind: impl FnOnce(&mut Direction) -> Vec<u8>,
    ) -> io::Result<Self> {
        // A Unix socket has nothing of the kind.
        let _ = socket.set_nodelay(true);
        let (last, tx, rx) = handshake::as_client(&mut socket, suite, longest)?;
        Self::new(socket, tx, rx).begin_torn(last, at, behind)
    }

    /// Sends the last message of a handshake and what stands behind it.
    fn begin_torn(
        mut self,
        mut last: Vec<u8>,
        at: usize,
        behind: impl FnOnce(&mut Direction) -> Vec<u8>,
    ) -> io::Result<Self> {
        last.extend(behind(&mut self.tx));
        let (first, second) = last.split_at(at.min(last.len()));
        self.write(first)?;
        if !second.is_empty() {
            // Nothing shows when the other side has read it.
            pause(BETWEEN_SEGMENTS);
            self.write(second)?;
        }
        Ok(self)
    }

    fn new(socket: TcpStream, tx: Direction, rx: Direction) -> Self {
        Self {
            socket,
            tx,
            rx,
            updates: 0,
            tickets: 0,
        }
    }

    /// Returns whether TLS 1.3 is spoken.
    pub(crate) fn is_tls13(&self) -> bool {
        self.tx.version() == ProtocolVersion::TLSv1_3
    }

    /// Sends bytes as they are, in one piece.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Sends a record of this type.
    pub(crate) fn send(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let record = self.tx.seal(kind, content);
        self.write(&record)
    }

    /// Sends application data in one record.
    pub(crate) fn say(&mut self, content: &[u8]) -> io::Result<()> {
        self.send(APPLICATION_DATA, content)
    }

    /// Sends an alert.
    pub(crate) fn alert(&mut self, level: u8, description: AlertDescription) -> io::Result<()> {
        self.send(ALERT, &[level, description.into()])
    }

    /// Says that nothing more will be sent.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.alert(WARNING, AlertDescription::CloseNotify)
    }

    /// Ends the sending side of the connection.
    pub(crate) fn shut_down(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }

    /// Sends this message and changes the keys of this side behind it.
    pub(crate) fn update(&mut self, message: &[u8]) -> io::Result<()> {
        let record = self.tx.seal_update(message);
        self.write(&record)
    }

    /// Returns the next record as it is; `None` if the connection was closed between two.
    pub(crate) fn sealed_record(&mut self) -> io::Result<Option<Vec<u8>>> {
        handshake::read_record(&mut self.socket)
    }

    /// Returns the next record, opened; `None` if the connection was closed between two.
    pub(crate) fn record(&mut self) -> io::Result<Option<Record>> {
        let Some(record) = self.sealed_record()? else {
            return Ok(None);
        };
        let opened = self.rx.open(&record);
        opened.map(Some).ok_or_else(|| {
            let kind = record[0];
            io::Error::other(format!("a record of type {kind} that cannot be opened"))
        })
    }

    /// Returns the application data or the alert that comes next, and follows changes of keys.
    fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            match self.record()? {
                Some(record) if record.kind == HANDSHAKE && self.is_tls13() => {
                    self.hear(&record.content)?;
                }
                record => return Ok(record),
            }
        }
    }

    /// Heeds handshake messages that come after the handshake.
    ///
    /// The daemon has no reason to ask for new keys here.
    fn hear(&mut self, message: &[u8]) -> io::Result<()> {
        match message.first() {
            Some(&NEW_SESSION_TICKET) => self.tickets += 1,
            _ if message == UPDATE => {
                self.updates += 1;
                self.rx.update();
            }
            _ => return Err(io::Error::other(format!("not expected: {message:?}"))),
        }
        Ok(())
    }

    /// Returns the application data of the next record that has any.
    pub(crate) fn hear_some(&mut self) -> io::Result<Vec<u8>> {
        match self.next()? {
            Some(record) if record.kind == APPLICATION_DATA => Ok(record.content),
            other => Err(io::Error::other(format!("no data but {other:?}"))),
        }
    }

    /// Does the same; nothing where the other side has said that it is done.
    pub(crate) fn hear_some_or_end(&mut self) -> io::Result<Vec<u8>> {
        let goodbye = [WARNING, AlertDescription::CloseNotify.into()];
        match self.next()? {
            Some(record) if record.kind == APPLICATION_DATA => Ok(record.content),
            Some(record) if record.kind == ALERT && record.content == goodbye => Ok(Vec::new()),
            other => Err(io::Error::other(format!("no data but {other:?}"))),
        }
    }

    /// Returns this much application data, which must be all there is in the records that it comes in.
    pub(crate) fn hear_data(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        while data.len() < length {
            data.extend(self.hear_some()?);
        }
        if data.len() == length {
            return Ok(data);
        }
        Err(io::Error::other(format!("{} bytes came", data.len())))
    }

    /// Returns what comes until the other side ends.
    pub(crate) fn end(&mut self) -> io::Result<End> {
        let mut end = End {
            data: Vec::new(),
            alerts: Vec::new(),
            how: How::Closed,
        };
        loop {
            match self.next() {
                Ok(None) => return Ok(end),
                Ok(Some(record)) if record.kind == ALERT && record.content.len() == 2 => {
                    let description = AlertDescription::from(record.content[1]);
                    end.alerts.push((record.content[0], description));
                }
                Ok(Some(record)) if record.kind == APPLICATION_DATA => {
                    end.data.extend(record.content);
                }
                Ok(Some(other)) => return Err(io::Error::other(format!("{other:?}"))),
                Err(error) => {
                    end.how = match error.kind() {
                        ErrorKind::ConnectionReset => How::Reset,
                        ErrorKind::UnexpectedEof => How::Torn,
                        _ => return Err(error),
                    };
                    return Ok(end);
                }
            }
        }
    }

    /// Returns a copy of the connection, to be read while this end writes.
    pub(crate) fn reading_half(&mut self) -> io::Result<Self> {
        let (tx, rx) = (self.tx.clone(), self.rx.clone());
        Ok(Self::new(self.socket.try_clone()?, tx, rx))
    }
}

/// Reads all of a plain connection until it ends; an end by reset counts as one.
pub(crate) fn rest(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(rest),
        read => read.map(|_| rest),
    }
}
