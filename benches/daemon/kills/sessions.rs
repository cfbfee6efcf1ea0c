//! Sessions that check every byte: clients with TLS and their backend, on a thread of their own.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion,
        client::Resumption,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};

use super::{
    pulse::{Board, Pulse, Role, Way},
    stream::Stream,
};
use crate::{Failure, pki};

/// The pause between two messages of a speaker that speaks all the time.
const PACE: Duration = Duration::from_millis(15);

/// The longest message.
const LONGEST: u64 = 12 * 1024;

/// What a slow reader reads at once, and the pause after it.
const SIP: usize = 2048;
const SIP_PACE: Duration = Duration::from_millis(20);

/// What others read at once.
const GULP: usize = 64 * 1024;

/// How long everything may take that is still to be said once the sessions are to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many connections are opened at the same time.
const AT_ONCE: usize = 64;

/// Sessions that run.
pub(super) struct Sessions {
    /// How they go on.
    pub(super) board: Arc<Board>,
    over: watch::Sender<bool>,
    thread: JoinHandle<io::Result<()>>,
}

/// A backend that takes sessions by their numbers, and where it is.
pub(super) struct Place {
    /// Its address.
    pub(super) address: SocketAddr,
    listener: std::net::TcpListener,
}

impl Place {
    /// Begins to listen.
    pub(super) fn new() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { address, listener })
    }
}

impl Sessions {
    /// Opens sessions with these roles through a proxy, every other with TLS 1.2.
    pub(super) fn open(
        place: Place,
        proxy: SocketAddr,
        authority: &CertificateDer<'static>,
        roles: &[Role],
    ) -> Result<Self, Failure> {
        let connectors = [connector(authority, &TLS13)?, connector(authority, &TLS12)?];
        let (board, (over, ended)) = (Arc::new(Board::new(roles)), watch::channel(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = run(place, proxy, connectors, Arc::clone(&board), ended);
        let thread = thread::spawn(move || runtime.block_on(run));
        Ok(Self {
            board,
            over,
            thread,
        })
    }

    /// Has all sessions say their last words; returns why any of them was lost.
    pub(super) fn end(self) -> Result<Vec<String>, Failure> {
        self.over.send_replace(true);
        match self.thread.join() {
            Ok(done) => done?,
            Err(_) => return Err("the sessions have panicked".into()),
        }
        Ok(self.board.lost())
    }
}

fn connector(
    authority: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn run(
    place: Place,
    proxy: SocketAddr,
    connectors: [TlsConnector; 2],
    board: Arc<Board>,
    over: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(place.listener)?;
    let served = tokio::spawn(serve(listener, Arc::clone(&board), over.clone()));
    let opening = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    for number in 0..board.sessions.len() {
        let connector = connectors[number % 2].clone();
        let (board, over, opening) = (Arc::clone(&board), over.clone(), Arc::clone(&opening));
        clients.spawn(async move {
            let permit = opening.acquire_owned().await.map_err(io::Error::other);
            let opened = match permit {
                Ok(_permit) => open(proxy, &connector, number).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok(stream) => talk(stream, number, Way::Up, &board, over).await,
                Err(error) => board.lose(number, &format!("it cannot be opened: {error}")),
            }
        });
    }
    while clients.join_next().await.is_some() {}
    served.abort();
    Ok(())
}

/// Connects, finishes the handshake, and tells the backend the number.
async fn open(
    proxy: SocketAddr,
    connector: &TlsConnector,
    number: usize,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let socket = TcpStream::connect(proxy).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(pki::SERVER_NAME).map_err(io::Error::other)?;
    let mut stream = connector.connect(name, socket).await?;
    stream.write_u64(number as u64).await?;
    stream.flush().await?;
    Ok(stream)
}

async fn serve(listener: TcpListener, board: Arc<Board>, over: watch::Receiver<bool>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let (board, over) = (Arc::clone(&board), over.clone());
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let number = socket.read_u64().await.ok();
            let number = number.and_then(|number| usize::try_from(number).ok());
            if let Some(number) = number.filter(|it| *it < board.sessions.len()) {
                talk(socket, number, Way::Down, &board, over).await;
            }
        });
    }
}

