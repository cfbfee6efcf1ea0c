//! One end of a TLS connection without its socket: bytes from the network in, plaintext out, and
//! the other way round.
//!
//! It stands on rustls' unbuffered interface, so that a connection that is idle holds no buffer:
//! what a read brought lies in a caller's scratch space, and only the head of a record whose tail
//! has not come yet is kept.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, CommonState, Error, HandshakeKind, InvalidMessage, PeerIncompatible,
    PeerMisbehaved,
    client::UnbufferedClientConnection,
    pki_types::{ServerName, UnixTime},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, UnbufferedStatus},
};

pub use super::{failure::TlsError, hello::holds_client_hello, outgoing::Outgoing};
use super::{
    failure::{HANDSHAKE_FAILURE, PROTOCOL_VERSION},
    hello::{is_outdated, raw_server_name},
    notes::{Notes, RefusedCertificate, printable},
    policy::ClientPolicy,
    resolver::Resolver,
    trust::clients::ClientVerifier,
};
use crate::facts::CertificateFacts;
use crate::x509::certificate;

/// The most bytes that wait for the tail of a record or of a handshake message.
///
/// rustls joins handshake messages of up to 64 KiB (`MAX_HANDSHAKE_SIZE`) in the caller's buffer;
/// a record adds at most 16 KiB and 2 KiB of expansion (RFC 5246 §6.2.3).
pub const MAX_HELD: usize = 84 * 1024;

/// One end of a TLS connection.
pub struct TlsStream {
    side: Side,
    notes: Notes,
    /// What a resumed session's certificate is checked with once more.
    verifier: Option<Arc<ClientVerifier>>,
    held: Vec<u8>,
    peer_closed: bool,
    sent_close: bool,
}

