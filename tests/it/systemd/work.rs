//! Clients at work while the service is restarted, killed and upgraded.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::support::{
    client::{Client, Session},
    pause, until,
};

/// How long a client pauses after a line, so that all of them share the machine.
const BREATH: Duration = Duration::from_millis(5);

/// Clients of one listener: some that talk in one session each, and one that connects all the time.
pub(super) struct Work {
    enough: Arc<AtomicBool>,
    clients: Vec<Worker>,
}

/// A client at work.
struct Worker {
    name: String,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Work {
    /// Opens so many sessions and sets them to work, and a client that connects, talks and leaves again and again. All
    /// trust the authority of this PEM text.
    pub(super) fn start(sessions: usize, ca: &str, address: SocketAddr) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for number in 0..sessions {
            let mut session = connect(&client(ca, number % 2 == 0), address).unwrap();
            let talk = move |round| talk(&mut session, round);
            clients.push(Worker::start(format!("session {number}"), &enough, talk));
        }
        let (new, old) = (client(ca, false), client(ca, true));
        let visit = move |round: u64| {
            let mut session = connect(if round.is_multiple_of(2) { &new } else { &old }, address)?;
            talk(&mut session, round)?;
            session.close().map_err(|error| format!("end: {error}"))
        };
        clients.push(Worker::start("visitor".to_owned(), &enough, visit));
        Self { enough, clients }
    }

    /// Waits until each client has done something more.
    #[track_caller]
    pub(super) fn goes_on(&self) {
        for client in &self.clients {
            let before = client.rounds.load(Ordering::Relaxed);
            until(&format!("{} goes on", client.name), || {
                // One that has ended has failed, which the end tells.
                client.rounds.load(Ordering::Relaxed) > before + 1 || client.thread.is_finished()
            });
        }
    }

    /// Ends the work.
    ///
    /// # Panics
    ///
    /// When a session was lost or has carried a wrong byte, or a client was refused.
    #[track_caller]
    pub(super) fn was_never_disturbed(self) {
        self.enough.store(true, Ordering::Relaxed);
        let mut troubles = Vec::new();
        for client in self.clients {
            let result = client.thread.join().unwrap();
            let rounds = client.rounds.load(Ordering::Relaxed);
            let trouble = result.err();
            troubles
                .extend(trouble.map(|it| format!("{} after {rounds} rounds: {it}", client.name)));
        }
        assert!(troubles.is_empty(), "{troubles:#?}");
    }
}

impl Worker {
    fn start(
        name: String,
        enough: &Arc<AtomicBool>,
        mut work: impl FnMut(u64) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let rounds = Arc::new(AtomicU64::new(0));
        let (told, counted) = (Arc::clone(enough), Arc::clone(&rounds));
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let round = counted.load(Ordering::Relaxed);
                work(round)?;
                counted.store(round + 1, Ordering::Relaxed);
                pause(BREATH);
            }
            Ok(())
        });
        Self {
            name,
            rounds,
            thread,
        }
    }
}

/// Returns a client that speaks TLS 1.3, or an old one that speaks TLS 1.2.
fn client(ca: &str, old: bool) -> Client {
    Client::trusting(ca).old(old)
}

fn connect(client: &Client, address: SocketAddr) -> Result<Session, String> {
    let session = client.connect(address);
    session.map_err(|error| format!("beginning: {error}"))
}

/// Sends a line that no other round sends, of a length that now and then takes several TLS records, and waits until it
/// comes back.
fn talk(session: &mut Session, round: u64) -> Result<(), String> {
    let length = if round.is_multiple_of(50) {
        40_000
    } else {
        10 + round % 300
    };
    let line: String = (0..length)
        .map(|place| char::from(b'a' + u8::try_from((place + round) % 26).unwrap_or(0)))
        .collect();
    let line = format!("{round} {line}");
    session
        .echo(&line)
        .map_err(|error| format!("round {round}: {error}"))
}
