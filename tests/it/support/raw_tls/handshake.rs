//! Handshakes by rustls, one record at a time, so that it has read nothing beyond them.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ExtractedSecrets,
    KeyLog, ServerConfig, ServerConnection, SignatureScheme, SupportedCipherSuite,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::cipher_suite as suites},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use socket2::SockRef;

use super::{BETWEEN_SEGMENTS, Direction, RawTls};
use crate::support::{
    PATIENCE, pause,
    pki::{Ca, Leaf},
};

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

fn provider(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![suite],
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

/// Keeps the secrets of TLS 1.3, which rustls does not hand out afterwards.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let mut kept = self.0.lock().unwrap();
        kept.push((label.to_owned(), secret.to_vec()));
    }
}

impl Secrets {
    fn of(&self, side: &str) -> Vec<u8> {
        let label = format!("{side}_TRAFFIC_SECRET_0");
        let kept = self.0.lock().unwrap();
        let found = kept.iter().find(|(it, _)| *it == label);
        found.map(|(_, secret)| secret.clone()).unwrap_or_default()
    }
}

/// Completes a handshake; returns what is still to be sent of it.
pub(super) fn as_client(
    socket: &mut TcpStream,
    suite: SupportedCipherSuite,
) -> io::Result<(Vec<u8>, Direction, Direction)> {
    let secrets = Arc::new(Secrets::default());
    let mut config = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
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

fn directions(
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
fn complete(connection: &mut Connection, socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    complete_by(connection, socket, |socket, bytes| socket.write_all(bytes))
}

fn complete_by(
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

/// What takes connections of the daemon as a TLS server.
pub(crate) struct Server {
    listener: TcpListener,
    leaf: Leaf,
    rsa: Option<Leaf>,
}

impl Server {
    /// Begins to listen at a port of its own; with a certificate with an RSA key beside the other if it
    /// is to know every suite.
    pub(crate) fn new(ca: &Ca, every_suite: bool) -> Self {
        let algorithm = &rcgen::PKCS_RSA_SHA256;
        let rsa = || ca.request(&["localhost"]).algorithm(algorithm).issue();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // To accept is to read, in this.
        let patience = SockRef::from(&listener).set_read_timeout(Some(PATIENCE));
        patience.unwrap();
        Self {
            listener,
            leaf: ca.leaf("localhost"),
            rsa: every_suite.then(rsa),
        }
    }

    /// Returns where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection, without TLS.
    pub(crate) fn accept(&self) -> io::Result<TcpStream> {
        let (socket, _) = self.listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// Completes a handshake as a server that knows this suite alone.
    pub(crate) fn begin_tls(
        &self,
        socket: TcpStream,
        suite: SupportedCipherSuite,
    ) -> io::Result<RawTls> {
        self.begin_tls_torn(socket, suite, usize::MAX, |_| Vec::new())
    }

    /// Does the same, and sends records right behind its last message, in two segments of which the
    /// first has this length.
    ///
    /// In TLS 1.3 its last message was sent before the client's, and these records stand alone.
    pub(crate) fn begin_tls_torn(
        &self,
        mut socket: TcpStream,
        suite: SupportedCipherSuite,
        at: usize,
        behind: impl FnOnce(&mut Direction) -> Vec<u8>,
    ) -> io::Result<RawTls> {
        let leaf = match &self.rsa {
            Some(rsa) if format!("{:?}", suite.suite()).contains("_RSA_") => rsa,
            _ => &self.leaf,
        };
        let secrets = Arc::new(Secrets::default());
        let config = server_config(suite, leaf, &secrets);
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap().into();
        let last = complete(&mut connection, &mut socket)?;
        let Connection::Server(connection) = connection else {
            unreachable!("it was made of a server");
        };
        let extracted = connection.dangerous_extract_secrets().unwrap();
        let (tx, rx) = directions(
            suite,
            &extracted,
            secrets.of("SERVER"),
            secrets.of("CLIENT"),
        );
        RawTls::new(socket, tx, rx).begin_torn(last, at, behind)
    }

    /// Completes a handshake of TLS 1.3, and says this right behind its own last message, before the
    /// client's has come (RFC 8446 §2, figure 1); that segment is torn so many bytes before its end.
    pub(crate) fn begin_tls_early(
        &self,
        mut socket: TcpStream,
        suite: SupportedCipherSuite,
        words: &[u8],
        tail: usize,
    ) -> io::Result<RawTls> {
        let secrets = Arc::new(Secrets::default());
        let mut config = server_config(suite, &self.leaf, &secrets);
        config.send_half_rtt_data = true;
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        connection.writer().write_all(words)?;
        let mut connection = connection.into();
        let last = complete_by(&mut connection, &mut socket, |socket, bytes| {
            let (first, second) = bytes.split_at(bytes.len().saturating_sub(tail));
            socket.write_all(first)?;
            pause(BETWEEN_SEGMENTS);
            socket.write_all(second)
        })?;
        let Connection::Server(connection) = connection else {
            unreachable!("it was made of a server");
        };
        let extracted = connection.dangerous_extract_secrets().unwrap();
        let (tx, rx) = directions(
            suite,
            &extracted,
            secrets.of("SERVER"),
            secrets.of("CLIENT"),
        );
        RawTls::new(socket, tx, rx).begin_torn(last, usize::MAX, |_| Vec::new())
    }
}

fn server_config(suite: SupportedCipherSuite, leaf: &Leaf, secrets: &Arc<Secrets>) -> ServerConfig {
    let key = PrivateKeyDer::try_from(leaf.key_der.clone()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(leaf.der.clone())], key)
        .unwrap();
    config.enable_secret_extraction = true;
    config.key_log = Arc::<Secrets>::clone(secrets);
    // Tests send their own.
    config.send_tls13_tickets = 0;
    config
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
