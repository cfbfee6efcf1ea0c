//! The answering side: one request a connection.
//!
//! Connections are served beside the supervisor's loop, which sees only a [`Call`]: a request that
//! was read in full from a peer that may ask. A peer that is slow, broken or hostile costs its own
//! connection and a line in the log, nothing else.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    Request, Response,
    call::Parcel,
    silent::{SILENCE, Silent},
    wire::{self, Hello, MAX_FRAME, MAX_RESPONSE, WireError},
};
pub use super::{
    access::{Access, Peer},
    call::{Call, Gone, QUEUE, Reply},
    socket::{BindError, bind},
};

/// Connections served at one time; more wait in the socket's queue.
const MAX_CONNECTIONS: usize = 64;
/// Connections that follow events, which do not count among the others.
const MAX_FOLLOWERS: usize = 16;

const HELLO_DEADLINE: Duration = Duration::from_secs(2);
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
const BACK_OFF: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(10);

/// Serves the control socket until nobody takes calls any more.
///
/// Must run inside a [`tokio::task::LocalSet`].
pub async fn serve(
    listener: std::os::unix::net::UnixListener,
    access: Access,
    calls: mpsc::Sender<Call>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let service = Rc::new(Service::new(access, calls));
    let mut complaints = Complaints::default();
    loop {
        let next = async { (service.place(&places).await, listener.accept().await) };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = service.calls.closed() => return Ok(()),
        };
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                tokio::task::spawn_local(Rc::clone(&service).connection(stream, place));
            }
            (_, Err(error)) => {
                complaints.accept_failed(&error);
                // A client that says nothing may hold the descriptor that another needs.
                service.silent.borrow_mut().send_one_away();
                sleep(BACK_OFF).await;
            }
            (Err(_), _) => return Ok(()),
        }
    }
}

/// Keeps a failure that repeats from filling the log.
#[derive(Default)]
struct Complaints {
    quiet_until: Option<Instant>,
    kept_back: u64,
}

impl Complaints {
    fn accept_failed(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.quiet_until.is_some_and(|until| now < until) {
            self.kept_back += 1;
            return;
        }
        let kept_back = self.kept_back;
        warn!(%error, kept_back, "cannot accept a control connection; trying on");
        *self = Self {
            quiet_until: Some(now + QUIET),
            kept_back: 0,
        };
    }
}

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the peer may not control proxyd")]
    Denied,
    #[error("no hello within {:?}", HELLO_DEADLINE)]
    NoHello,
    #[error("no request within {:?}", REQUEST_DEADLINE)]
    NoRequest,
    #[error(
        "another client needed the place, and nothing came within {:?}",
        SILENCE
    )]
    SentAway,
    #[error("the peer does not read its answer")]
    SlowReader,
    #[error("{} connections follow events already; end one of them", MAX_FOLLOWERS)]
    TooManyFollowers,
    #[error("proxyd is ending")]
    Ending,
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What connections share.
struct Service {
    access: Access,
    calls: mpsc::Sender<Call>,
    followers: Arc<Semaphore>,
    silent: RefCell<Silent>,
}

impl Service {
    fn new(access: Access, calls: mpsc::Sender<Call>) -> Self {
        Self {
            access,
            calls,
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            silent: RefCell::default(),
        }
    }

    /// Waits for a place for a connection, which one that says nothing has to make.
    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, AcquireError> {
        loop {
            match timeout(SILENCE, Arc::clone(places).acquire_owned()).await {
                Ok(place) => return place,
                Err(_) => self.silent.borrow_mut().send_one_away(),
            }
        }
    }

    async fn connection(self: Rc<Self>, mut stream: UnixStream, place: OwnedSemaphorePermit) {
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => return warn!(%error, "cannot tell who is at a control connection"),
        };
        match self.converse(&mut stream, peer, place).await {
            Ok(()) => {}
            // It looked whether somebody listens, or it had seen enough.
            Err(Fault::Wire(WireError::Io(error))) => debug!(%peer, %error, "control client gone"),
            Err(fault) => warn!(%peer, %fault, "control connection dropped"),
        }
    }

    async fn converse(
        &self,
        stream: &mut UnixStream,
        peer: Peer,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Fault> {
        write_hello(stream).await?;
        if !self.access.admits(peer).await {
            return refuse(stream, self.access.refusal(peer), Fault::Denied).await;
        }
        let request = self.read_request(stream).await;
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(fault) => return refuse(stream, fault.to_string(), fault).await,
        };
        log(&request, peer);
        let _place = match self.place_for(&request, place) {
            Ok(place) => place,
            Err(fault) => return refuse(stream, fault.to_string(), fault).await,
        };
        let (reply, parcels) = Reply::new();
        let call = Call {
            request,
            peer,
            reply,
        };
        if self.calls.send(call).await.is_err() {
            return refuse(stream, Fault::Ending.to_string(), Fault::Ending).await;
        }
        deliver(stream, parcels).await
    }

    /// Reads hello and request; `None` from a peer that left early, as one does that only looks whether
    /// the daemon listens.
    async fn read_request(&self, stream: &mut UnixStream) -> Result<Option<Request>, Fault> {
        let sent_away = self.silent.borrow_mut().enter();
        let hello = tokio::select! {
            biased;
            hello = read_hello(stream) => hello?,
            _ = sent_away => return Err(Fault::SentAway),
        };
        match hello {
            Err(WireError::Truncated) => return Ok(None),
            hello => hello?.accept()?,
        };
        let body = timeout(REQUEST_DEADLINE, wire::read_frame(stream, MAX_FRAME)).await;
        match body.map_err(|_| Fault::NoRequest)?? {
            Some(body) => Ok(Some(wire::decode(&body, MAX_FRAME)?)),
            None => Ok(None),
        }
    }

    /// Moves a follower, which may stay for days, to a place of its own kind.
    fn place_for(
        &self,
        request: &Request,
        place: OwnedSemaphorePermit,
    ) -> Result<OwnedSemaphorePermit, Fault> {
        if !matches!(request, Request::Events { follow: true }) {
            return Ok(place);
        }
        let follower = Arc::clone(&self.followers).try_acquire_owned();
        follower.map_err(|_| Fault::TooManyFollowers)
    }
}

