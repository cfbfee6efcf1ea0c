//! A client that looks at what a listener presents, for demonstrations and tests.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};

use crate::x509::certificate;

const DEADLINE: Duration = Duration::from_secs(5);

/// What a listener presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub sha256: String,
    /// The TLS version, as `TLSv1.3`.
    pub version: String,
}

/// Why a listener could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The trusted certificates make no sense.
    #[error("the trusted certificates cannot be used: {0}")]
    Roots(#[from] rustls::pki_types::pem::Error),
    /// The name cannot be in a certificate.
    #[error("the server's name makes no sense: {0}")]
    Name(#[from] InvalidDnsNameError),
    /// TLS could not be set up.
    #[error("TLS failed: {0}")]
    Tls(#[from] rustls::Error),
    /// The connection or the handshake failed.
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
    /// The backend behind the listener did not echo.
    #[error("{sent:?} came back as {received:?}")]
    Echo {
        /// What was sent.
        sent: String,
        /// What came back.
        received: String,
    },
}

/// An established session through a listener to a backend that echoes lines.
#[derive(Debug)]
pub struct Session {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    shown: Shown,
}

impl Session {
    /// Connects and completes a full handshake, in which the server must prove to be `name` to a client
    /// that trusts the certificates of `ca_pem`.
    pub fn open(address: SocketAddr, name: &str, ca_pem: &[u8]) -> Result<Self, ProbeError> {
        let name = ServerName::try_from(name.to_owned())?;
        let mut connection = ClientConnection::new(Arc::new(config(ca_pem)?), name)?;
        let mut socket = TcpStream::connect_timeout(&address, DEADLINE)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let shown = shown(&connection);
        let stream = BufReader::new(StreamOwned::new(connection, socket));
        Ok(Self { stream, shown })
    }

    /// Returns what was presented in the handshake.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Sends a line and checks that it comes back.
    pub fn echo(&mut self, line: &str) -> Result<(), ProbeError> {
        let sent = format!("{line}\n");
        self.stream.get_mut().write_all(sent.as_bytes())?;
        self.stream.get_mut().flush()?;
        let mut received = String::new();
        self.stream.read_line(&mut received)?;
        if received == sent {
            return Ok(());
        }
        Err(ProbeError::Echo { sent, received })
    }
}

/// Returns a configuration that has no session to resume, so that each handshake is a full one.
fn config(ca_pem: &[u8]) -> Result<ClientConfig, ProbeError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(certificate?)?;
    }
    Ok(ClientConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn shown(connection: &ClientConnection) -> Shown {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let version = connection
        .protocol_version()
        .map(|version| format!("{version:?}"));
    Shown {
        sha256: leaf.map(|leaf| fingerprint(leaf)).unwrap_or_default(),
        version: version.unwrap_or_default().replace('_', "."),
    }
}

fn fingerprint(der: &[u8]) -> String {
    certificate::sha256(der)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use rcgen::{CertificateParams, KeyPair};
    use rustls::{ServerConfig, ServerConnection, pki_types::PrivateKeyDer};

    use super::*;

    /// Starts a TLS server for one connection that echoes, and returns its address and certificate.
    fn echo_server() -> (SocketAddr, String) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let stream = StreamOwned::new(connection, listener.accept().unwrap().0);
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            stream.get_mut().write_all(line.as_bytes()).unwrap();
        });
        (address, certificate.pem())
    }

    /// Opens a session, sends a line through it, and returns what was presented.
    fn handshake(address: SocketAddr, name: &str, ca_pem: &[u8]) -> Result<Shown, ProbeError> {
        let mut session = Session::open(address, name, ca_pem)?;
        session.echo("Is there anybody out there?")?;
        Ok(session.shown)
    }

    #[test]
    fn a_trusted_server_is_shown() {
        let (address, pem) = echo_server();
        let shown = handshake(address, "localhost", pem.as_bytes()).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(shown.sha256, fingerprint(&der));
        assert_eq!(shown.version, "TLSv1.3");
    }

    #[test]
    fn another_server_is_refused() {
        let (address, _) = echo_server();
        let (_, pem) = echo_server();
        assert!(handshake(address, "localhost", pem.as_bytes()).is_err());
    }
}
