//! The server side of a peer that makes its records itself.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use rustls::{
    Connection, ServerConfig, ServerConnection, SupportedCipherSuite,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use socket2::SockRef;

use super::{
    BETWEEN_SEGMENTS, Direction, RawTls,
    handshake::{Secrets, complete, complete_by, directions, provider},
};
use crate::support::{
    PATIENCE, pause,
    pki::{Ca, Leaf},
};

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
        established(socket, suite, connection, &secrets).begin_torn(last, at, behind)
    }

    /// Completes a handshake of TLS 1.3, and says this right behind its own last message, before the
    /// client's has come (RFC 8446 §2, figure 1); that segment is torn so many bytes before its end, and
    /// its records are no longer than this, if there is such a limit.
    pub(crate) fn begin_tls_early(
        &self,
        mut socket: TcpStream,
        suite: SupportedCipherSuite,
        words: &[u8],
        longest: Option<usize>,
        tail: usize,
    ) -> io::Result<RawTls> {
        let secrets = Arc::new(Secrets::default());
        let mut config = server_config(suite, &self.leaf, &secrets);
        config.send_half_rtt_data = true;
        config.max_fragment_size = longest;
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        connection.writer().write_all(words)?;
        let mut connection = connection.into();
        let last = complete_by(&mut connection, &mut socket, |socket, bytes| {
            let (first, second) = bytes.split_at(bytes.len().saturating_sub(tail));
            socket.write_all(first)?;
            pause(BETWEEN_SEGMENTS);
            socket.write_all(second)
        })?;
        established(socket, suite, connection, &secrets)
            .begin_torn(last, usize::MAX, |_| Vec::new())
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

/// Returns the session of a handshake that is complete.
fn established(
    socket: TcpStream,
    suite: SupportedCipherSuite,
    connection: Connection,
    secrets: &Secrets,
) -> RawTls {
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
    RawTls::new(socket, tx, rx)
}
