//! A handshake: rustls' connection, shown one record at a time.
//!
//! What stands behind the peer's last message of the handshake, in the same read, is never shown to
//! rustls, so that nothing which belongs to the session is lost in it.

use std::sync::Arc;

use rustls::{
    CommonState, Error, HandshakeKind, InvalidMessage, PeerIncompatible, PeerMisbehaved,
    client::UnbufferedClientConnection,
    pki_types::UnixTime,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, UnbufferedStatus},
};

use super::{
    failure::{HANDSHAKE_FAILURE, PROTOCOL_VERSION, TlsError},
    hello::{is_outdated, raw_server_name},
    notes::{Notes, RefusedCertificate, printable},
    record_header::record_len,
    records::Fault,
    space::Space,
    trust::clients::ClientVerifier,
};

/// A connection of rustls.
pub(super) enum Side {
    /// Ours is the end that checks a name.
    Client(Box<UnbufferedClientConnection>),
    /// Ours is the end that presents a certificate.
    Server(Box<UnbufferedServerConnection>),
}

/// A handshake that is going on or has failed.
pub(super) struct Handshake {
    pub(super) side: Side,
    pub(super) notes: Notes,
    /// What a resumed session's certificate is checked with once more.
    verifier: Option<Arc<ClientVerifier>>,
    /// How many of the bytes that wait for more are whole records, which rustls has been shown: the
    /// pieces of a message that spans records.
    shown: usize,
}

impl Handshake {
    pub(super) fn new(side: Side, verifier: Option<Arc<ClientVerifier>>) -> Self {
        Self {
            side,
            notes: Notes::default(),
            verifier,
            shown: 0,
        }
    }

    pub(super) fn state(&self) -> &CommonState {
        match &self.side {
            Side::Client(connection) => connection,
            Side::Server(connection) => connection,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        !self.state().is_handshaking()
    }

    /// Takes bytes from the network, those that waited first; returns how many are done with.
    ///
    /// Once the handshake is over, what it did not need is left.
    pub(super) fn receive(&mut self, bytes: &mut [u8], out: &mut Space) -> Result<usize, TlsError> {
        if self.awaits_hello() && is_outdated(bytes) {
            out.put(&PROTOCOL_VERSION);
            return Err(TlsError::Outdated);
        }
        let (mut used, mut whole) = (0, self.shown.min(bytes.len()));
        loop {
            // The head of a record is shown too: rustls refuses one that is no record at once.
            let next = record_end(bytes, whole);
            let shown = next.unwrap_or(bytes.len());
            let (more, result) = self.advance(&mut bytes[used..shown], out);
            used += more;
            result.map_err(|error| self.explain(error, &bytes[used..], out))?;
            whole = next.unwrap_or(whole);
            if self.is_over() {
                self.confirm()?;
                // A record with the last message and a piece of another one has no place in TLS:
                // RFC 8446 §5.1 forbids it, and in TLS 1.2 no peer makes one.
                if used < whole {
                    return Err(Fault::Interleaved.into());
                }
                return Ok(used);
            }
            if next.is_none() || whole == bytes.len() {
                break;
            }
        }
        self.shown = whole - used;
        Ok(used)
    }

    fn advance(&mut self, bytes: &mut [u8], out: &mut Space) -> (usize, Result<(), TlsError>) {
        let side = &mut self.side;
        self.notes.lend(|| match side {
            Side::Client(connection) => advance(&mut **connection, bytes, out),
            Side::Server(connection) => advance(&mut **connection, bytes, out),
        })
    }

    fn awaits_hello(&self) -> bool {
        matches!(self.side, Side::Server(_)) && self.state().protocol_version().is_none()
    }

    /// Says what rustls does not: which certificate was refused, which name was no name, and that the
    /// client accepts no signature of ours.
    ///
    /// That last comes out of rustls' TLS 1.2 as a fault of its own, without an alert.
    fn explain(&mut self, error: TlsError, bytes: &[u8], out: &mut Space) -> TlsError {
        let TlsError::Protocol(source) = error else {
            return error;
        };
        if let Some(certificate) = self.notes.refused.take() {
            return TlsError::Certificate {
                source,
                certificate,
            };
        }
        match source {
            Error::General(_) if self.notes.unfit => {
                out.put(&HANDSHAKE_FAILURE);
                TlsError::NothingShared
            }
            Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon)
                if self.notes.unfit =>
            {
                TlsError::NothingShared
            }
            Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName)
            | Error::InvalidMessage(InvalidMessage::InvalidServerName) => {
                bad_name(&raw_server_name(bytes).unwrap_or_default())
            }
            Error::InvalidMessage(_) if raw_server_name(bytes).is_some_and(|it| it.is_empty()) => {
                bad_name(&[])
            }
            source => source.into(),
        }
    }

    /// Checks the certificate of a session that was resumed as if it had been shown now.
    ///
    /// A ticket opens only while this must succeed; so it is a second lock on the same door.
    fn confirm(&mut self) -> Result<(), TlsError> {
        let Some(verifier) = self.verifier.take() else {
            return Ok(());
        };
        let state = self.state();
        let shown = state.peer_certificates().and_then(<[_]>::split_first);
        match shown {
            Some((leaf, intermediates))
                if state.handshake_kind() == Some(HandshakeKind::Resumed) =>
            {
                let checked = verifier.check(leaf, intermediates, UnixTime::now());
                checked.map_err(|source| TlsError::Certificate {
                    certificate: Box::new(RefusedCertificate::new(leaf, None)),
                    source,
                })
            }
            _ => Ok(()),
        }
    }
}

