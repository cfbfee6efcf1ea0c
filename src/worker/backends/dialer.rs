//! From where a backend is to a connection: the lookup of its name, and the race of its addresses.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::{error::Elapsed, sleep_until, timeout_at};
use tracing::{field::display, info};

use super::{
    super::names::{Found, Names},
    addresses::Memory,
    attempts::{Fault, Race, open, race},
    circuit::{Attempt, News},
    schedule::{Schedule, delay},
};
use crate::{
    config::Address,
    facts::{Unresolved, Wanted},
    session::socket::Socket,
};

/// The most addresses of a name that are tried for one session. Those that fail are tried last by the
/// next one, so that others get their turn.
const MOST_TRIED: usize = 8;

/// How much less than its fair time a lookup may have had for want of exactness.
const SLACK: Duration = Duration::from_millis(100);

/// Connects a worker to backends, and remembers which addresses of their names fail.
#[derive(Debug, Default)]
pub struct Dialer {
    names: Arc<Names>,
    memory: Mutex<Memory>,
}

/// A connection to a backend.
#[derive(Debug)]
pub struct Dialed {
    /// The connection.
    pub socket: Socket,
    /// Which way it was reached, if there were several.
    pub way: Option<Way>,
    /// Connections to other addresses of it, which were there at the same moment.
    pub spare: Vec<Socket>,
}

/// One of several addresses of a backend's name, and the attempt that has led there.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    address: SocketAddr,
    attempt: Attempt,
}

/// Why a backend was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Its only address failed.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// Its only address has not answered in time.
    #[error("no answer")]
    NoAnswer,
    /// The resolver has no addresses for its name.
    #[error("its name cannot be resolved: {0}")]
    Lookup(Unresolved),
    /// The resolver could not connect to its path.
    #[error(transparent)]
    Path(Unresolved),
    /// Its name was not resolved in time.
    #[error("its name was not resolved")]
    LookupLate,
    /// All addresses of its name that were tried failed or have not answered in time.
    #[error(transparent)]
    All(Failures),
}

/// How the addresses of a name failed.
#[derive(Debug, thiserror::Error)]
pub struct Failures {
    lost: Vec<(SocketAddr, Fault)>,
    /// How many more there are.
    untried: usize,
}

impl Failures {
    /// Whether the time was up before all of them had failed.
    pub fn are_late(&self) -> bool {
        let mut faults = self.lost.iter().map(|(_, fault)| fault);
        faults.any(|fault| matches!(fault, Fault::NoAnswer(_)))
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (address, fault)) in self.lost.iter().enumerate() {
            let gap = if position == 0 { "" } else { "; " };
            write!(f, "{gap}{address}: {fault}")?;
        }
        match self.untried {
            0 => Ok(()),
            count => write!(f, "; and {count} more of its addresses were not tried"),
        }
    }
}

impl Dialer {
    /// Returns the asks for names and paths.
    pub fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    /// Connects to a backend until `by`. Addresses that answer within a fair share of `patience` are not
    /// held to have failed.
    pub async fn dial(
        &self,
        backend: &Address,
        by: Instant,
        patience: Duration,
    ) -> Result<Dialed, DialError> {
        let Some(wanted) = backend.wanted() else {
            let connecting = open(located(backend)?);
            return only(timeout_at(by.into(), connecting).await);
        };
        let found = match self.find(wanted, by, patience).await? {
            Found::Connection(connection) => return only(Ok(Socket::unix(connection))),
            Found::Addresses(found) => found,
        };
        let port = backend.port().unwrap_or(0);
        let found: Vec<_> = found.into_iter().map(|it| it.at(port)).collect();
        self.dial_first(backend, &found, by, patience).await
    }

    /// Asks the resolver for addresses or a connection.
    async fn find(
        &self,
        wanted: Wanted,
        by: Instant,
        patience: Duration,
    ) -> Result<Found, DialError> {
        let within = by.saturating_duration_since(Instant::now());
        let is_path = matches!(wanted, Wanted::Path(_));
        let reason = match self.names.find(wanted, within).await {
            Ok(found) => return Ok(found),
            Err(reason) => reason,
        };
        // What had less than its fair time has not failed, and only time that is over says so.
        if reason.is_late() && within + SLACK < patience {
            sleep_until(by.into()).await;
        }
        let is_over = Instant::now() >= by;
        Err(match (is_path, is_over) {
            (true, true) => DialError::NoAnswer,
            (true, false) => DialError::Path(reason),
            (false, true) => DialError::LookupLate,
            (false, false) => DialError::Lookup(reason),
        })
    }