/// Says who asked for what; what only looks is of little interest.
fn log(request: &Request, peer: Peer) {
    let name = match request {
        Request::Status | Request::ShowOnExitFailure | Request::Events { .. } => {
            return debug!(%peer, ?request, "control request");
        }
        Request::Verify => "verify",
        Request::ReloadTls(..) => "reload-tls",
        Request::Reload(_) => "reload",
        Request::SetOnExitFailure { .. } => "set-on-exit-failure",
        Request::ClearOnExitFailure => "set-on-exit-failure --clear",
        Request::Drain => "drain",
        Request::Stop => "stop",
        Request::TlsRollback => "tls-rollback",
    };
    info!(%peer, request = name, "control request");
}

async fn write_hello(stream: &mut UnixStream) -> Result<(), Fault> {
    let hello = Hello::ours().to_bytes();
    let written = timeout(HELLO_DEADLINE, stream.write_all(&hello)).await;
    Ok(written
        .map_err(|_| Fault::SlowReader)?
        .map_err(WireError::from)?)
}

async fn read_hello(stream: &mut UnixStream) -> Result<Result<Hello, WireError>, Fault> {
    let hello = timeout(HELLO_DEADLINE, wire::read_hello(stream)).await;
    hello.map_err(|_| Fault::NoHello)
}

/// Tells a peer why it gets nothing, if it still listens, and returns the fault.
async fn refuse(stream: &mut UnixStream, reason: String, fault: Fault) -> Result<(), Fault> {
    // To one who speaks another protocol the hello has said all that it can understand.
    if !matches!(fault, Fault::Wire(WireError::WrongProtocol { .. })) {
        let _ = write_response(stream, &Response::Refused { reason }).await;
    }
    Err(fault)
}

async fn write_response<W>(writer: &mut W, response: &Response) -> Result<(), Fault>
where
    W: AsyncWrite + Unpin,
{
    let body = wire::encode(response, MAX_RESPONSE)?;
    let written = wire::write_frame(writer, &body, MAX_RESPONSE);
    let written = timeout(WRITE_DEADLINE, written).await;
    Ok(written.map_err(|_| Fault::SlowReader)??)
}