enum Side {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("version", &self.version())
            .field("is_handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}

/// Does now what would otherwise keep the first handshake of this process waiting.
///
/// The random number generator gathers its seed when it is used first, which takes AWS-LC about
/// 20 ms of CPU time.
pub fn warm_up() {
    // If there is no randomness, the first handshake fails and says so.
    let _ = super::provider().secure_random.fill(&mut [0; 32]);
}

/// Refuses a client by the name that it asks for in its first bytes.
pub fn check_name(resolver: &Resolver, first: &[u8]) -> Result<(), TlsError> {
    if !resolver.is_strict() {
        return Ok(());
    }
    match super::hello::server_name(first) {
        Some(name) if resolver.refuses(&name) => Err(TlsError::UnknownName(name)),
        _ => Ok(()),
    }
}

impl TlsStream {
    /// Begins the end that presents a certificate.
    pub fn server(policy: &ClientPolicy) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&policy.config))?;
        Ok(Self {
            verifier: policy.verifier.clone(),
            ..Self::new(Side::Server(Box::new(connection)))
        })
    }

    /// Begins the end that checks `name`; [`Self::receive`] of nothing puts out its first message.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::new(Side::Client(Box::new(connection))))
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            notes: Notes::default(),
            verifier: None,
            held: Vec::new(),
            peer_closed: false,
            sent_close: false,
        }
    }

    /// Returns whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// Returns whether the peer said that it sends nothing more.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Returns the protocol that was agreed on by ALPN (RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// Returns the name that the client has asked for (RFC 6066 §3), once a certificate was chosen by
    /// it.
    pub fn server_name(&self) -> Option<&str> {
        self.notes.asked.as_deref()
    }

    /// Returns SHA-256 of the certificate that this connection's server has shown, as far as it is
    /// known.
    pub fn leaf(&self) -> Option<[u8; 32]> {
        match &self.side {
            Side::Client(connection) => {
                let shown = connection.peer_certificates().and_then(<[_]>::first);
                shown.map(|leaf| certificate::digest(leaf))
            }
            Side::Server(_) => self.notes.shown,
        }
    }

    /// Returns what is to know about the certificate that the peer has shown; `known` if it is that.
    pub fn peer_facts(&self, known: Option<CertificateFacts>) -> Option<CertificateFacts> {
        let shown = self.state().peer_certificates()?.first()?;
        let sha256 = certificate::sha256(shown);
        known.filter(|it| it.sha256 == sha256).or_else(|| {
            let shown = certificate::parse(shown).ok()?;
            Some(certificate::facts(&shown))
        })
    }

    /// Returns the TLS version as the PROXY protocol writes it, such as `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        match self.state().protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "unknown",
        }
    }

    pub(super) fn state(&self) -> &CommonState {
        match &self.side {
            Side::Client(connection) => connection,
            Side::Server(connection) => connection,
        }
    }

    /// Returns the bytes of earlier reads that wait for more.
    ///
    /// They belong in front of the next bytes of the network when those are given to
    /// [`Self::receive`].
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes `bytes` from the network, those of [`Self::held`] first, appends what they hold to
    /// `plain`, and puts out what has to be answered.
    ///
    /// After an error, `out` holds the alert that tells the peer.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Outgoing,
    ) -> Result<(), TlsError> {
        if self.awaits_hello() && is_outdated(bytes) {
            out.put(&PROTOCOL_VERSION);
            return Err(TlsError::Outdated);
        }
        let side = &mut self.side;
        let (used, result) = self.notes.lend(|| match side {
            Side::Client(connection) => advance(&mut **connection, bytes, plain, out),
            Side::Server(connection) => advance(&mut **connection, bytes, plain, out),
        });
        self.peer_closed |= result.map_err(|error| self.explain(error, &bytes[used..], out))?;
        if !self.is_handshaking() {
            self.confirm()?;
        }
        self.hold(&bytes[used..])
    }

    fn awaits_hello(&self) -> bool {
        matches!(self.side, Side::Server(_)) && self.state().protocol_version().is_none()
    }

    /// Says what rustls does not: which certificate was refused, which name was no name, and that the
    /// client accepts no signature of ours.
    ///
    /// That last comes out of rustls' TLS 1.2 as a fault of its own, without an alert.
    fn explain(&mut self, error: TlsError, bytes: &[u8], out: &mut Outgoing) -> TlsError {
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

    /// Keeps `rest` for the next read, and no memory for nothing.
    fn hold(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        if rest.len() > MAX_HELD {
            return Err(TlsError::TooLong);
        }
        if rest.is_empty() {
            self.held = Vec::new();
        } else {
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Puts out `plain`, encrypted.
    pub fn send(&mut self, plain: &[u8], out: &mut Outgoing) -> Result<(), TlsError> {
        match &mut self.side {
            Side::Client(connection) => encrypt(&mut **connection, &mut self.held, plain, out),
            Side::Server(connection) => encrypt(&mut **connection, &mut self.held, plain, out),
        }
    }

    /// Puts out the message that nothing more will be sent (RFC 8446 §6.1), once.
    pub fn close(&mut self, out: &mut Outgoing) {
        if self.sent_close || self.is_handshaking() {
            return;
        }
        self.sent_close = true;
        match &mut self.side {
            Side::Client(connection) => close(&mut **connection, &mut self.held, out),
            Side::Server(connection) => close(&mut **connection, &mut self.held, out),
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

/// Runs a connection until it wants more bytes.
///
/// Returns how many of `bytes` are done with, and whether the peer closed its direction.
fn advance<C: Connection>(
    connection: &mut C,
    bytes: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Outgoing,
) -> (usize, Result<bool, TlsError>) {
    let mut used = 0;
    let mut peer_closed = false;
    loop {
        let UnbufferedStatus { mut discard, state } = connection.process(&mut bytes[used..]);
        let wants_more = match state {
            Ok(state) => match step(state, &mut discard, &mut peer_closed, plain, out) {
                Ok(wants_more) => wants_more,
                Err(error) => return (used, Err(error)),
            },
            Err(error) => {
                last_words(connection, &mut bytes[used..], out);
                return (used, Err(error.into()));
            }
        };
        used += discard;
        if wants_more {
            return (used, Ok(peer_closed));
        }
    }
}

/// Does what one state asks for; returns whether the connection waits for the network now.
fn step<Data>(
    state: ConnectionState<'_, '_, Data>,
    discard: &mut usize,
    peer_closed: &mut bool,
    plain: &mut Vec<u8>,
    out: &mut Outgoing,
) -> Result<bool, TlsError> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                *discard += record.discard;
                plain.extend_from_slice(record.payload);
            }
            Ok(false)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            // The only other error is a second encoding of the same data.
            let _ = out.write(|space| data.encode(space));
            Ok(false)
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(false)
        }
        ConnectionState::PeerClosed => {
            *peer_closed = true;
            Ok(false)
        }
        _ => Ok(true),
    }
}

/// Puts out the alert that rustls has queued behind an error.
///
/// `bytes` are those that the error came from: rustls remembers how far it got in them and must
/// not be shown fewer. Once nothing is queued it would look at what lies behind the error in them,
/// and would alert the peer again.
fn last_words<C: Connection>(connection: &mut C, bytes: &mut [u8], out: &mut Outgoing) {
    while connection.has_queued() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(bytes).state else {
            return;
        };
        if out.write(|space| data.encode(space)).is_err() {
            return;
        }
    }
}

fn encrypt<C: Connection>(
    connection: &mut C,
    held: &mut [u8],
    plain: &[u8],
    out: &mut Outgoing,
) -> Result<(), TlsError> {
    loop {
        match connection.process(held).state? {
            ConnectionState::WriteTraffic(mut traffic) => {
                return out
                    .write(|space| traffic.encrypt(plain, space))
                    .map_err(|_| TlsError::KeysExhausted);
            }
            ConnectionState::EncodeTlsData(mut data) => {
                // The only other error is a second encoding of the same data.
                let _ = out.write(|space| data.encode(space));
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            _ => return Err(Error::HandshakeNotComplete.into()),
        }
    }
}

fn close<C: Connection>(connection: &mut C, held: &mut [u8], out: &mut Outgoing) {
    if let Ok(ConnectionState::WriteTraffic(mut traffic)) = connection.process(held).state {
        // What fails here is told to the peer by the socket's end instead.
        let _ = out.write(|space| traffic.queue_close_notify(space));
    }
}