    /// Connects to the first of a name's addresses that answers.
    async fn dial_first(
        &self,
        backend: &Address,
        found: &[SocketAddr],
        by: Instant,
        patience: Duration,
    ) -> Result<Dialed, DialError> {
        let mut order = self.memory().order(found, Instant::now());
        let untried = order.len().saturating_sub(MOST_TRIED);
        order.truncate(MOST_TRIED);
        let delay = delay(patience, order.len());
        let schedule = Schedule::new(order.len(), delay, Instant::now(), by);
        let mut ways = Vec::new();
        let begins = |address| {
            let attempt = self.memory().begin(address, Instant::now());
            ways.push(Way { address, attempt });
        };
        let Race { connected, lost } = race(&order, schedule, begins).await;
        // With a single address there is nothing to choose, and the backend's own state says it all.
        ways.retain(|_| order.len() > 1);
        self.remember(backend, &ways, &lost, delay);
        let mut connected = connected.into_iter();
        match connected.next() {
            Some((address, socket)) => Ok(Dialed {
                socket,
                way: ways.into_iter().find(|it| it.address == address),
                spare: connected.map(|(_, socket)| socket).collect(),
            }),
            None if lost.is_empty() => Err(DialError::LookupLate),
            None => Err(DialError::All(Failures { lost, untried })),
        }
    }

    /// Remembers which addresses failed, or had their time without an answer.
    fn remember(
        &self,
        backend: &Address,
        ways: &[Way],
        lost: &[(SocketAddr, Fault)],
        fair: Duration,
    ) {
        for (address, fault) in lost {
            let way = ways.iter().find(|it| it.address == *address);
            let had_time = !matches!(fault, Fault::NoAnswer(waited) if *waited < fair);
            if let Some(way) = way.filter(|_| had_time) {
                self.fail(backend, *way, fault);
            }
        }
    }

    /// Notes that a backend was of use that was reached this way.
    pub fn succeed(&self, backend: &Address, way: Way) {
        let news = self.memory().succeed(way.address);
        if news == News::Up {
            let (backend, address) = (display(backend), display(way.address));
            info!(backend, address, "an address of a backend works again");
        }
    }

    /// Notes that it was not.
    pub fn fail(&self, backend: &Address, way: Way, reason: &dyn fmt::Display) {
        let now = Instant::now();
        let news = self.memory().fail(way.address, way.attempt, now);
        if news == News::Down {
            let (backend, address) = (display(backend), display(way.address));
            info!(
                backend,
                address, "an address of a backend is tried last for now: {reason}"
            );
        }
    }

