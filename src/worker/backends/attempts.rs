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

use super::schedule::{Schedule, Step};
use crate::{session::socket::Socket, sys::tune::tune};

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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// Tries addresses of this machine, all of them at once.
    async fn race_at_once(addresses: &[SocketAddr]) -> Race {
        let now = Instant::now();
        let by = now + Duration::from_secs(30);
        let schedule = Schedule::new(addresses.len(), Duration::ZERO, now, by);
        race(addresses, schedule, |_| {}).await
    }

    fn address_of(listener: &TcpListener) -> SocketAddr {
        listener.local_addr().unwrap()
    }

    #[tokio::test]
    async fn connections_that_are_there_together_are_all_returned() {
        let listeners = [0; 2].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
        let addresses = listeners.each_ref().map(address_of);
        let race = race_at_once(&addresses).await;
        let mut connected: Vec<_> = race.connected.iter().map(|(address, _)| *address).collect();
        connected.sort_unstable();
        let mut all = addresses;
        all.sort_unstable();
        assert_eq!(connected, all);
        assert!(race.lost.is_empty());
    }

    #[tokio::test]
    async fn an_address_that_fails_beside_one_that_connects_has_failed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let open = address_of(&listener);
        // Nothing can connect to an IPv4 broadcast address.
        let addresses = ["255.255.255.255:1".parse().unwrap(), open];
        let race = race_at_once(&addresses).await;
        assert_eq!(race.connected[0].0, open);
        let (address, fault) = &race.lost[0];
        assert_eq!(*address, addresses[0]);
        assert!(matches!(fault, Fault::Failed(_)), "{fault}");
    }

    #[test]
    fn a_short_time_is_told_in_milliseconds() {
        let words = |ms| Fault::NoAnswer(Duration::from_millis(ms)).to_string();
        assert_eq!(words(5000), "no answer within 5 s");
        assert_eq!(words(740), "no answer within 0.7 s");
        assert_eq!(words(40), "no answer within 40 ms");
    }
}
