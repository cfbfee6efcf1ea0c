//! One end of a TLS connection without its socket: bytes from the network in, plaintext out, and
//! the other way round.
//!
//! The handshake is rustls', by its unbuffered interface; what comes behind it is [`super::records`]'.
//! So a connection that is idle holds no buffer: what a read brought lies in a caller's scratch space,
//! and only the head of a record whose tail has not come yet is kept.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, Error, client::UnbufferedClientConnection, pki_types::ServerName,
    server::UnbufferedServerConnection,
};

use super::{
    dissolve::{Opening, dissolve},
    handshake::{Handshake, Side},
    policy::ClientPolicy,
    records::{Records, Role, State, Version, Wear},
    resolver::Resolver,
};
pub use super::{
    failure::TlsError,
    hello::holds_client_hello,
    space::{Plaintext, Space},
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
    phase: Phase,
    held: Vec<u8>,
    /// [`Self::limit_news`] has said all that it had to say.
    told_of_limit: bool,
}

/// How far a connection is.
enum Phase {
    /// The handshake is going on or has failed.
    Handshake(Box<Handshake>),
    /// The session is established. What its handshake has shown is known until it is forgotten.
    Established(Records, Option<Box<Opening>>),
    /// The handshake could not be turned into a session.
    Failed,
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
        let side = Side::Server(Box::new(connection));
        Ok(Self::new(Handshake::new(side, policy.verifier.clone())))
    }

    /// Begins the end that checks `name`; [`Self::receive`] of nothing puts out its first message.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        let side = Side::Client(Box::new(connection));
        Ok(Self::new(Handshake::new(side, None)))
    }

    fn new(handshake: Handshake) -> Self {
        Self {
            phase: Phase::Handshake(Box::new(handshake)),
            held: Vec::new(),
            told_of_limit: false,
        }
    }

    /// Goes on with an established session; `held` is the head of a record that was received before.
    pub fn resume(state: State, held: &mut Vec<u8>) -> Self {
        Self {
            phase: Phase::Established(Records::from(state), None),
            held: std::mem::take(held),
            told_of_limit: false,
        }
    }

    /// Returns whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        !matches!(self.phase, Phase::Established(..))
    }

    /// Returns the established session.
    pub fn records(&self) -> Option<&Records> {
        match &self.phase {
            Phase::Established(records, _) => Some(records),
            _ => None,
        }
    }

    /// Returns whether the peer said that it sends nothing more.
    pub fn peer_closed(&self) -> bool {
        self.records().is_some_and(Records::peer_closed)
    }

    /// Returns what the handshake has shown, between its end and [`Self::forget_opening`].
    pub(super) fn opening(&self) -> Option<&Opening> {
        match &self.phase {
            Phase::Established(_, opening) => opening.as_deref(),
            _ => None,
        }
    }

    /// Frees what only the opening of a session needs to know: names and certificates, a few KiB.
    ///
    /// Version and cipher suite stay known.
    pub fn forget_opening(&mut self) {
        if let Phase::Established(_, opening) = &mut self.phase {
            *opening = None;
        }
    }

    /// Frees the memory that a session does not need while nothing moves.
    pub fn rest(&mut self) {
        if let Phase::Established(records, _) = &mut self.phase {
            records.rest();
        }
    }

    /// Returns, once, which key of the session has protected three quarters of what it may, if it cannot
    /// be renewed: then the session will have to end.
    pub fn limit_news(&mut self) -> Option<Wear> {
        if self.told_of_limit {
            return None;
        }
        let wear = self.records()?.nears_limit();
        self.told_of_limit = wear.is_some();
        wear
    }

    /// Returns the protocol that was agreed on by ALPN (RFC 7301).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.opening()?.alpn.as_deref()
    }

    /// Returns the name that the client has asked for (RFC 6066 §3), once a certificate was chosen by
    /// it.
    pub fn server_name(&self) -> Option<&str> {
        match &self.phase {
            Phase::Handshake(handshake) => handshake.notes.asked.as_deref(),
            _ => self.opening()?.asked.as_deref(),
        }
    }

    /// Returns SHA-256 of the certificate that this connection's server has shown, as far as it is
    /// known.
    pub fn leaf(&self) -> Option<[u8; 32]> {
        match self.records()?.role() {
            Role::Client => self.peer_chain().next().map(certificate::digest),
            Role::Server => self.opening()?.shown,
        }
    }

    /// Returns the certificates that the peer has shown, its own first, each in DER.
    pub fn peer_chain(&self) -> impl Iterator<Item = &[u8]> {
        let chain = self.opening().map(|it| &*it.chain).unwrap_or_default();
        chain.iter().map(AsRef::as_ref)
    }

    /// Returns what is to know about the certificate that the peer has shown; `known` if it is that.
    pub fn peer_facts(&self, known: Option<CertificateFacts>) -> Option<CertificateFacts> {
        let shown = self.peer_chain().next()?;
        let sha256 = certificate::sha256(shown);
        known.filter(|it| it.sha256 == sha256).or_else(|| {
            let shown = certificate::parse(shown).ok()?;
            Some(certificate::facts(&shown))
        })
    }

    /// Returns the TLS version as the PROXY protocol writes it, such as `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        let version = match &self.phase {
            Phase::Handshake(handshake) => {
                let version = handshake.state().protocol_version();
                version.and_then(|it| Version::find(it.into()))
            }
            Phase::Established(records, _) => Some(records.suite().version()),
            Phase::Failed => None,
        };
        version.map_or("unknown", Version::name)
    }

    /// Returns the cipher suite's name in IANA's registry, such as `TLS_AES_256_GCM_SHA384`, once the
    /// handshake is over.
    pub fn suite(&self) -> Option<&'static str> {
        self.records().map(|records| records.suite().name)
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
        plain: &mut impl Plaintext,
        out: &mut Space,
    ) -> Result<(), TlsError> {
        let mut used = 0;
        if let Phase::Handshake(handshake) = &mut self.phase {
            used = handshake.receive(bytes, out)?;
            if handshake.is_over() {
                self.establish()?;
            }
        }
        match &mut self.phase {
            Phase::Handshake(_) => {}
            Phase::Established(records, _) => {
                used += records.receive(&bytes[used..], plain, out)?;
            }
            Phase::Failed => return Err(Error::HandshakeNotComplete.into()),
        }
        self.hold(&bytes[used..])
    }

    /// Turns a handshake that is over into a session.
    fn establish(&mut self) -> Result<(), TlsError> {
        if let Phase::Handshake(handshake) = std::mem::replace(&mut self.phase, Phase::Failed) {
            let (records, opening) = dissolve(*handshake)?;
            self.phase = Phase::Established(records, Some(Box::new(opening)));
        }
        Ok(())
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
    pub fn send(&mut self, plain: &[u8], out: &mut Space) -> Result<(), TlsError> {
        match &mut self.phase {
            Phase::Established(records, _) => Ok(records.send(plain, out)?),
            _ => Err(Error::HandshakeNotComplete.into()),
        }
    }

    /// Puts out the message that nothing more will be sent (RFC 8446 §6.1), once.
    pub fn close(&mut self, out: &mut Space) {
        if let Phase::Established(records, _) = &mut self.phase {
            records.close(out);
        }
    }
}

#[cfg(test)]
mod tests;