/// Writes what the supervisor gives until it gives no more, or the peer has gone.
async fn deliver(
    stream: &mut UnixStream,
    mut parcels: mpsc::Receiver<Parcel>,
) -> Result<(), Fault> {
    let (mut reader, mut writer) = stream.split();
    let mut byte = [0];
    loop {
        let parcel = tokio::select! {
            parcel = parcels.recv() => parcel,
            // Nothing more is due from the peer, so whatever comes is its end.
            _ = reader.read(&mut byte) => return Ok(()),
        };
        let Some(parcel) = parcel else {
            return Ok(());
        };
        write_response(&mut writer, &parcel.response).await?;
        if let Some(written) = parcel.written {
            let _ = written.send(());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream as Raw,
        path::{Path, PathBuf},
        thread,
    };

    use super::*;
    use crate::{
        control::client::{Client, ClientError},
        facts::{Partial, Reads},
    };

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Runs `client` in a thread against a server whose calls go to `handle`.
    pub(crate) fn with_server<T: Send + 'static>(
        handle: impl Fn(Call) + 'static,
        client: impl FnOnce(PathBuf) -> T + Send + 'static,
    ) -> T {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = bind(&path, None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = thread::spawn(move || client(path));
        let (sender, mut calls) = mpsc::channel(8);
        tokio::task::LocalSet::new().block_on(&runtime, async {
            tokio::task::spawn_local(serve(listener, Access::new(None), sender));
            while !client.is_finished() {
                if let Ok(Some(call)) = timeout(BACK_OFF, calls.recv()).await {
                    handle(call);
                }
            }
        });
        client.join().unwrap()
    }

    fn refuse_all(call: Call) {
        let reason = format!("{:?}", call.request);
        call.reply.answer(Response::Refused { reason });
    }

    fn ask(path: &Path, request: &Request) -> Result<Response, ClientError> {
        Client::connect(path, PATIENCE).and_then(|mut client| client.ask(request))
    }

    fn refused(answer: Result<Response, ClientError>) -> String {
        match answer {
            Err(ClientError::Refused { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Sends raw bytes after the server's hello and returns the refusal that comes back, if any.
    fn raw(path: &Path, bytes: &[u8]) -> Option<Response> {
        let mut stream = Raw::connect(path).unwrap();
        wire::read_hello_blocking(&mut stream).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let body = wire::read_frame_blocking(&mut stream, MAX_RESPONSE).unwrap_or(None)?;
        Some(wire::decode(&body, MAX_RESPONSE).unwrap())
    }

    #[test]
    fn a_request_reaches_the_handler_and_its_answer_the_client() {
        let answer = with_server(refuse_all, |path| {
            ask(&path, &Request::ReloadTls(Partial::Allow, Reads::Changed))
        });
        assert_eq!(refused(answer), "ReloadTls(Allow, Changed)");
    }

    #[test]
    fn hostile_bytes_are_refused_and_harm_nobody() {
        with_server(refuse_all, |path| {
            let hello = Hello::ours().to_bytes();
            let mut oversized = hello.clone();
            oversized.extend([0xff; 9]);
            let mut senseless = hello.clone();
            senseless.extend([0, 0, 0, 1, 0xee]);
            let mut half = hello.clone();
            half.extend([0, 0, 0, 9, 1]);
            for bytes in [&oversized[..], &senseless, &half, b"GET / HTTP/1.1\r\n\r\n"] {
                let answer = raw(&path, bytes);
                assert!(
                    matches!(answer, Some(Response::Refused { .. })),
                    "{answer:?}"
                );
            }
            assert!(raw(&path, b"").is_none());
            assert!(raw(&path, b"PRXD\x00\x63\x011").is_none());
            assert_eq!(refused(ask(&path, &Request::Stop)), "Stop");
        });
    }

    #[test]
    fn silence_costs_only_its_own_connection() {
        with_server(refuse_all, |path| {
            let mut silent = Raw::connect(&path).unwrap();
            assert_eq!(refused(ask(&path, &Request::Status)), "Status");
            wire::read_hello_blocking(&mut silent).unwrap();
            let mut rest = Vec::new();
            silent.read_to_end(&mut rest).unwrap();
            assert!(String::from_utf8_lossy(&rest).contains("no hello within 2s"));
        });
    }

    #[test]
    fn those_who_say_nothing_give_way_when_there_is_no_room() {
        with_server(refuse_all, |path| {
            let silent: Vec<_> = (0..MAX_CONNECTIONS + 8)
                .map(|_| Raw::connect(&path).unwrap())
                .collect();
            let began = Instant::now();
            assert_eq!(refused(ask(&path, &Request::Status)), "Status");
            assert!(began.elapsed() < HELLO_DEADLINE);
            drop(silent);
        });
    }

    #[test]
    fn followers_have_places_of_their_own_and_no_more() {
        let followers = RefCell::new(Vec::new());
        let hold = move |call: Call| match call.request {
            Request::Events { .. } => {
                call.reply.push(Response::End).unwrap();
                followers.borrow_mut().push(call.reply);
            }
            _ => refuse_all(call),
        };
        with_server(hold, |path| {
            let follow = Request::Events { follow: true };
            let mut followers = Vec::new();
            for _ in 0..MAX_FOLLOWERS {
                let mut client = Client::connect(&path, PATIENCE).unwrap();
                client.ask(&follow).unwrap();
                followers.push(client);
            }
            assert!(refused(ask(&path, &follow)).contains("follow events already"));
            assert_eq!(refused(ask(&path, &Request::Drain)), "Drain");
        });
    }

    #[test]
    fn a_client_that_leaves_is_noticed() {
        let (left, noticed) = std::sync::mpsc::channel();
        let watch = move |call: Call| {
            let left = left.clone();
            tokio::task::spawn_local(async move {
                call.reply.gone().await;
                left.send(call.reply.push(Response::End)).unwrap();
            });
        };
        with_server(watch, move |path| {
            let answer = Client::connect(&path, BACK_OFF).and_then(|mut c| c.ask(&Request::Status));
            assert!(matches!(answer, Err(ClientError::NoAnswer { .. })));
            assert_eq!(noticed.recv_timeout(PATIENCE), Ok(Err(Gone)));
        });
    }

    #[test]
    fn an_end_is_seen_as_the_connections_close() {
        let deliver = |call: Call| {
            tokio::task::spawn_local(async move {
                let ending = Response::Ending {
                    connections: 0,
                    within: BACK_OFF,
                };
                call.reply.deliver(ending).await.unwrap();
            });
        };
        with_server(deliver, |path| {
            let mut client = Client::connect(&path, PATIENCE).unwrap();
            assert!(matches!(
                client.ask(&Request::Drain),
                Ok(Response::Ending { .. })
            ));
            assert!(client.wait_end(PATIENCE));
        });
    }
}
