//! How many sessions a listener takes, over all workers.

// Those of one client.
mod clients;

use std::{
    io::{Read as _, Write as _},
    thread,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    backend::Backend,
    builder::Builder,
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::Fake,
    front,
    pki::Ca,
    process,
    servers::{self, Server},
    until,
    wire::{SSL_REQUEST, error, error_field, greeting, read_packet, startup},
};

/// How many sessions a listener takes here.
const MOST: usize = 4;

/// Enough attempts for the kernel to have chosen every worker many times.
const ATTEMPTS: usize = 40;

fn limited(listener: Listener, most: usize) -> Listener {
    listener.line(&format!("limits = {{ max_connections = {most} }}"))
}

/// A daemon of two workers in front of a backend that echoes.
struct Front {
    client: Client,
    daemon: TestDaemon,
}

impl Front {
    fn new(listeners: impl FnOnce(&str) -> Vec<Listener>) -> Self {
        let ca = Ca::new("authority");
        let daemon = TestDaemon::builder()
            .workers(2)
            // Where a worker is killed here, its sessions are to end with it.
            .set("keep_after", "\"off\"")
            .identity("default", &ca.leaf("localhost"));
        let listeners = listeners(&daemon.backend().address());
        let daemon = listeners.into_iter().fold(daemon, Builder::listener);
        Self {
            client: Client::new(&ca),
            daemon: daemon.start(),
        }
    }

    fn tcp() -> Self {
        Self::new(|backend| vec![limited(Listener::tcp("main", backend), MOST)])
    }

    /// Opens a session; `None` if it was turned away.
    fn open(&self) -> Option<Session> {
        let mut session = self.client.connect(self.daemon.address()).ok()?;
        session.echo("hello").ok().map(|()| session)
    }

    /// Opens as many sessions as there are places.
    fn fill(&self) -> Vec<Session> {
        let attempts = std::iter::repeat_with(|| self.open());
        attempts.take(ATTEMPTS).flatten().collect()
    }

    /// Waits until there are exactly so many places.
    #[track_caller]
    fn await_places(&self, places: usize) -> Vec<Session> {
        let mut open = Vec::new();
        until("there are places again", || {
            open.extend(self.open());
            open.len() == places
        });
        open.extend(self.fill());
        assert_eq!(open.len(), places);
        open
    }
}

#[test]
fn no_more_sessions_are_opened_than_the_listener_may_have() {
    let front = Front::tcp();
    let sessions = front.fill();
    assert_eq!(sessions.len(), MOST);
    assert_eq!(front.daemon.backend.accepted(), MOST);
}

#[test]
fn a_flood_in_parallel_gets_as_many_sessions_as_the_listener_may_have() {
    let front = Front::tcp();
    let mut sessions: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..ATTEMPTS)
            .map(|_| scope.spawn(|| front.open()))
            .collect();
        let opened = clients.into_iter().map(|it| it.join().unwrap());
        opened.flatten().collect()
    });
    sessions.extend(front.fill());
    assert_eq!(sessions.len(), MOST);
    assert_eq!(front.daemon.backend.accepted(), MOST);
}

#[test]
fn the_sessions_there_are_do_not_suffer_from_those_that_are_turned_away() {
    let front = Front::tcp();
    for session in &mut front.fill() {
        session.echo("still here").unwrap();
    }
}

#[test]
fn a_place_that_is_free_again_is_taken_again() {
    let front = Front::tcp();
    let mut sessions = front.fill();
    for _ in 0..3 {
        assert_eq!(sessions.len(), MOST);
        drop(sessions.pop());
        drop(sessions.pop());
        sessions.extend(front.await_places(2));
    }
}

#[test]
fn a_worker_that_is_killed_gives_its_places_back() {
    let front = Front::tcp();
    let mut sessions = front.fill();
    for slot in [0, 1, 0] {
        assert_eq!(sessions.len(), MOST);
        let victim = front.daemon.workers()[slot];
        assert!(process::send(victim, Signal::SIGKILL));
        front.daemon.await_status("it is replaced", |status| {
            let workers = status["workers"].as_array().unwrap();
            let serves = |it: &Value| it["pid"] != victim && it["state"] == "serving";
            workers.len() == 2 && workers.iter().all(serves)
        });
        sessions.retain_mut(|session| session.echo("still here?").is_ok());
        sessions.extend(front.await_places(MOST - sessions.len()));
    }
}

