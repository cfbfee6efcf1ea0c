//! Handshakes by rustls, one record at a time, so that it has read nothing beyond them.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ExtractedSecrets,
    KeyLog, SignatureScheme, SupportedCipherSuite,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::cipher_suite as suites},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::Direction;

/// A suite of TLS 1.3 for tests that need one.
pub(crate) const V13: SupportedCipherSuite = suites::TLS13_AES_256_GCM_SHA384;
/// A suite of TLS 1.2 for tests that need one.
pub(crate) const V12: SupportedCipherSuite = suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

/// Returns all suites that the daemon knows.
pub(crate) fn every_suite() -> Vec<SupportedCipherSuite> {
    let suites = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    assert_eq!(suites.len(), 9);
    suites
}

pub(super) fn provider(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![suite],
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

/// Keeps the secrets of TLS 1.3, which rustls does not hand out afterwards.
#[derive(Debug, Default)]
pub(super) struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let mut kept = self.0.lock().unwrap();
        kept.push((label.to_owned(), secret.to_vec()));
    }
}

impl Secrets {
    pub(super) fn of(&self, side: &str) -> Vec<u8> {
        let label = format!("{side}_TRAFFIC_SECRET_0");
        let kept = self.0.lock().unwrap();
        let found = kept.iter().find(|(it, _)| *it == label);
        found.map(|(_, secret)| secret.clone()).unwrap_or_default()
    }
}

/// Completes a handshake in records that are no longer than this, if there is such a limit; returns what
/// is still to be sent of it.
pub(super) fn as_client(
    socket: &mut TcpStream,
    suite: SupportedCipherSuite,
    longest: Option<usize>,
) -> io::Result<(Vec<u8>, Direction, Direction)> {
    let secrets = Arc::new(Secrets::default());
    let mut config = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config.max_fragment_size = longest;
    config.key_log = Arc::<Secrets>::clone(&secrets);
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name)
        .unwrap()
        .into();
    let last = complete(&mut connection, socket)?;
    let Connection::Client(connection) = connection else {
        unreachable!("it was made of a client");
    };
    let extracted = connection.dangerous_extract_secrets().unwrap();
    let (tx, rx) = directions(
        suite,
        &extracted,
        secrets.of("CLIENT"),
        secrets.of("SERVER"),
    );
    Ok((last, tx, rx))
}

pub(super) fn directions(
    suite: SupportedCipherSuite,
    extracted: &ExtractedSecrets,
    own: Vec<u8>,
    other: Vec<u8>,
) -> (Direction, Direction) {
    let version = suite.version().version;
    let (sent, received) = (&extracted.tx, &extracted.rx);
    (
        Direction::new(version, sent.0, &sent.1, own),
        Direction::new(version, received.0, &received.1, other),
    )
}

/// Exchanges records until rustls knows all that it needs; returns what it has to send after that.
pub(super) fn complete(connection: &mut Connection, socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    complete_by(connection, socket, TcpStream::write_all)
}

pub(super) fn complete_by(
    connection: &mut Connection,
    socket: &mut TcpStream,
    send: impl Fn(&mut TcpStream, &[u8]) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    loop {
        let mut out = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut out)?;
        }
        if !connection.is_handshaking() {
            return Ok(out);
        }
        send(socket, &out)?;
        let record = read_record(socket)?.ok_or(ErrorKind::UnexpectedEof)?;
        connection.read_tls(&mut &record[..])?;
        let processed = connection.process_new_packets();
        processed.map_err(io::Error::other)?;
    }
}

/// Reads a record as it is; `None` at an end between two.
pub(super) fn read_record(socket: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut record = vec![0; 5];
    let read = socket.read(&mut record)?;
    if read == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut record[read..])?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    socket.read_exact(&mut record[5..])?;
    Ok(Some(record))
}

/// Believes every certificate: what is shown is what other tests are about.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
