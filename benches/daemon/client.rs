//! A client that blocks: it connects, ends TLS at its side and talks to the backend.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};

use crate::{Failure, backend::ECHO, pki};

/// How long a client waits for anything before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// What clients believe and whom they call.
#[derive(Clone)]
pub(crate) struct Clients {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A connection through a proxy, with TLS up.
pub(crate) type Session = StreamOwned<ClientConnection, TcpStream>;

impl Clients {
    /// Makes clients that trust `authority`; each handshake is a full one.
    pub(crate) fn new(authority: CertificateDer<'static>) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(pki::SERVER_NAME)?,
        })
    }

    /// Connects and finishes the handshake.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<Session> {
        let tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(io::Error::other)?;
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut session = StreamOwned::new(tls, socket);
        while session.conn.is_handshaking() {
            session.conn.complete_io(&mut session.sock)?;
        }
        Ok(session)
    }

    /// Connects and has one byte echoed: from then on the whole way is open.
    pub(crate) fn open(&self, address: SocketAddr) -> io::Result<Session> {
        let mut session = self.connect(address)?;
        session.write_all(&[ECHO, 0])?;
        session.read_exact(&mut [0])?;
        Ok(session)
    }

    /// Does the same and leaves in good order.
    pub(crate) fn visit(&self, address: SocketAddr) -> io::Result<()> {
        let mut session = self.open(address)?;
        session.conn.send_close_notify();
        session.flush()
    }
}