/// Speaks in one direction of a session and listens in the other until both are over.
async fn talk(
    stream: impl AsyncRead + AsyncWrite,
    number: usize,
    speaks: Way,
    board: &Board,
    over: watch::Receiver<bool>,
) {
    let (reader, writer) = tokio::io::split(stream);
    let speaking = speak(writer, number, speaks, board, over.clone());
    let other = match speaks {
        Way::Up => Way::Down,
        Way::Down => Way::Up,
    };
    let listening = listen(reader, number, other, board, over.clone());
    let mut ended = over;
    let both = async { tokio::join!(speaking, listening) };
    tokio::pin!(both);
    let late = async {
        drop(ended.wait_for(|over| *over).await);
        sleep(PATIENCE).await;
    };
    let result = tokio::select! {
        result = &mut both => Some(result),
        () = late => None,
    };
    match result {
        Some((Ok(()), Ok(()))) => {}
        Some((spoken, heard)) => {
            let why = [spoken.err(), heard.err()].into_iter().flatten();
            let why: Vec<String> = why.map(|it| it.to_string()).collect();
            board.lose(number, &format!("{speaks:?}: {}", why.join("; ")));
        }
        None => board.lose(number, "it stands still"),
    }
}

fn pulse(board: &Board, number: usize, way: Way) -> (&Pulse, Stream) {
    let session = &board.sessions[number];
    let seed = (number as u64 + 1) << 40;
    match way {
        Way::Up => (&session.up, Stream::new(seed)),
        Way::Down => (&session.down, Stream::new(!seed)),
    }
}

async fn speak(
    mut writer: impl AsyncWrite + Unpin,
    number: usize,
    way: Way,
    board: &Board,
    mut over: watch::Receiver<bool>,
) -> io::Result<()> {
    let role = board.sessions[number].role;
    let (pulse, mut stream) = pulse(board, number, way);
    let mut words = Vec::new();
    let is_done = matches!(
        (role, way),
        (Role::ClientDone, Way::Up) | (Role::BackendDone, Way::Down)
    );
    let is_full = matches!(
        (role, way),
        (Role::SlowBackend, Way::Up) | (Role::SlowClient, Way::Down)
    );
    loop {
        let last = *over.borrow();
        let length = if is_full {
            LONGEST
        } else {
            1 + (stream.at().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % LONGEST
        };
        words.resize(usize::try_from(length).unwrap_or_default(), 0);
        stream.fill(&mut words);
        writer.write_all(&words).await?;
        writer.flush().await?;
        pulse.said.store(stream.at(), Ordering::Relaxed);
        match role {
            _ if is_done || last => break,
            Role::Idle => drop(over.wait_for(|over| *over).await),
            // To be without a pause would leave no time for others.
            _ if is_full => tokio::task::yield_now().await,
            _ => sleep(PACE).await,
        }
    }
    pulse.done.store(true, Ordering::Relaxed);
    writer.shutdown().await
}

async fn listen(
    mut reader: impl AsyncRead + Unpin,
    number: usize,
    way: Way,
    board: &Board,
    over: watch::Receiver<bool>,
) -> io::Result<()> {
    let role = board.sessions[number].role;
    let (pulse, mut stream) = pulse(board, number, way);
    let (mut space, mut expected) = (Vec::new(), Vec::new());
    let is_slow = matches!(
        (role, way),
        (Role::SlowClient, Way::Down) | (Role::SlowBackend, Way::Up)
    );
    loop {
        let sips = is_slow && !*over.borrow();
        if sips {
            sleep(SIP_PACE).await;
        }
        space.resize(if sips { SIP } else { GULP }, 0);
        let read = reader.read(&mut space).await?;
        if read == 0 {
            break;
        }
        let at = stream.at();
        if !stream.check(&space[..read], &mut expected) {
            return Err(io::Error::other(format!("wrong bytes behind byte {at}")));
        }
        board.heard(pulse, stream.at());
        // Idle sessions hold no space.
        if role == Role::Idle {
            (space, expected) = (Vec::new(), Vec::new());
        }
    }
    let (heard, said) = (stream.at(), pulse.said.load(Ordering::Relaxed));
    if pulse.done.load(Ordering::Relaxed) && heard == said {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "it ended after {heard} bytes of {said}"
    )))
}