/// They would use up the descriptors that sessions need.
#[test]
fn of_a_flood_that_finds_no_place_only_so_many_are_told() {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .workers(1)
        .identity("default", &ca.leaf("localhost"));
    let backend = daemon.backend().address();
    let listener = Listener::tcp("main", &backend).protocol("postgres");
    let daemon = daemon.listener(limited(listener, 1)).start();
    let worker = daemon.workers()[0];
    let before = process::descriptors(worker).len();
    let flood: Vec<_> = (0..200)
        .map(|_| connect(daemon.address()).unwrap())
        .collect();
    daemon.await_status("most are turned away", |status| {
        status["listeners"][0]["connections"]["refused"]
            .as_u64()
            .is_some_and(|refused| refused >= 135)
    });
    until("they are gone", || {
        process::descriptors(worker).len() <= before + 64 + 2
    });
    drop(flood);
}

#[test]
fn every_listener_has_places_of_its_own() {
    let front = Front::new(|backend| {
        ["main", "other"]
            .map(|name| limited(Listener::tcp(name, backend), MOST))
            .into()
    });
    let sessions = front.fill();
    assert_eq!(sessions.len(), MOST);
    let other = front.daemon.address_of("other");
    let mut session = front.client.connect(other).unwrap();
    session.echo("hello").unwrap();
}

#[test]
fn another_limit_counts_from_the_reload_on() {
    let mut front = Front::tcp();
    let mut sessions = front.fill();
    assert_eq!(sessions.len(), MOST);
    let limit = |most| {
        move |listener: &mut Listener| {
            listener.lines = vec![format!("limits = {{ max_connections = {most} }}")];
        }
    };
    front
        .daemon
        .reconfigure(|it| limit(MOST + 2)(it.listener("main")));
    front.daemon.ctl(&["reload"]).answer();
    sessions.extend(front.fill());
    assert_eq!(sessions.len(), MOST + 2);
    front.daemon.reconfigure(|it| limit(1)(it.listener("main")));
    front.daemon.ctl(&["reload"]).answer();
    assert_eq!(front.fill().len(), 0);
    // Those who are in stay in.
    for session in &mut sessions {
        session.echo("still here").unwrap();
    }
    drop(sessions);
    assert_eq!(front.await_places(1).len(), 1);
}

#[test]
fn who_was_turned_away_is_told_as_mysql_does() {
    let backend = Fake::saying(&greeting());
    let front = Front::new(|_| {
        let listener = Listener::tcp("main", &backend.address()).protocol("mysql");
        vec![limited(listener, MOST)]
    });
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..ATTEMPTS {
        let mut socket = connect(front.daemon.address()).unwrap();
        let (seq, payload) = read_packet(&mut socket).unwrap();
        assert_eq!(seq, 0);
        if payload[0] == 10 {
            open.push(socket);
            continue;
        }
        let (number, text) = error(&payload);
        assert_eq!((number, &text[..]), (1040, "Too many connections"));
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
        refused += 1;
    }
    assert_eq!((open.len(), refused), (MOST, ATTEMPTS - MOST));
    assert_eq!(backend.heard().len(), MOST);
}

#[test]
fn who_was_turned_away_is_told_as_postgres_does() {
    let backend = Backend::tcp();
    let front = Front::new(|_| {
        let listener = Listener::tcp("main", &backend.address()).protocol("postgres");
        vec![limited(listener, MOST)]
    });
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..ATTEMPTS {
        let mut socket = connect(front.daemon.address()).unwrap();
        socket.write_all(SSL_REQUEST).unwrap();
        let mut reply = [0];
        socket.read_exact(&mut reply).unwrap();
        let refusal = if reply == *b"S" {
            let mut session = front.client.over(socket).unwrap();
            session.send(&startup()).unwrap();
            session.read_exact(&mut reply).unwrap();
            if reply[0] == startup()[0] {
                open.push(session);
                continue;
            }
            [&reply[..], &session.rest().unwrap()].concat()
        } else {
            let mut rest = reply.to_vec();
            socket.read_to_end(&mut rest).unwrap();
            rest
        };
        assert_eq!(error_field(&refusal, b'C'), "53300");
        refused += 1;
    }
    assert_eq!((open.len(), refused), (MOST, ATTEMPTS - MOST));
    assert_eq!(backend.accepted(), MOST);
}

/// A listener for PostgreSQL with one place, and who has it.
struct Full {
    client: Client,
    daemon: TestDaemon,
    _backend: Backend,
    _session: Session,
}

