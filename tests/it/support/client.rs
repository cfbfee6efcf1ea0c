//! Clients: a TLS session to an echoing backend, and what was presented in its handshake.

use std::{
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    crypto::aws_lc_rs::sign,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use socket2::{Domain, Socket, Type};
use x509_parser::parse_x509_certificate;

use super::{
    PATIENCE,
    pki::{Ca, Leaf, hex},
};

/// What a listener presented.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shown {
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub(crate) sha256: String,
    /// The leaf's serial number as status writes it.
    pub(crate) serial: String,
    /// The TLS version, as `TLSv1_3`.
    pub(crate) version: String,
}

/// Opens a session, sends a line through it, and returns what was presented.
///
/// The server must prove to be `name` to somebody who trusts `ca` alone.
pub(crate) fn handshake(address: SocketAddr, name: &str, ca: &Ca) -> io::Result<Shown> {
    let mut session = Client::new(ca).name(name).connect(address)?;
    session.echo("Is there anybody out there?")?;
    Ok(session.shown())
}

/// Connects without saying anything.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects from an address of this machine without saying anything.
pub(crate) fn connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Sends bytes over plain TCP and returns all that comes until the other side closes.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// A client that may keep tickets between its connections.
#[derive(Clone)]
pub(crate) struct Client {
    name: String,
    roots: Arc<RootCertStore>,
    leaf: Option<Leaf>,
    tls12: bool,
    record: Option<usize>,
    kept: Option<Arc<ClientConfig>>,
}

impl Client {
    /// Returns a client of `localhost` that trusts an authority.
    pub(crate) fn new(ca: &Ca) -> Self {
        Self::trusting(ca.pem())
    }

    /// Returns a client of `localhost` that trusts the certificates of a PEM text.
    pub(crate) fn trusting(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        Self {
            name: "localhost".to_owned(),
            roots: Arc::new(roots),
            leaf: None,
            tls12: false,
            record: None,
            kept: None,
        }
    }

    /// Asks for this server instead.
    pub(crate) fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Presents a certificate when asked for one.
    pub(crate) fn present(mut self, leaf: &Leaf) -> Self {
        self.leaf = Some(leaf.clone());
        self
    }

    /// Speaks nothing newer than TLS 1.2.
    pub(crate) fn tls12(mut self) -> Self {
        self.tls12 = true;
        self
    }

    /// Speaks TLS 1.2 if so, and the newest there is otherwise.
    pub(crate) fn old(self, old: bool) -> Self {
        if old { self.tls12() } else { self }
    }

    /// Sends no record that is longer, so that a message may take several.
    pub(crate) fn records(mut self, longest: usize) -> Self {
        self.record = Some(longest);
        self
    }

    /// Keeps tickets, so that its next connection tries to resume a session.
    pub(crate) fn resuming(mut self) -> Self {
        self.kept = Some(Arc::new(self.config()));
        self
    }

    fn config(&self) -> ClientConfig {
        let versions = if self.tls12 {
            vec![&TLS12]
        } else {
            vec![&TLS13, &TLS12]
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain = vec![CertificateDer::from(leaf.der.clone())];
                let key = PrivateKeyDer::try_from(leaf.key_der.clone()).unwrap();
                // It is shown whether or not the key is its own.
                let shown = CertifiedKey::new(chain, sign::any_supported_type(&key).unwrap());
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        };
        config.max_fragment_size = self.record;
        config
    }

    /// Connects and completes the handshake.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<Session> {
        self.over(connect(address)?)
    }

    /// Completes the handshake over a connection that is there already.
    pub(crate) fn over(&self, socket: TcpStream) -> io::Result<Session> {
        self.behind(&[], usize::MAX, socket)
    }

    /// Sends bytes and begins TLS right behind them, in segments of this length, and completes it.
    pub(crate) fn behind(
        &self,
        bytes: &[u8],
        segment: usize,
        mut socket: TcpStream,
    ) -> io::Result<Session> {
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let config = self.kept.clone();
        let config = config.unwrap_or_else(|| Arc::new(self.config()));
        let mut connection = ClientConnection::new(config, name).unwrap();
        let mut first = bytes.to_vec();
        while connection.wants_write() {
            connection.write_tls(&mut first)?;
        }
        socket.set_nodelay(true)?;
        for segment in first.chunks(segment) {
            socket.write_all(segment)?;
        }
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Session(BufReader::new(StreamOwned::new(
            connection, socket,
        ))))
    }
}

/// Returns the alert by which a listener ended a connection.
#[track_caller]
pub(crate) fn alert(error: &io::Error) -> AlertDescription {
    let inner = error.get_ref().and_then(|it| it.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert but {error:?}"),
    }
}

/// An established session.
#[derive(Debug)]
pub(crate) struct Session(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Session {
    /// Returns what was presented in the handshake.
    pub(crate) fn shown(&self) -> Shown {
        let connection = &self.0.get_ref().conn;
        let leaf = &connection.peer_certificates().unwrap()[0];
        let (_, parsed) = parse_x509_certificate(leaf).unwrap();
        let serial = hex(parsed.raw_serial());
        Shown {
            sha256: hex(digest(&SHA256, leaf).as_ref()),
            serial: serial.trim_start_matches('0').to_owned(),
            version: format!("{:?}", connection.protocol_version().unwrap()),
        }
    }

    /// Returns whether the handshake resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.get_ref().conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends a line and waits until it comes back; an error if something else does.
    pub(crate) fn echo(&mut self, line: &str) -> io::Result<()> {
        let sent = format!("{line}\n");
        self.send(sent.as_bytes())?;
        let mut received = String::new();
        self.0.read_line(&mut received)?;
        if received == sent {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{sent:?} came back as {received:?}"
        )))
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Returns what comes until the other side closes.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Changes how long a read may take.
    pub(crate) fn read_timeout(&self, time: Duration) {
        let socket = &self.0.get_ref().sock;
        socket.set_read_timeout(Some(time)).unwrap();
    }

    /// Says that no more will be sent, as TLS does.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        stream.flush()
    }

    /// Says the same, and shuts down the sending side of the connection too.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.close()?;
        self.0.get_ref().sock.shutdown(Shutdown::Write)
    }

    /// Returns TLS and the connection under it, for those who read and write at the same time.
    pub(crate) fn parts(&mut self) -> (&mut ClientConnection, &mut TcpStream) {
        let stream = self.0.get_mut();
        (&mut stream.conn, &mut stream.sock)
    }
}

impl Read for Session {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.0.read(space)
    }
}
