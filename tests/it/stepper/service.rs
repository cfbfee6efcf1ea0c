//! What the daemon's sessions lead to: a service that a client tells how to answer.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use socket2::SockRef;

use super::conversation::Kind;
use crate::support::pki::Ca;

/// To a client that begins with this, the service sends back each message.
pub(super) const ECHO: u8 = b'E';

/// To a client that begins with this, the service sends back everything once the client has ended its direction.
pub(super) const COLLECT: u8 = b'C';

/// To a client that begins with this and then sends a byte, the service sends as much as there is room for on the way.
pub(super) const POUR: u8 = b'P';

/// What the service says once it knows how to answer.
pub(super) const WELCOME: u8 = b'!';

/// More bytes than all buffers on the way can hold.
pub(super) const TOO_MUCH: usize = 64 << 20;

/// How long a write waits before the service takes it that there is no room. A worker may be replaced within that
/// time, or after it.
const NO_ROOM: Duration = Duration::from_millis(40);

/// The service, on threads of its own.
pub(super) struct Service {
    address: String,
    poured: Arc<AtomicUsize>,
}

impl Service {
    /// Starts it as sessions of this kind need it.
    pub(super) fn start(kind: Kind, folder: &Path) -> Self {
        let poured = Arc::default();
        let told = Arc::clone(&poured);
        let address = match kind {
            Kind::Unix => unix(folder, move |stream| take(stream, &told)),
            Kind::BothTls => {
                let config = tls();
                tcp(move |stream| {
                    let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                    take(StreamOwned::new(connection, stream), &told);
                })
            }
            _ => tcp(move |stream| {
                if kind == Kind::Slow {
                    stream.set_write_timeout(Some(NO_ROOM)).unwrap();
                }
                take(stream, &told);
            }),
        };
        Self { address, poured }
    }

    /// Returns where it is, as a configuration writes it.
    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// Returns how many bytes the service has poured; 0 before it has. Its clients set it back to 0.
    pub(super) fn poured(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.poured)
    }
}

fn tcp(take: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // With a small buffer the service soon waits for room.
    SockRef::from(&listener)
        .set_send_buffer_size(1 << 16)
        .unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let streams = listener.incoming().map_while(Result::ok);
        streams.for_each(take);
    });
    address
}

fn unix(folder: &Path, take: impl Fn(UnixStream) + Send + 'static) -> String {
    let path = folder.join("service.sock");
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    thread::spawn(move || {
        let streams = listener.incoming().map_while(Result::ok);
        streams.for_each(take);
    });
    format!("unix:{}", path.display())
}

/// Returns what a server of TLS needs, with a certificate of its own.
fn tls() -> Arc<ServerConfig> {
    let leaf = Ca::new("services").leaf("localhost");
    let key = PrivateKeyDer::try_from(leaf.key_der.clone()).unwrap();
    let chain = vec![CertificateDer::from(leaf.der.clone())];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

/// Any kind of connection.
trait Stream: Read + Write + Send + 'static {}
impl<T: Read + Write + Send + 'static> Stream for T {}

fn take(stream: impl Stream, poured: &Arc<AtomicUsize>) {
    let poured = Arc::clone(poured);
    // The client finds out how it ended.
    thread::spawn(move || drop(answer(stream, &poured)));
}

fn answer(mut stream: impl Stream, poured: &AtomicUsize) -> io::Result<()> {
    let mut mode = [0];
    stream.read_exact(&mut mode)?;
    say(&mut stream, &[WELCOME])?;
    let mut space = vec![0; 1 << 16];
    let mut all = Vec::new();
    loop {
        let read = stream.read(&mut space)?;
        match (read, mode[0]) {
            (0, COLLECT) => return say(&mut stream, &all),
            (0, _) => return Ok(()),
            (_, COLLECT) => all.extend_from_slice(&space[..read]),
            (_, POUR) => pour(&mut stream, poured)?,
            _ => say(&mut stream, &space[..read])?,
        }
    }
}

fn say(stream: &mut impl Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Writes until there is no room anywhere on the way, and notes how much it was.
fn pour(stream: &mut impl Stream, poured: &AtomicUsize) -> io::Result<()> {
    let mut all = 0;
    let mut piece = Vec::new();
    while all < TOO_MUCH {
        if piece.is_empty() {
            piece = pattern(all, 1 << 14);
        }
        match stream.write(&piece) {
            Ok(written) => {
                all += written;
                piece.drain(..written);
            }
            // The socket has a timeout.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    poured.store(all, Ordering::SeqCst);
    Ok(())
}

/// Returns bytes of which no stretch looks like the next.
pub(super) fn pattern(from: usize, length: usize) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((at * 7 + at / 251) % 251).unwrap();
    (from..from + length).map(byte).collect()
}
