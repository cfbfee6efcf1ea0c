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
    fixed::{self, Answer, Asker},
    silent::{SILENCE, Silent},
    verdict::Verdict,
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
/// Longer than that for hello, because the client reads a file meanwhile.
const COOKIE_DEADLINE: Duration = Duration::from_secs(5);
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
const BACK_OFF: Duration = Duration::from_millis(50);
const QUIET: Duration = Duration::from_secs(10);

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Calls {
    /// Those of clients of this version.
    pub own: mpsc::Sender<Call>,
    /// Those of the fixed part of the protocol, of clients of any version.
    pub fixed: mpsc::Sender<fixed::Call>,
}

/// Makes the places for connections, of which more than there are wait in the socket's queue.
#[must_use]
pub fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_CONNECTIONS))
}

/// Returns how many connections have a place of these. Those that follow events do not.
#[must_use]
pub fn connections(places: &Semaphore) -> usize {
    // One is taken for the connection that comes next.
    MAX_CONNECTIONS.saturating_sub(places.available_permits() + 1)
}

/// Serves the control socket until the receiver of the calls is gone.
///
/// Must run inside a [`tokio::task::LocalSet`].
pub async fn serve(
    listener: std::os::unix::net::UnixListener,
    access: Access,
    calls: Calls,
    places: Arc<Semaphore>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let service = Rc::new(Service::new(access, calls));
    let mut complaints = Complaints::default();
    loop {
        let next = async { (service.place(&places).await, listener.accept().await) };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = service.calls.own.closed() => return Ok(()),
        };
        match accepted {
            (Ok(place), Ok((stream, _))) => {
                tokio::task::spawn_local(Rc::clone(&service).connection(stream, place));
            }
            (_, Err(error)) => {
                if let Some(kept_back) = complaints.next() {
                    warn!(%error, kept_back, "cannot accept a control connection; the supervisor tries again");
                }
                // A client that is not let in yet may hold the descriptor that another needs.
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
    /// Returns how many were kept back since the last, if it is time for another.
    fn next(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.quiet_until.is_some_and(|until| now < until) {
            self.kept_back += 1;
            return None;
        }
        self.quiet_until = Some(now + QUIET);
        Some(std::mem::take(&mut self.kept_back))
    }
}

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(
        "child process {0} of this daemon, or one that it has started, tried to use the control socket; an \
         intruder may run code in it"
    )]
    OwnChild(u32),
    #[error("the peer may not control proxyd")]
    Denied,
    #[error("the peer did not show the cookie of the control socket")]
    NoCookie,
    #[error("the peer showed another cookie than that of the control socket")]
    WrongCookie,
    #[error("no hello within {:?}", HELLO_DEADLINE)]
    NoHello,
    #[error("no request within {:?}", REQUEST_DEADLINE)]
    NoRequest,
    #[error(
        "another client needed the place, and no cookie came within {:?}",
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

/// What came of a greeting that broke no rule.
enum Entry {
    /// It may ask; `fixed` if it speaks only the fixed part of the protocol.
    Admitted { fixed: bool },
    /// The peer left before it said anything, as one does that only looks whether the daemon listens.
    Left,
}

impl Fault {
    /// Whether a process that was taken over can cause it as often as it likes.
    fn is_hostile(&self) -> bool {
        matches!(self, Self::OwnChild(_) | Self::NoCookie | Self::WrongCookie)
    }
}

/// What connections share.
struct Service {
    access: Access,
    calls: Calls,
    followers: Arc<Semaphore>,
    silent: RefCell<Silent>,
    hostile: RefCell<Complaints>,
}

impl Service {
    fn new(access: Access, calls: Calls) -> Self {
        Self {
            access,
            calls,
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            silent: RefCell::default(),
            hostile: RefCell::default(),
        }
    }

    /// Waits for a place for a connection, which one that has not shown the cookie has to make.
    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, AcquireError> {
        loop {
            match timeout(SILENCE, Arc::clone(places).acquire_owned()).await {
                Ok(place) => return place,
                Err(_) => self.silent.borrow_mut().send_one_away(),
            }
        }
    }

    async fn connection(self: Rc<Self>, stream: UnixStream, place: OwnedSemaphorePermit) {
        let peer = match Peer::of(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                return warn!(%error, "cannot find out which user is at a control connection");
            }
        };
        match self.converse(stream, peer, place).await {
            Ok(()) => {}
            // The client only checked whether a process listens, or it has left early.
            Err(Fault::Wire(WireError::Io(error))) => debug!(%peer, %error, "control client gone"),
            Err(fault) if fault.is_hostile() => {
                if let Some(kept_back) = self.hostile.borrow_mut().next() {
                    warn!(%peer, %fault, kept_back, "control connection refused");
                }
            }
            Err(fault) => warn!(%peer, %fault, "control connection dropped"),
        }
    }

    async fn converse(
        &self,
        mut stream: UnixStream,
        peer: Peer,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Fault> {
        write_hello(&mut stream).await?;
        let fixed = match self.admit(&mut stream, peer).await {
            Ok(Entry::Admitted { fixed }) => fixed,
            Ok(Entry::Left) => return Ok(()),
            Err(fault) => return self.turn_away(&mut stream, peer, fault).await,
        };
        write_verdict(&mut stream, &Verdict::Admitted).await?;
        if fixed {
            self.pass_on(stream, peer, place).await
        } else {
            self.answer(&mut stream, peer, place).await
        }
    }

    /// Gives the loop a request of the fixed part, and with it the connection.
    async fn pass_on(
        &self,
        mut stream: UnixStream,
        peer: Peer,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Fault> {
        let request = read_fixed(&mut stream).await;
        let asker = Asker::new(stream.into_std().map_err(WireError::from)?.into(), place);
        match request {
            Ok(None) => Ok(()),
            Ok(Some(request)) => {
                log_fixed(&request, peer);
                let call = fixed::Call {
                    request,
                    peer,
                    asker,
                };
                if let Err(unsent) = self.calls.fixed.send(call).await {
                    let refused = Answer::refused(&Fault::Ending.to_string());
                    unsent.0.asker.deliver(refused).await;
                }
                Ok(())
            }
            Err(fault) => {
                asker.deliver(Answer::refused(&fault.to_string())).await;
                Err(fault)
            }
        }
    }

    /// Reads a request and delivers what the loop answers.
    async fn answer(
        &self,
        stream: &mut UnixStream,
        peer: Peer,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Fault> {
        let request = match read_request(stream).await {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(fault) => return refuse(stream, fault).await,
        };
        log(&request, peer);
        let _place = match self.place_for(&request, place) {
            Ok(place) => place,
            Err(fault) => return refuse(stream, fault).await,
        };
        let (reply, parcels) = Reply::new();
        let call = Call {
            request,
            peer,
            reply,
        };
        if self.calls.own.send(call).await.is_err() {
            return refuse(stream, Fault::Ending).await;
        }
        deliver(stream, parcels).await
    }

    /// Lets a peer in that may ask.
    async fn admit(&self, stream: &mut UnixStream, peer: Peer) -> Result<Entry, Fault> {
        if let Some(child) = self.access.own_child(peer) {
            return Err(Fault::OwnChild(child));
        }
        if !self.access.admits(peer).await {
            return Err(Fault::Denied);
        }
        let sent_away = self.silent.borrow_mut().enter();
        tokio::select! {
            biased;
            greeted = self.greet(stream) => greeted,
            _ = sent_away => Err(Fault::SentAway),
        }
    }

    /// Reads hello and cookie.
    async fn greet(&self, stream: &mut UnixStream) -> Result<Entry, Fault> {
        let hello = match timeout(HELLO_DEADLINE, wire::read_hello(stream)).await {
            Err(_) => return Err(Fault::NoHello),
            Ok(Err(WireError::Truncated)) => return Ok(Entry::Left),
            Ok(hello) => hello?,
        };
        let fixed = hello.is_fixed();
        if !fixed {
            hello.accept()?;
        }
        match timeout(COOKIE_DEADLINE, wire::read_cookie(stream)).await {
            Err(_) | Ok(Err(WireError::Truncated)) => Err(Fault::NoCookie),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(shown)) if self.access.knows(&shown) => Ok(Entry::Admitted { fixed }),
            Ok(Ok(_)) => Err(Fault::WrongCookie),
        }
    }

    /// Tells a peer why it is not let in, if it still listens, and returns the fault.
    async fn turn_away(
        &self,
        stream: &mut UnixStream,
        peer: Peer,
        fault: Fault,
    ) -> Result<(), Fault> {
        let verdict = match &fault {
            // The hello has said all that it can understand.
            Fault::Wire(WireError::WrongProtocol { .. }) => return Err(fault),
            Fault::Denied => Verdict::Refused(self.access.refusal(peer)),
            Fault::NoCookie => Verdict::Refused(self.access.demand()),
            Fault::WrongCookie => Verdict::WrongCookie(self.access.wrong_cookie()),
            fault => Verdict::Refused(fault.to_string()),
        };
        let _ = write_verdict(stream, &verdict).await;
        Err(fault)
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
        Request::Status
        | Request::ShowOnExitFailure
        | Request::Events { .. }
        | Request::Sessions { .. } => {
            return debug!(%peer, ?request, "control request");
        }
        Request::Verify => "verify",
        Request::ReloadTls(..) => "reload-tls",
        Request::Reload(_) => "reload",
        Request::SetOnExitFailure { .. } => "set-on-exit-failure",
        Request::ClearOnExitFailure => "set-on-exit-failure --clear",
        Request::Drain => "drain",
        Request::Stop => "stop",
        Request::Leave => "stop --for-restart",
        Request::TlsRollback => "tls-rollback",
        Request::EndSessions { .. } => "end",
    };
    info!(%peer, request = name, "control request");
}

/// The same for a request of the fixed part.
fn log_fixed(request: &fixed::Request, peer: Peer) {
    match request {
        fixed::Request::Status {} => debug!(%peer, ?request, "control request"),
        fixed::Request::Upgrade(it) if it.check => {
            info!(%peer, request = "upgrade --check", "control request");
        }
        fixed::Request::Upgrade(_) => info!(%peer, request = "upgrade", "control request"),
    }
}

async fn write_hello(stream: &mut UnixStream) -> Result<(), Fault> {
    write(stream, &Hello::ours().to_bytes()).await
}

async fn write_verdict(stream: &mut UnixStream, verdict: &Verdict) -> Result<(), Fault> {
    write(stream, &verdict.to_bytes()).await
}

/// Writes what fits into the empty buffer of a socket.
async fn write(stream: &mut UnixStream, bytes: &[u8]) -> Result<(), Fault> {
    let written = timeout(HELLO_DEADLINE, stream.write_all(bytes)).await;
    Ok(written
        .map_err(|_| Fault::SlowReader)?
        .map_err(WireError::from)?)
}

/// Reads the request; `None` from a peer that leaves without one.
async fn read_request(stream: &mut UnixStream) -> Result<Option<Request>, Fault> {
    let body = read_body(stream, MAX_FRAME).await?;
    let request = body.map(|body| wire::decode(&body, MAX_FRAME));
    Ok(request.transpose()?)
}

/// The same for a request of the fixed part.
async fn read_fixed(stream: &mut UnixStream) -> Result<Option<fixed::Request>, Fault> {
    let body = read_body(stream, fixed::MAX_REQUEST).await?;
    let request = body.map(|body| fixed::request(&body));
    Ok(request.transpose()?)
}

/// Reads the frame of a request, of at most `limit` bytes; `None` from a peer that leaves without one.
async fn read_body(stream: &mut UnixStream, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
    let body = timeout(REQUEST_DEADLINE, wire::read_frame(stream, limit)).await;
    Ok(body.map_err(|_| Fault::NoRequest)??)
}

/// Tells a peer why its request is not answered, if it still listens, and returns the fault.
async fn refuse(stream: &mut UnixStream, fault: Fault) -> Result<(), Fault> {
    let reason = fault.to_string();
    let _ = write_response(stream, &Response::Refused { reason }).await;
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
        fs,
        io::{Read as _, Write as _},
        os::unix::net::UnixStream as Raw,
        path::{Path, PathBuf},
        thread,
    };

    use super::*;
    use crate::{
        control::{
            client::{Client, ClientError},
            cookie::{self, Cookie},
        },
        facts::{Partial, Reads},
        sys::own_children::OwnChildren,
    };

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Runs `client` in a thread against a server whose calls go to `handle`.
    pub(crate) fn with_server<T: Send + 'static>(
        handle: impl Fn(Call) + 'static,
        client: impl FnOnce(PathBuf) -> T + Send + 'static,
    ) -> T {
        with_children(OwnChildren::default(), handle, client)
    }

    /// The same, against a server of a daemon with these children.
    fn with_children<T: Send + 'static>(
        children: OwnChildren,
        handle: impl Fn(Call) + 'static,
        client: impl FnOnce(PathBuf) -> T + Send + 'static,
    ) -> T {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let cookie = Cookie::random().unwrap();
        let listener = bind(&path, None, &cookie).unwrap();
        let access = Access::new(&path, None, cookie, children);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = thread::spawn(move || client(path));
        let (own, mut calls) = mpsc::channel(8);
        let (fixed, mut fixed_calls) = mpsc::channel(8);
        tokio::task::LocalSet::new().block_on(&runtime, async {
            tokio::task::spawn_local(serve(listener, access, Calls { own, fixed }, places()));
            while !client.is_finished() {
                tokio::select! {
                    Some(call) = calls.recv() => handle(call),
                    Some(call) = fixed_calls.recv() => answer_fixed(call),
                    () = sleep(BACK_OFF) => {}
                }
            }
        });
        client.join().unwrap()
    }

    /// Answers for a daemon of the version that [`crate::ctl`]'s tests ask.
    fn answer_fixed(call: fixed::Call) {
        call.asker.answer(match call.request {
            fixed::Request::Status {} => Answer::Status(fixed::Status {
                version: "9.9.9".into(),
                protocol: 99,
                pid: 7,
                state: "serving".into(),
                generation: 3,
                workers: 2,
                sessions: 11,
            }),
            fixed::Request::Upgrade(it) if it.check => Answer::Checked(fixed::Checked {
                from: "0.1.0".into(),
                to: "9.9.9".into(),
                path: it.binary.unwrap_or("/usr/sbin/proxyd".into()),
            }),
            fixed::Request::Upgrade(it) => Answer::refused(&format!("{:?}", it.binary)),
        });
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

    /// Sends raw bytes after the server's hello, and returns the stream with what the server says to them.
    fn greet(path: &Path, bytes: &[u8]) -> (Raw, Option<Verdict>) {
        let mut stream = Raw::connect(path).unwrap();
        wire::read_hello_blocking(&mut stream).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let verdict = Verdict::read(&mut stream).ok();
        (stream, verdict)
    }

    /// Sends raw bytes after hello and cookie, and returns the refusal that comes back, if any.
    fn raw(path: &Path, bytes: &[u8]) -> Option<Response> {
        let cookie = cookie::read(&cookie::path(path)).unwrap();
        let hello = Hello::ours().to_bytes();
        let (mut stream, verdict) =
            greet(path, &[&hello, cookie.bytes().as_slice(), bytes].concat());
        assert_eq!(verdict, Some(Verdict::Admitted));
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
            let oversized = [0xff; 9];
            let senseless = [0, 0, 0, 1, 0xee];
            let half = [0, 0, 0, 9, 1];
            for bytes in [&oversized[..], &senseless, &half] {
                let answer = raw(&path, bytes);
                assert!(
                    matches!(answer, Some(Response::Refused { .. })),
                    "{answer:?}"
                );
            }
            assert!(raw(&path, b"").is_none());
            let (_, verdict) = greet(&path, b"GET / HTTP/1.1\r\n\r\n");
            assert!(matches!(verdict, Some(Verdict::Refused(_))), "{verdict:?}");
            assert_eq!(greet(&path, b"").1, None);
            assert_eq!(greet(&path, b"PRXD\x00\x63\x011").1, None);
            assert_eq!(refused(ask(&path, &Request::Stop)), "Stop");
        });
    }

    #[test]
    fn who_shows_no_cookie_or_another_is_told_where_it_is() {
        with_server(refuse_all, |path| {
            let hello = Hello::ours().to_bytes();
            let other = Cookie::random().unwrap();
            let (_, without) = greet(&path, &hello);
            let (_, half) = greet(&path, &[&hello, &other.bytes()[1..]].concat());
            for verdict in [without, half] {
                let Some(Verdict::Refused(reason)) = verdict else {
                    panic!("{verdict:?}");
                };
                assert!(reason.contains("s.cookie"), "{reason}");
            }
            let (_, verdict) = greet(&path, &[&hello, other.bytes().as_slice()].concat());
            let Some(Verdict::WrongCookie(reason)) = verdict else {
                panic!("{verdict:?}");
            };
            assert!(reason.contains("s.cookie"), "{reason}");
            fs::remove_file(cookie::path(&path)).unwrap();
            let error = ask(&path, &Request::Stop).unwrap_err();
            assert!(
                matches!(error, ClientError::CookieMissing { .. }),
                "{error}"
            );
        });
    }

    #[test]
    fn a_child_of_the_daemon_is_refused_although_it_has_the_cookie() {
        let children = OwnChildren::default();
        let listed = children.add(std::process::id());
        with_children(children, refuse_all, move |path| {
            let told = refused(ask(&path, &Request::Stop));
            let own = std::process::id();
            assert!(told.contains(&format!("child process {own} ")), "{told}");
            drop(listed);
            assert_eq!(refused(ask(&path, &Request::Stop)), "Stop");
        });
    }

    #[test]
    fn a_client_of_any_version_is_answered_in_the_fixed_part() {
        use crate::control::client::fixed::ask;
        with_server(refuse_all, |path| {
            let status = ask(&path, PATIENCE, &fixed::Request::Status {}).unwrap();
            assert!(matches!(status, Answer::Status(it) if it.pid == 7));
            let binary = Some("/opt/proxyd".into());
            let upgrade = fixed::Upgrade {
                binary,
                check: false,
            };
            let refused = ask(&path, PATIENCE, &fixed::Request::Upgrade(upgrade)).unwrap_err();
            assert_eq!(refused.to_string(), "Some(\"/opt/proxyd\")");
        });
    }

    #[test]
    fn a_request_of_the_fixed_part_that_is_not_understood_is_refused_with_its_reason() {
        with_server(refuse_all, |path| {
            let cookie = cookie::read(&cookie::path(&path)).unwrap();
            let hello = Hello::fixed().to_bytes();
            let mut said = [&hello, cookie.bytes().as_slice()].concat();
            wire::write_frame_blocking(&mut said, b"{\"downgrade\":{}}", MAX_FRAME).unwrap();
            let (mut stream, verdict) = greet(&path, &said);
            assert_eq!(verdict, Some(Verdict::Admitted));
            let body = wire::read_frame_blocking(&mut stream, fixed::MAX_ANSWER).unwrap();
            let Ok(Answer::Refused { reason }) = fixed::answer(&body.unwrap()) else {
                panic!("not refused");
            };
            assert!(reason.contains("downgrade"), "{reason}");
            let other = Cookie::random().unwrap();
            let (_, verdict) = greet(&path, &[&hello, other.bytes().as_slice()].concat());
            assert!(
                matches!(verdict, Some(Verdict::WrongCookie(_))),
                "{verdict:?}"
            );
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
            assert!(client.wait_end(PATIENCE).is_ok());
        });
    }
}
