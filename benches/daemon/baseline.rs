//! What `proxyd` is compared with: the plainest proxy that the same libraries make.
//!
//! It accepts, ends TLS, connects and copies, and does nothing else: no deadlines, no limits, no
//! counters, no log, no reload. It runs as a process of its own, which is this program again, so
//! that its time and memory are taken as those of a worker are.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use crate::{Failure, pki::Leaf};

/// The first argument that makes this program a baseline.
pub(crate) const NAME: &str = "baseline";

/// A baseline that runs; it is killed when this is dropped.
pub(crate) struct Baseline {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Baseline {
    /// Starts one before `backend` that presents `leaf`, with its files in `folder`.
    pub(crate) fn start(folder: &Path, leaf: &Leaf, backend: SocketAddr) -> Result<Self, Failure> {
        let (cert, key) = (folder.join("baseline.pem"), folder.join("baseline.key"));
        fs::write(&cert, &leaf.cert)?;
        fs::write(&key, &leaf.key)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([Path::new(NAME), &cert, &key])
            .arg(backend.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the baseline has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse()?;
        Ok(Self { child, address })
    }

    /// Returns its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // It may have ended by itself; then a measure has failed and said so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the baseline, until it is killed.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let [cert, key, backend] = arguments else {
        return Err("a baseline is started by the benchmark, not by hand".into());
    };
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(cert)?],
            PrivateKeyDer::from_pem_file(key)?,
        );
    let mut config = config?;
    // proxyd sends none, and a client that throws them away need not be served them.
    config.send_tls13_tickets = 0;
    super::allow_many_sockets()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(serve(TlsAcceptor::from(Arc::new(config)), backend.parse()?))?;
    Ok(())
}

async fn serve(acceptor: TlsAcceptor, backend: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(session(acceptor.clone(), client, backend));
    }
}

async fn session(acceptor: TlsAcceptor, client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    let mut backend = TcpStream::connect(backend).await?;
    backend.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut backend).await?;
    Ok(())
}