impl Full {
    /// Fills the listener with a session that begins with `header`.
    fn new(line: &str, header: &[u8]) -> Self {
        let ca = Ca::new("authority");
        let backend = Backend::tcp();
        let listener = Listener::tcp("main", &backend.address())
            .protocol("postgres")
            .line(line);
        let daemon = TestDaemon::builder()
            .workers(1)
            .identity("default", &ca.leaf("localhost"))
            .listener(listener)
            .start();
        let client = Client::new(&ca);
        let mut session = start(&client, &daemon, header);
        let mut echoed = vec![0; startup().len()];
        session.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, startup());
        Self {
            client,
            daemon,
            _backend: backend,
            _session: session,
        }
    }

    /// Waits until one client has been turned away; none has failed.
    #[track_caller]
    fn has_refused_one(&self) {
        let status = self
            .daemon
            .await_status("it counts as turned away", |status| {
                status["listeners"][0]["connections"]["refused"] == 1
            });
        let connections = &status["listeners"][0]["connections"];
        assert_eq!(connections["failed_handshakes"], 0);
    }
}

/// Starts a session inside TLS, behind a header.
fn start(client: &Client, daemon: &TestDaemon, header: &[u8]) -> Session {
    let mut socket = connect(daemon.address()).unwrap();
    socket.write_all(&[header, SSL_REQUEST].concat()).unwrap();
    let mut reply = [0];
    socket.read_exact(&mut reply).unwrap();
    assert_eq!(reply, *b"S");
    let mut session = client.over(socket).unwrap();
    session.send(&startup()).unwrap();
    session
}

#[test]
fn who_comes_through_a_balancer_and_was_turned_away_is_told_inside_tls() {
    let header = b"PROXY TCP4 203.0.113.7 198.51.100.1 4321 5432\r\n";
    let line = "proxy_protocol = { accept = true }\nlimits = { max_connections = 1 }";
    let full = Full::new(line, header);
    let refusal = start(&full.client, &full.daemon, header).rest().unwrap();
    assert_eq!(error_field(&refusal, b'C'), "53300");
    full.has_refused_one();
    until("the log names the client", || {
        let log = full.daemon.log();
        let mut lines = log
            .lines()
            .filter(|it| it.contains("`max_connections` allows"));
        lines.any(|it| it.contains("203.0.113.7:4321"))
    });
}

/// Neither its header nor its request is waited for beyond the deadline.
#[test]
fn who_says_nothing_where_there_is_no_place_counts_as_turned_away() {
    for accept in [false, true] {
        let limits = "limits = { max_connections = 1, handshake_timeout = \"500ms\" }";
        let line = format!("proxy_protocol = {{ accept = {accept} }}\n{limits}");
        let header = b"PROXY UNKNOWN\r\n";
        let full = Full::new(&line, if accept { header } else { b"" });
        let mut heard = Vec::new();
        let mut silent = connect(full.daemon.address()).unwrap();
        silent.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"");
        full.has_refused_one();
    }
}

/// Returns each of the servers that are there with a limit of one session for all clients, and with one of
/// one session for each client.
fn of_each_limit(find: &[fn() -> Option<Server>]) -> Vec<(Server, &'static str)> {
    let limits = [
        "limits = { max_connections = 1 }",
        "limits = { per_client = 1 }",
    ];
    let with = |limit| find.iter().filter_map(move |find| Some((find()?, limit)));
    limits.into_iter().flat_map(with).collect()
}

#[test]
fn real_clients_of_mysql_show_that_there_are_too_many() {
    for (server, limit) in of_each_limit(&[servers::mariadb, servers::mysql]) {
        let front = front::Front::with(|it| {
            it.workers(2)
                .listener(front::listener(&server, "plain").line(limit))
        });
        let client = front.client(&server, "plain");
        let mut session = client.open();
        session.ask("SELECT 1").unwrap();
        for _ in 0..8 {
            let complaint = client.run("SELECT 1").complaint();
            assert!(complaint.contains("1040"), "{complaint}");
            assert!(complaint.contains("Too many connections"), "{complaint}");
        }
        assert!(session.close().is_success());
        until("there is a place again", || {
            client.run("SELECT 1").is_success()
        });
    }
}

#[test]
fn psql_is_turned_away_when_there_are_too_many() {
    for (server, limit) in of_each_limit(&[servers::postgres]) {
        let front = front::Front::with(|it| {
            it.workers(2)
                .listener(front::listener(&server, "plain").line(limit))
        });
        let client = front.client(&server, "plain");
        let mut session = client.open();
        session.ask("SELECT 1").unwrap();
        for _ in 0..8 {
            let complaint = client.run("SELECT 1").complaint();
            assert!(complaint.contains("too many"), "{complaint}");
        }
        assert!(session.close().is_success());
        until("there is a place again", || {
            client.run("SELECT 1").is_success()
        });
    }
}
