//! The asking side: connect, hello, cookie, ask, time out.
//!
//! Blocking, because `proxyctl` does one thing at a time. A deadline is over a whole exchange: a
//! daemon that drips one byte a second does not stretch it.

mod cookie;
mod ended;
mod fault;
pub mod fixed;

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

pub use self::{cookie::Readers, fault::ClientError};
use self::{ended::listening_at, fault::unreachable};
use super::{
    Request, Response,
    verdict::Verdict,
    wire::{self, Hello, MAX_FRAME, MAX_RESPONSE, WireError},
};
use crate::{control::cookie::path_for_client, facts::SessionsAtEnd};

/// A connection to a daemon that has let this client in.
#[derive(Debug)]
pub struct Client {
    stream: Timed,
}

impl Client {
    /// Connects, exchanges hellos and shows the cookie, then leaves what remains of `timeout` for one
    /// exchange.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        Self::connect_as(&Hello::ours(), path, timeout)
    }

    /// The same, with this hello, which says what the client is going to speak.
    fn connect_as(hello: &Hello, path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let until = Instant::now().checked_add(timeout);
        let (mut stream, mut verdict) = approach(hello, path, until, timeout)?;
        // A daemon that has just started has written another cookie meanwhile.
        if matches!(verdict, Verdict::WrongCookie(_)) {
            (stream, verdict) = approach(hello, path, until, timeout)?;
        }
        match verdict {
            Verdict::Admitted => Ok(Self { stream }),
            Verdict::Refused(reason) => Err(ClientError::Refused { reason }),
            Verdict::WrongCookie(_) => Err(ClientError::WrongCookie {
                path: path_for_client(path),
            }),
        }
    }

    /// Sends a request and returns the first response; a refusal is an error.
    pub fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.send(request)?;
        self.receive()?.ok_or(ClientError::Lost)
    }

    /// Sends a request and returns its responses, up to the last or the connection's end.
    pub fn ask_many(&mut self, request: &Request) -> Result<Responses<'_>, ClientError> {
        self.send(request)?;
        Ok(Responses {
            client: self,
            over: false,
        })
    }

    /// Waits for ever from now on, for events that may be a long time coming.
    pub fn forget_deadline(&mut self) {
        self.stream.until = None;
    }

    /// Waits until the daemon closes this connection and its process has ended, so that the next one finds its pid file
    /// unlocked. Returns what the daemon said last of its sessions, if it did.
    pub fn wait_end(mut self, within: Duration) -> Result<Option<SessionsAtEnd>, StillRuns> {
        let process = listening_at(&self.stream.stream);
        self.stream.allow(within);
        let mut counts = None;
        loop {
            match self.receive() {
                Ok(Some(Response::Ended(told))) => counts = Some(told),
                Ok(Some(_)) => {}
                Err(ClientError::NoAnswer { .. }) => return Err(StillRuns),
                Ok(None) | Err(_) => break,
            }
        }
        // A deadline that is over is a failure only if the process has not ended.
        let left = self.stream.left().ok().flatten().unwrap_or_default();
        match process {
            Some(process) if !process.ends_within(left) => Err(StillRuns),
            _ => Ok(counts),
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let body = wire::encode(request, MAX_FRAME).map_err(|error| self.broken(error))?;
        self.send_frame(&body, MAX_FRAME)
    }

    fn send_frame(&mut self, body: &[u8], limit: u64) -> Result<(), ClientError> {
        match wire::write_frame_blocking(&mut self.stream, body, limit) {
            // A daemon that refuses us closes early; its reason is still there to be read.
            Err(WireError::Io(error)) if hung_up(&error) => Ok(()),
            other => other.map_err(|error| self.broken(error)),
        }
    }

    fn receive(&mut self) -> Result<Option<Response>, ClientError> {
        let body = wire::read_frame_blocking(&mut self.stream, MAX_RESPONSE);
        let Some(body) = body.map_err(|error| self.broken(error))? else {
            return Ok(None);
        };
        match wire::decode(&body, MAX_RESPONSE).map_err(ClientError::Broken)? {
            Response::Refused { reason } => Err(ClientError::Refused { reason }),
            response => Ok(Some(response)),
        }
    }

    fn broken(&self, error: WireError) -> ClientError {
        match error {
            WireError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                ClientError::NoAnswer {
                    within: self.stream.within,
                }
            }
            WireError::Io(error) if hung_up(&error) => ClientError::Lost,
            WireError::Truncated => ClientError::Lost,
            error => ClientError::Broken(error),
        }
    }
}

/// The daemon has not ended within the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon has not ended")]
pub struct StillRuns;

/// The responses to one request.
#[derive(Debug)]
pub struct Responses<'a> {
    client: &'a mut Client,
    over: bool,
}

impl Iterator for Responses<'_> {
    type Item = Result<Response, ClientError>;

    /// Returns the next response; after [`Response::End`], an error or the connection's end, none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.client.receive().transpose();
        self.over = !matches!(&next, Some(Ok(response)) if *response != Response::End);
        next
    }
}

