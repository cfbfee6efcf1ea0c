//! Attempts to connect: at one address, or at several beside each other.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{net::TcpStream, time::timeout_at};

use super::{
    super::socket::{Socket, tune},
    schedule::{Schedule, Step},
};

/// Connects to an address.
pub(super) async fn open(address: SocketAddr) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    tune(&SockRef::from(&stream))?;
    Ok(Socket::Tcp(stream))
}

/// How attempts at several addresses ended.
#[derive(Debug)]
pub(super) struct Race {
    /// The connections: first the one that was there first, then others that came with it.
    pub(super) connected: Vec<(SocketAddr, Socket)>,
    /// The addresses that failed or have not answered, in the order in which they were tried.
    pub(super) lost: Vec<(SocketAddr, Fault)>,
}

/// Why an address has no connection.
#[derive(Debug)]
pub(super) enum Fault {
    /// The attempt failed.
    Failed(io::Error),
    /// There was no answer for so long.
    NoAnswer(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("refused")
            }
            Self::Failed(error) => error.fmt(f),
            Self::NoAnswer(waited) => {
                let tenths = (waited.as_secs_f64() * 10.0).round();
                if tenths < 1.0 {
                    write!(f, "no answer within {} ms", waited.as_millis())
                } else {
                    write!(f, "no answer within {} s", tenths / 10.0)
                }
            }
        }
    }
}

/// Tries addresses as a schedule says until one connects, all have failed or the time is up; tells
/// of each attempt that begins. Attempts that are left then are dropped.
pub(super) async fn race(
    addresses: &[SocketAddr],
    schedule: Schedule,
    mut begins: impl FnMut(SocketAddr),
) -> Race {
    let mut attempts = Attempts {
        addresses,
        schedule,
        running: Vec::new(),
        connected: Vec::new(),
        lost: Vec::new(),
    };
    while attempts.connected.is_empty() {
        match attempts.schedule.next(Instant::now()) {
            Step::Start(position) => {
                begins(addresses[position]);
                attempts.start(position);
            }
            Step::Wait(until) => {
                let end = poll_fn(|context| match attempts.poll(context) {
                    Some(ended) => Poll::Ready(ended),
                    None => Poll::Pending,
                });
                if let Ok((position, outcome)) = timeout_at(until.into(), end).await {
                    attempts.end(position, outcome);
                }
            }
            Step::GiveUp => break,
        }
    }
    attempts.finish()
}

/// Attempts at several addresses, each known by its position among them.
struct Attempts<'a> {
    addresses: &'a [SocketAddr],
    schedule: Schedule,
    running: Vec<(usize, Connecting)>,
    connected: Vec<(usize, Socket)>,
    lost: Vec<(usize, Fault)>,
}

/// An attempt that runs.
type Connecting = Pin<Box<dyn Future<Output = io::Result<Socket>> + Send>>;

impl Attempts<'_> {
    fn start(&mut self, position: usize) {
        self.schedule.start(position, Instant::now());
        let connecting = Box::pin(open(self.addresses[position]));
        self.running.push((position, connecting));
    }

    /// Returns an attempt that has ended, which runs no more.
    fn poll(&mut self, context: &mut Context<'_>) -> Option<(usize, io::Result<Socket>)> {
        let mut running = self.running.iter_mut().enumerate();
        let (index, outcome) = running.find_map(|(index, (_, connecting))| {
            match connecting.as_mut().poll(context) {
                Poll::Ready(outcome) => Some((index, outcome)),
                Poll::Pending => None,
            }
        })?;
        let (position, _) = self.running.swap_remove(index);
        Some((position, outcome))
    }

    /// Notes how an attempt ended.
    fn end(&mut self, position: usize, outcome: io::Result<Socket>) {
        match outcome {
            Ok(socket) => self.connected.push((position, socket)),
            Err(error) => {
                self.schedule.fail(position, Instant::now());
                self.lost.push((position, Fault::Failed(error)));
            }
        }
    }

    /// Drops the attempts that have not ended by now.
    fn finish(mut self) -> Race {
        while let Some((position, outcome)) = self.poll(&mut Context::from_waker(Waker::noop())) {
            self.end(position, outcome);
        }
        let now = Instant::now();
        self.lost
            .extend(self.running.iter().filter_map(|(position, _)| {
                let waited = self.schedule.waited(*position, now)?;
                Some((*position, Fault::NoAnswer(waited)))
            }));
        self.lost.sort_by_key(|(position, _)| *position);
        let address = |position: usize| self.addresses[position];
        let connected = self.connected.into_iter();
        let lost = self.lost.into_iter();
        Race {
            connected: connected
                .map(|(it, socket)| (address(it), socket))
                .collect(),
            lost: lost.map(|(it, fault)| (address(it), fault)).collect(),
        }
    }
}
