//! A backend that sends back what it gets, or misbehaves.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

/// What a backend does with those who come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Behaviour {
    /// It sends back what it gets.
    Echo,
    /// It takes the connection and says nothing.
    Hang,
    /// It resets the connection at once.
    Reset,
    /// It closes the connection at once.
    Close,
}

/// A backend on threads of its own.
#[derive(Debug)]
pub(crate) struct Backend {
    place: Place,
    shared: Arc<Shared>,
}

#[derive(Clone, Debug)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Backend {
    /// Starts one that echoes at a port of its own.
    pub(crate) fn tcp() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts one that echoes at this address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::serve_tcp(TcpListener::bind(address).unwrap())
    }

    fn serve_tcp(listener: TcpListener) -> Self {
        let backend = Self::new(Place::Tcp(listener.local_addr().unwrap()));
        let shared = Arc::clone(&backend.shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.take(stream, |stream, timeout| {
                    SockRef::from(stream).set_linger(timeout)
                });
            }
        });
        backend
    }

    /// Starts one that echoes at a Unix socket that everybody may use.
    pub(crate) fn unix(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let backend = Self::new(Place::Unix(path.to_owned()));
        let shared = Arc::clone(&backend.shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                shared.take(stream, |_, _| Ok(()));
            }
        });
        backend
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            shared: Arc::new(Shared {
                behaviour: Mutex::new(Behaviour::Echo),
                accepted: AtomicUsize::new(0),
                open: AtomicUsize::new(0),
            }),
        }
    }

    /// Changes what happens to those who come from now on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// Returns where it is, as a configuration writes it.
    pub(crate) fn address(&self) -> String {
        match &self.place {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Returns how many connections it has taken.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns how many connections it has open.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

/// Either kind of connection.
trait Stream: Read + Write + Send + 'static {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

impl Shared {
    fn take<S: Stream>(
        self: &Arc<Self>,
        stream: S,
        linger: impl Fn(&S, Option<Duration>) -> io::Result<()>,
    ) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let behaviour = *self.behaviour.lock().unwrap();
        match behaviour {
            Behaviour::Close => {}
            // A socket that is closed without lingering is reset.
            Behaviour::Reset => linger(&stream, Some(Duration::ZERO)).unwrap(),
            Behaviour::Echo | Behaviour::Hang => {
                let shared = Arc::clone(self);
                shared.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    // Whoever breaks the connection off is the test, which knows.
                    let _ = converse(stream, behaviour == Behaviour::Echo);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    }
}

fn converse(mut stream: impl Stream, echo: bool) -> io::Result<()> {
    let mut space = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut space)?;
        if read == 0 {
            return Ok(());
        }
        if echo {
            stream.write_all(&space[..read])?;
        }
    }
}

/// A port at which nobody listens and nobody else can begin to, until told so.
#[derive(Debug)]
pub(crate) struct Closed(Socket);

impl Closed {
    /// Takes a port without listening there.
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    /// Returns the address that refuses connections.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Begins to listen there, and echoes.
    pub(crate) fn open(self) -> Backend {
        self.0.listen(128).unwrap();
        Backend::serve_tcp(self.0.into())
    }
}

/// A port with a queue that is full, so that whoever comes next hears nothing.
#[derive(Debug)]
pub(crate) struct Mute {
    socket: Socket,
    _waiting: Vec<TcpStream>,
}

impl Mute {
    /// Listens without taking anybody, and fills the queue.
    pub(crate) fn new() -> Self {
        let socket = Closed::new().0;
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let patience = Duration::from_millis(200);
        let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok());
        Self {
            _waiting: waiting.take(64).collect(),
            socket,
        }
    }

    /// Returns where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap().as_socket().unwrap()
    }
}