/// A stream on which everything must be over by one moment.
#[derive(Debug)]
struct Timed {
    stream: UnixStream,
    until: Option<Instant>,
    within: Duration,
}

impl Timed {
    fn allow(&mut self, within: Duration) {
        self.until = Instant::now().checked_add(within);
        self.within = within;
    }

    /// Returns the time left, `None` for no end.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(until) = self.until else {
            return Ok(None);
        };
        match until.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A socket reports its timeout as "would block".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::ErrorKind::TimedOut.into()
    } else {
        error
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Connects; the write timeout is what bounds the wait for room in a full backlog.
fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = socket2::SockAddr::unix(path)?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_write_timeout(Some(timeout))?;
    socket.connect(&address).map_err(timed_out)?;
    Ok(socket.into())
}

/// Connects and greets; returns what the daemon says to the cookie.
fn approach(
    hello: &Hello,
    path: &Path,
    until: Option<Instant>,
    within: Duration,
) -> Result<(Timed, Verdict), ClientError> {
    let stream = connect(path, within).map_err(|error| unreachable(error, path, within))?;
    let mut stream = Timed {
        stream,
        until,
        within,
    };
    let said = |error| greeting(error, path, within);
    let theirs = greet(&mut stream, hello).map_err(said)?;
    let left = stream.left().map_err(|error| said(error.into()))?;
    let cookie = cookie::read(path, left)?;
    let verdict = send_early(&mut stream, cookie.bytes()).and_then(|()| Verdict::read(&mut stream));
    match verdict {
        // It ends the connection instead of a verdict because it takes the hello for a wrong one.
        Err(WireError::Truncated) if hello.is_fixed() => Err(ClientError::NoFixedPart {
            their_version: theirs.version,
        }),
        verdict => Ok((stream, verdict.map_err(said)?)),
    }
}

/// Exchanges hellos; returns the daemon's.
fn greet(stream: &mut Timed, hello: &Hello) -> Result<Hello, WireError> {
    send_early(stream, &hello.to_bytes())?;
    let theirs = wire::read_hello_blocking(stream)?;
    if hello.is_fixed() {
        return Ok(theirs);
    }
    theirs.accept()
}