    /// Locks what only this worker's one thread uses, so this never waits.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the address of a backend that is written as an IP address.
fn located(backend: &Address) -> io::Result<SocketAddr> {
    backend.to_string().parse().map_err(io::Error::other)
}

/// Ends an attempt at an address that is the only one.
fn only(outcome: Result<io::Result<Socket>, Elapsed>) -> Result<Dialed, DialError> {
    let socket = outcome.map_err(|_| DialError::NoAnswer)??;
    Ok(Dialed {
        socket,
        way: None,
        spare: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use socket2::{Domain, Socket as RawSocket, Type};

    use super::*;

    /// How long a test that needs no time may take.
    const AMPLE: Duration = Duration::from_secs(30);

    /// A backend of the tests; which one is all the same.
    fn backend() -> Address {
        "db.test:1".parse().unwrap()
    }

    /// An address of this machine that takes connections.
    fn open_port() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// An address of this machine that refuses connections as long as the socket is there.
    fn closed_port() -> (RawSocket, SocketAddr) {
        let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0));
        socket.bind(&any.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    /// An address of this machine that answers nothing, because its queue is full.
    fn silent_port() -> (RawSocket, Vec<TcpStream>, SocketAddr) {
        let (socket, address) = closed_port();
        socket.listen(0).unwrap();
        let patience = Duration::from_millis(100);
        let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok());
        let waiting = waiting.take(64).collect();
        (socket, waiting, address)
    }

    impl Dialer {
        async fn try_all(
            &self,
            found: &[SocketAddr],
            limit: Duration,
        ) -> Result<Dialed, DialError> {
            let by = Instant::now() + limit;
            self.dial_first(&backend(), found, by, limit).await
        }

        fn order(&self, found: &[SocketAddr]) -> Vec<SocketAddr> {
            self.memory().order(found, Instant::now())
        }
    }

    fn address_of(reached: &Dialed) -> SocketAddr {
        reached.socket.addresses().unwrap().0
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next_and_is_tried_last() {
        let ((_kept, closed), (_listener, open)) = (closed_port(), open_port());
        let (dialer, found) = (Dialer::default(), [closed, open]);
        let reached = dialer.try_all(&found, AMPLE).await.unwrap();
        assert_eq!(address_of(&reached), open);
        assert_eq!(dialer.order(&found), [open, closed]);
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_passed_within_its_delay_and_then_tried_last() {
        let ((_kept, _waiting, silent), (_listener, open)) = (silent_port(), open_port());
        let (dialer, found) = (Dialer::default(), [silent, open]);
        let began = Instant::now();
        let reached = dialer.try_all(&found, AMPLE).await.unwrap();
        assert_eq!(address_of(&reached), open);
        assert!(began.elapsed() < AMPLE / 2);
        assert_eq!(dialer.order(&found), [open, silent]);
    }

    #[tokio::test]
    async fn an_address_that_lost_before_its_time_was_up_keeps_its_place() {
        let (dialer, fair) = (Dialer::default(), Duration::from_millis(250));
        let found = ["127.0.0.1:1", "127.0.0.2:1"].map(|it| it.parse().unwrap());
        let ways = found.map(|address| Way {
            address,
            attempt: Attempt::default(),
        });
        let lost = |waited| [(found[0], Fault::NoAnswer(waited))];
        let instant = Duration::from_millis(1);
        dialer.remember(&backend(), &ways, &lost(fair.saturating_sub(instant)), fair);
        assert_eq!(dialer.order(&found), found);
        dialer.remember(&backend(), &ways, &lost(fair), fair);
        assert_eq!(dialer.order(&found), [found[1], found[0]]);
    }

    #[tokio::test]
    async fn an_address_where_the_backend_is_of_no_use_is_tried_last_until_it_is_of_use() {
        let ((_first, one), (_second, other)) = (open_port(), open_port());
        let (dialer, found) = (Dialer::default(), [one, other]);
        let reached = dialer.try_all(&found, AMPLE).await.unwrap();
        let way = reached.way.unwrap();
        assert_eq!(way.address, one);
        dialer.fail(&backend(), way, &"no greeting came");
        assert_eq!(dialer.order(&found), [other, one]);
        dialer.succeed(&backend(), way);
        assert_eq!(dialer.order(&found), found);
    }

    #[tokio::test]
    async fn when_all_addresses_fail_the_error_names_each_and_why() {
        let ((_one, closed), (_other, _waiting, silent)) = (closed_port(), silent_port());
        let limit = Duration::from_millis(500);
        let failed = Dialer::default().try_all(&[closed, silent], limit).await;
        let error = failed.unwrap_err();
        assert!(matches!(&error, DialError::All(failures) if failures.are_late()));
        assert_eq!(
            error.to_string(),
            format!("{closed}: refused; {silent}: no answer within 0.5 s")
        );
    }

    #[tokio::test]
    async fn of_many_addresses_others_have_their_turn_when_those_tried_first_fail() {
        let closed: Vec<_> = (0..MOST_TRIED).map(|_| closed_port()).collect();
        let (_listener, open) = open_port();
        let found = closed.iter().map(|(_, address)| *address);
        let found: Vec<_> = found.chain([open]).collect();
        let dialer = Dialer::default();
        let words = dialer.try_all(&found, AMPLE).await.unwrap_err().to_string();
        assert!(
            words.ends_with("; and 1 more of its addresses were not tried"),
            "{words}"
        );
        let reached = dialer.try_all(&found, AMPLE).await.unwrap();
        assert_eq!(address_of(&reached), open);
    }

    #[tokio::test]
    async fn a_single_address_is_named_and_not_remembered() {
        let (_kept, closed) = closed_port();
        let dialer = Dialer::default();
        let words = dialer
            .try_all(&[closed], AMPLE)
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(words, format!("{closed}: refused"));
        let literal: Address = closed.to_string().parse().unwrap();
        let failed = dialer.dial(&literal, Instant::now() + AMPLE, AMPLE).await;
        assert!(matches!(failed.unwrap_err(), DialError::Failed(_)));
        let (_listener, open) = open_port();
        assert_eq!(dialer.order(&[closed, open]), [closed, open]);
    }

    #[tokio::test]
    async fn an_ip_address_that_does_not_answer_is_waited_for_to_the_end() {
        let (_kept, _waiting, silent) = silent_port();
        let literal: Address = silent.to_string().parse().unwrap();
        let by = Instant::now() + Duration::from_millis(100);
        let failed = Dialer::default().dial(&literal, by, AMPLE).await;
        assert!(matches!(failed.unwrap_err(), DialError::NoAnswer));
        assert!(Instant::now() >= by);
    }

    #[tokio::test]
    async fn a_lookup_that_had_less_than_its_fair_time_ends_when_time_is_over() {
        let by = Instant::now() + Duration::from_millis(100);
        let failed = Dialer::default().dial(&backend(), by, AMPLE).await;
        assert!(matches!(failed.unwrap_err(), DialError::LookupLate));
        assert!(Instant::now() >= by);
        let path = "unix:/run/db".parse().unwrap();
        let by = Instant::now() + Duration::from_millis(100);
        let failed = Dialer::default().dial(&path, by, AMPLE).await;
        assert!(matches!(failed.unwrap_err(), DialError::NoAnswer));
    }
}
