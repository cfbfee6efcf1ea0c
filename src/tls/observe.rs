//! A client's handshake that notes all that the server shows, whether or not it should be believed.
//!
//! Whether the server's certificate is to be believed is judged afterwards, by [`Judge`]: so a bad one is
//! shown too. That the server holds the certificate's key is checked always. Bytes go in and come out here;
//! the caller has the socket.

mod judge;
mod words;

use std::{
    io::{Read as _, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, NamedGroup, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};

pub use self::{
    judge::{Judge, Judgement},
    words::Broken,
};
use super::{
    policy::no_name,
    provider,
    records::suite::{Suite, Version},
    trust::verifier::{BackendVerifier, Check},
};
use crate::protocol::Protocol;

/// The most bytes of a server's that are read for a handshake. Its longest message has 64 KiB (rustls
/// refuses longer ones), and the others together are far shorter.
const MOST_BYTES: usize = 256 * 1024;

/// A handshake that goes on.
pub struct Observation {
    connection: ClientConnection,
    witness: Arc<Witness>,
    received: usize,
}

/// What a server has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The TLS version as `TLSv1.3`, once the server has chosen one.
    pub version: Option<&'static str>,
    /// The cipher suite's name in IANA's registry.
    pub suite: Option<&'static str>,
    /// The group of the key exchange, by its name in IANA's registry, such as `x25519`.
    pub group: Option<String>,
    /// The certificates in the order in which they were sent, each in DER.
    pub chain: Vec<Vec<u8>>,
    /// The server has shown that it holds the first certificate's key.
    pub is_proved: bool,
    /// The server has asked for a certificate of the client.
    pub asks_for_certificate: bool,
}

impl Observation {
    /// Begins a handshake; a name that is no IP address is asked for (RFC 6066 §3).
    pub fn new(protocol: Protocol, name: Option<&ServerName<'static>>) -> Result<Self, Error> {
        let witness = Arc::new(Witness::new()?);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as _)
            .with_client_cert_resolver(Arc::clone(&witness) as _);
        config.resumption = rustls::client::Resumption::disabled();
        let names = protocol.traits().alpn.iter();
        config.alpn_protocols = names.map(|it| it.to_vec()).collect();
        let name = name.cloned().unwrap_or_else(no_name);
        let connection = ClientConnection::new(Arc::new(config), name)?;
        Ok(Self {
            connection,
            witness,
            received: 0,
        })
    }

    /// Returns whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes bytes from the network.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        self.received += bytes.len();
        if self.received > MOST_BYTES {
            return Err(Broken::TooLong);
        }
        while !bytes.is_empty() {
            // It fails only when its buffer is full, which the next line empties.
            let taken = self.connection.read_tls(&mut bytes);
            self.connection
                .process_new_packets()
                .map_err(|error| Broken::of(&error))?;
            match taken {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(Broken::TooLong),
            }
        }
        Ok(())
    }

    /// Returns what has to be sent: parts of the handshake, or after an error the alert that tells the server.
    pub fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            // Writing to memory does not fail.
            if self.connection.write_tls(&mut out).is_err() {
                break;
            }
        }
        out
    }

    /// Has [`Self::output`] say this to the server within TLS, once the handshake is complete.
    pub fn say(&mut self, words: &[u8]) {
        // Its buffer grows.
        let _ = self.connection.writer().write_all(words);
    }

    /// Appends what the server has said within TLS.
    pub fn hear(&mut self, words: &mut Vec<u8>) {
        // It ends with an error where nothing more has come, which is no fault.
        let _ = self.connection.reader().read_to_end(words);
    }

    /// Makes [`Self::output`] end with the message that nothing more will be sent (RFC 8446 §6.1).
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Returns what was seen so far.
    pub fn observed(&self) -> Observed {
        let suite = self.connection.negotiated_cipher_suite();
        let group = self.connection.negotiated_key_exchange_group();
        let version = self.connection.protocol_version();
        Observed {
            version: version
                .and_then(|it| Version::find(it.into()))
                .map(Version::name),
            suite: suite
                .and_then(|it| Suite::find(it.suite().into()))
                .map(|it| it.name),
            group: group.map(|it| group_name(it.name())),
            chain: self.witness.chain(),
            is_proved: self.witness.proved.load(Ordering::Relaxed),
            asks_for_certificate: self.witness.asked.load(Ordering::Relaxed),
        }
    }
}

fn group_name(group: NamedGroup) -> String {
    match group {
        NamedGroup::X25519 => "x25519".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Notes what a server shows in one handshake.
#[derive(Debug)]
struct Witness {
    /// Checks signatures alone.
    signatures: BackendVerifier,
    chain: Mutex<Vec<Vec<u8>>>,
    proved: AtomicBool,
    asked: AtomicBool,
}

impl Witness {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            signatures: BackendVerifier::new(Check::Nothing, Vec::new())?,
            chain: Mutex::default(),
            proved: AtomicBool::new(false),
            asked: AtomicBool::new(false),
        })
    }

    fn chain(&self) -> Vec<Vec<u8>> {
        let chain = self.chain.lock();
        chain.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(
        &self,
        proof: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proved.store(proof.is_ok(), Ordering::Relaxed);
        proof
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(leaf).chain(rest);
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        *chain = all.map(|it| it.to_vec()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(
            self.signatures
                .verify_tls12_signature(message, leaf, signed),
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(
            self.signatures
                .verify_tls13_signature(message, leaf, signed),
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.supported_verify_schemes()
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