/// Sends what a daemon that refuses this client does not read; its reason is still there to be read.
fn send_early(stream: &mut Timed, bytes: &[u8]) -> Result<(), WireError> {
    match stream.write_all(bytes) {
        Err(error) if !hung_up(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

fn hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

fn greeting(error: WireError, path: &Path, within: Duration) -> ClientError {
    let path = path.to_owned();
    match error {
        WireError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            ClientError::Silent { path, within }
        }
        WireError::Io(source) if !hung_up(&source) => ClientError::Unreachable { path, source },
        WireError::WrongProtocol {
            theirs,
            ours,
            their_version,
        } => ClientError::WrongProtocol {
            theirs,
            ours,
            their_version,
        },
        _ => ClientError::NotProxyd { path },
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;
    use crate::control::{
        cookie::{Cookie, LENGTH},
        cookie_file,
    };

    const SHORT: Duration = Duration::from_millis(200);

    /// Runs a server that takes one connection, and returns what a client makes of it.
    fn against(serve: impl FnOnce(UnixStream) + Send + 'static) -> Result<Response, ClientError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        cookie_file::write(&path, None, &Cookie::random().unwrap()).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || serve(listener.accept().unwrap().0));
        let answer =
            Client::connect(&path, SHORT).and_then(|mut client| client.ask(&Request::Status));
        server.join().unwrap();
        answer
    }

    /// Exchanges hellos and reads the cookie.
    fn met(mut stream: &UnixStream) -> &UnixStream {
        stream.write_all(&Hello::ours().to_bytes()).unwrap();
        wire::read_hello_blocking(&mut stream).unwrap();
        stream.read_exact(&mut [0; LENGTH]).unwrap();
        stream
    }

    /// Lets the client in and reads its request.
    fn greeted(stream: &UnixStream) -> &UnixStream {
        let mut stream = met(stream);
        stream.write_all(&Verdict::Admitted.to_bytes()).unwrap();
        wire::read_frame_blocking(&mut stream, MAX_FRAME).unwrap();
        stream
    }

    /// Keeps the connection until the client has gone.
    fn linger(mut stream: &UnixStream) {
        let _ = io::copy(&mut stream, &mut io::sink());
    }

    #[test]
    fn an_answer_is_returned() {
        let answer = against(|stream| {
            let body = wire::encode(&Response::End, MAX_FRAME).unwrap();
            wire::write_frame_blocking(&mut greeted(&stream), &body, MAX_FRAME).unwrap();
        });
        assert_eq!(answer.unwrap(), Response::End);
    }

    #[test]
    fn a_refusal_sent_before_the_request_is_read_is_still_seen() {
        let answer = against(|stream| {
            let mut stream = met(&stream);
            stream.write_all(&Verdict::Admitted.to_bytes()).unwrap();
            let reason = "no".to_owned();
            let body = wire::encode(&Response::Refused { reason }, MAX_FRAME).unwrap();
            wire::write_frame_blocking(&mut stream, &body, MAX_FRAME).unwrap();
        });
        assert!(matches!(answer, Err(ClientError::Refused { reason }) if reason == "no"));
    }

    #[test]
    fn a_refusal_sent_before_the_cookie_is_read_is_still_seen() {
        let answer = against(|mut stream| {
            let refused = Verdict::Refused("no".to_owned());
            let bytes = [Hello::ours().to_bytes(), refused.to_bytes()].concat();
            stream.write_all(&bytes).unwrap();
        });
        assert!(matches!(answer, Err(ClientError::Refused { reason }) if reason == "no"));
    }

    #[test]
    fn a_wrong_cookie_is_read_again_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        cookie_file::write(&path, None, &Cookie::random().unwrap()).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().unwrap();
                let wrong = Verdict::WrongCookie(String::new());
                met(&stream).write_all(&wrong.to_bytes()).unwrap();
            }
        });
        let error = Client::connect(&path, SHORT).unwrap_err();
        server.join().unwrap();
        assert!(matches!(error, ClientError::WrongCookie { .. }), "{error}");
        assert!(error.to_string().contains("s.cookie"), "{error}");
    }

    #[test]
    fn another_protocol_is_named_before_any_cookie_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"PRXD\x00\x07\x050.1.0").unwrap();
            linger(&stream);
        });
        let error = Client::connect(&path, SHORT).unwrap_err();
        assert!(
            matches!(error, ClientError::WrongProtocol { theirs: 7, .. }),
            "{error}"
        );
        server.join().unwrap();
    }

    #[test]
    fn missing_stale_and_silent_sockets_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let error = Client::connect(&path, SHORT).unwrap_err();
        assert!(matches!(error, ClientError::NoSocket { .. }), "{error}");
        let listener = UnixListener::bind(&path).unwrap();
        let error = Client::connect(&path, SHORT).unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }), "{error}");
        drop(listener);
        let error = Client::connect(&path, SHORT).unwrap_err();
        assert!(matches!(error, ClientError::NoDaemon { .. }), "{error}");
    }

    #[test]
    fn a_full_backlog_does_not_hold_the_client() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&socket2::SockAddr::unix(&path).unwrap())
            .unwrap();
        socket.listen(0).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        let error = Client::connect(&path, SHORT).unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }), "{error}");
    }

    #[test]
    fn garbage_and_silence_at_the_greeting_are_not_a_daemon() {
        let error = against(|mut stream| {
            stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
            linger(&stream);
        });
        assert!(matches!(error, Err(ClientError::NotProxyd { .. })));
        assert!(matches!(
            against(|stream| linger(&stream)),
            Err(ClientError::Silent { .. })
        ));
        assert!(matches!(against(drop), Err(ClientError::NotProxyd { .. })));
    }

    #[test]
    fn a_daemon_without_the_fixed_part_is_told_from_a_stranger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        cookie_file::write(&path, None, &Cookie::random().unwrap()).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"PRXD\x00\x08\x050.1.0").unwrap();
            wire::read_hello_blocking(&mut stream).unwrap();
        });
        let status = crate::control::fixed::Request::Status {};
        let error = fixed::ask(&path, SHORT, &status).unwrap_err();
        server.join().unwrap();
        assert!(
            matches!(&error, ClientError::NoFixedPart { their_version } if their_version == "0.1.0"),
            "{error}"
        );
    }

    #[test]
    fn another_protocol_is_named() {
        let error = against(|mut stream| {
            stream.write_all(b"PRXD\x00\x63\x053.0.0").unwrap();
            linger(&stream);
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("proxyd 3.0.0 speaks protocol 99"),
            "{error}"
        );
    }

    #[test]
    fn half_an_answer_and_none_are_losses() {
        assert!(matches!(
            against(|stream| drop(greeted(&stream).write_all(&[0, 0]))),
            Err(ClientError::Lost)
        ));
        assert!(matches!(
            against(|stream| {
                greeted(&stream);
            }),
            Err(ClientError::Lost)
        ));
        let error = against(|stream| linger(greeted(&stream)));
        assert!(matches!(error, Err(ClientError::NoAnswer { .. })));
    }

    #[test]
    fn an_answer_beyond_the_limit_is_broken() {
        let error = against(|stream| drop(greeted(&stream).write_all(&[0xff; 4])));
        assert!(matches!(
            error,
            Err(ClientError::Broken(WireError::TooLarge { .. }))
        ));
    }

    #[expect(clippy::disallowed_methods, reason = "slowness is what is tested")]
    #[test]
    fn a_daemon_that_drips_does_not_stretch_the_deadline() {
        let start = Instant::now();
        let error = against(|mut stream| {
            for byte in Hello::ours().to_bytes() {
                thread::sleep(SHORT / 4);
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
            }
        });
        assert!(matches!(error, Err(ClientError::Silent { .. })));
        assert!(start.elapsed() < SHORT * 6);
    }
}
