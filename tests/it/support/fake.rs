//! Backends that follow a script, and keep what they were sent.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, Stream,
    crypto::aws_lc_rs::sign,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    PATIENCE,
    pki::{Ca, Leaf, hex},
};

/// A backend that does with each connection what a function says.
#[derive(Debug)]
pub(crate) struct Fake {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Fake {
    /// Starts one at a port of its own.
    ///
    /// Whatever goes wrong in `serve` ends that connection, and the test notices by that.
    pub(crate) fn new(
        serve: impl Fn(&mut Heard) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::over(local(), serve)
    }

    /// Starts one that takes those who come here.
    pub(crate) fn over(
        listener: TcpListener,
        serve: impl Fn(&mut Heard) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let fake = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
        };
        let (heard, serve) = (Arc::clone(&fake.heard), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serve = Arc::clone(&serve);
                let mut connection = Heard::new(stream, Arc::clone(&heard));
                thread::spawn(move || serve(&mut connection));
            }
        });
        fake
    }

    /// Starts one that says this to everybody who comes, and then only listens.
    pub(crate) fn saying(words: &[u8]) -> Self {
        let words = words.to_vec();
        Self::new(move |connection| {
            connection.write_all(&words)?;
            connection.listen()
        })
    }

    /// Starts one that echoes.
    pub(crate) fn echo() -> Self {
        Self::new(Heard::echo)
    }

    /// Returns where it is, as a configuration writes it.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns an address by which it is reached too, and that nobody can know to be this machine's.
    pub(crate) fn network_address(&self) -> String {
        format!("0.0.0.0:{}", self.address.port())
    }

    /// Returns what each connection so far has sent.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn local() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// A connection to such a backend; what is read from it is kept.
#[derive(Debug)]
pub(crate) struct Heard {
    stream: TcpStream,
    all: Arc<Mutex<Vec<Vec<u8>>>>,
    number: usize,
}

impl Heard {
    fn new(stream: TcpStream, all: Arc<Mutex<Vec<Vec<u8>>>>) -> Self {
        let mut heard = all.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(Vec::new());
        let number = heard.len() - 1;
        drop(heard);
        Self {
            stream,
            all,
            number,
        }
    }

    /// Returns the connection itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads until the other side ends.
    pub(crate) fn listen(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }

    /// Sends back what comes until the other side ends.
    pub(crate) fn echo(&mut self) -> io::Result<()> {
        let mut space = vec![0; 64 * 1024];
        loop {
            let read = self.read(&mut space)?;
            if read == 0 {
                return Ok(());
            }
            self.write_all(&space[..read])?;
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Read for Heard {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(space)?;
        let mut heard = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        heard[self.number].extend_from_slice(&space[..read]);
        Ok(read)
    }
}

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What a backend with TLS saw of a peer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    /// SHA-256 of the certificate that the peer showed.
    pub(crate) certificate: Option<String>,
    /// The name that it asked for.
    pub(crate) name: Option<String>,
}

/// A backend that speaks TLS from the first byte and echoes; it ends its TLS when it hears a goodbye,
/// and else its connection alone.
#[derive(Debug)]
pub(crate) struct TlsFake {
    fake: Fake,
    seen: Arc<Mutex<Vec<Seen>>>,
    ends: Arc<Mutex<Vec<TlsEnd>>>,
}

/// How a peer ended its TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TlsEnd {
    /// It said so.
    Told,
    /// The connection ended without a word.
    Cut,
}

impl TlsFake {
    /// Starts one that shows this certificate, and asks peers for one if it knows who issues theirs.
    pub(crate) fn new(leaf: &Leaf, clients: Option<&Ca>) -> Self {
        Self::over(local(), leaf, clients)
    }

    /// Starts one that takes those who come here.
    pub(crate) fn over(listener: TcpListener, leaf: &Leaf, clients: Option<&Ca>) -> Self {
        let config = Arc::new(server_config(leaf, clients));
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let noted = Arc::clone(&seen);
        let ends = Arc::<Mutex<Vec<TlsEnd>>>::default();
        let ended = Arc::clone(&ends);
        let note = move |end| {
            let mut ends = ended.lock().unwrap_or_else(PoisonError::into_inner);
            ends.push(end);
        };
        let fake = Fake::over(listener, move |connection| {
            let stream = &mut connection.stream;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut tls = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            while tls.is_handshaking() {
                tls.complete_io(stream)?;
            }
            let shown = tls.peer_certificates().and_then(|chain| chain.first());
            noted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Seen {
                    certificate: shown.map(|leaf| hex(digest(&SHA256, leaf).as_ref())),
                    name: tls.server_name().map(str::to_owned),
                });
            let mut session = Stream::new(&mut tls, stream);
            let mut space = [0; 4096];
            loop {
                let read = match session.read(&mut space) {
                    Ok(0) => {
                        note(TlsEnd::Told);
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        note(TlsEnd::Cut);
                        return Err(error);
                    }
                    read => read?,
                };
                session.write_all(&space[..read])?;
                if space[..read].ends_with(b"goodbye\n") {
                    session.conn.send_close_notify();
                    return session.flush();
                }
            }
        });
        Self { fake, seen, ends }
    }

    /// Returns where it is, as a configuration writes it.
    pub(crate) fn address(&self) -> String {
        self.fake.address()
    }

    /// Returns its port.
    pub(crate) fn port(&self) -> u16 {
        self.fake.address.port()
    }

    /// Returns what it saw of those with whom the handshake was completed.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns how those who were first to end their TLS did so.
    pub(crate) fn ends(&self) -> Vec<TlsEnd> {
        self.ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn server_config(leaf: &Leaf, clients: Option<&Ca>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap())
                .unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::try_from(leaf.key_der.clone()).unwrap();
    let key = sign::any_supported_type(&key).unwrap();
    // It is shown whatever it is, as other servers do.
    let shown = CertifiedKey::new(vec![CertificateDer::from(leaf.der.clone())], key);
    builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
}

/// A load balancer: it passes everything on behind a header of its own.
#[derive(Debug)]
pub(crate) struct Balancer(SocketAddr);

impl Balancer {
    /// Starts one in front of an address.
    pub(crate) fn new(target: SocketAddr, header: &[u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let header = header.to_vec();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let header = header.clone();
                thread::spawn(move || balance(client, target, &header));
            }
        });
        Self(address)
    }

    /// Returns where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0
    }
}

fn balance(mut client: TcpStream, target: SocketAddr, header: &[u8]) -> io::Result<()> {
    let mut server = TcpStream::connect(target)?;
    server.write_all(header)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = io::copy(&mut server, &mut client);
    client.shutdown(std::net::Shutdown::Write)
}