fn bad_name(name: &[u8]) -> TlsError {
    TlsError::BadName(printable(&String::from_utf8_lossy(name)))
}

/// What the two kinds of rustls connection have in common but do not share a trait for.
trait Connection {
    type Data;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Returns whether something waits to be put out.
    fn has_queued(&self) -> bool;
}

impl Connection for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn has_queued(&self) -> bool {
        self.wants_write()
    }
}

impl Connection for UnbufferedServerConnection {
    type Data = rustls::server::ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }

    fn has_queued(&self) -> bool {
        self.wants_write()
    }
}

/// Returns the end of the record that begins at `from`; `None` if some of it is missing.
fn record_end(bytes: &[u8], from: usize) -> Option<usize> {
    let end = from + record_len(&bytes[from..])?;
    (end <= bytes.len()).then_some(end)
}

/// Runs a connection until it wants more bytes; returns how many of `bytes` are done with.
fn advance<C: Connection>(
    connection: &mut C,
    bytes: &mut [u8],
    out: &mut Space,
) -> (usize, Result<(), TlsError>) {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = connection.process(&mut bytes[used..]);
        let wants_more = match state {
            Ok(state) => step(state, out),
            Err(error) => {
                last_words(connection, &mut bytes[used..], out);
                return (used, Err(error.into()));
            }
        };
        used += discard;
        if wants_more {
            return (used, Ok(()));
        }
    }
}

/// Does what one state asks for; returns whether the connection waits for the network now.
///
/// It never has data of the session: it is shown no record behind the handshake.
fn step<Data>(state: ConnectionState<'_, '_, Data>, out: &mut Space) -> bool {
    match state {
        ConnectionState::EncodeTlsData(mut data) => {
            // The only other error is a second encoding of the same data.
            let _ = out.write(|space| data.encode(space));
            false
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            false
        }
        _ => true,
    }
}

/// Puts out the alert that rustls has queued behind an error.
///
/// `bytes` are those that the error came from: rustls remembers how far it got in them and must
/// not be shown fewer. Once nothing is queued it would look at what lies behind the error in them,
/// and would alert the peer again.
fn last_words<C: Connection>(connection: &mut C, bytes: &mut [u8], out: &mut Space) {
    while connection.has_queued() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(bytes).state else {
            return;
        };
        if out.write(|space| data.encode(space)).is_err() {
            return;
        }
    }
}
