//! How many sessions a listener takes of one client address, over all workers.

use std::{
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    thread,
};

use nix::sys::signal::Signal;

use super::{ATTEMPTS, Front, MOST};
use crate::support::{
    backend::Backend,
    client::{Session, connect, connect_from},
    configuration::Listener,
    fake::Fake,
    process, until,
    wire::{SSL_REQUEST, error, error_field, greeting, read_packet, startup},
};

const ONE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Enough places for all clients that want one here.
const PLACES: usize = 1000;

fn limits(client: usize, all: usize) -> String {
    format!("limits = {{ max_connections = {all}, per_client = {client} }}")
}

/// A front that takes so many sessions of a client, and so many of all.
fn bounded(client: usize, all: usize) -> Front {
    Front::new(|backend| vec![Listener::tcp("main", backend).line(&limits(client, all))])
}

/// A front behind load balancers that takes so many sessions of a client, and so many of all.
fn balanced(client: usize, all: usize) -> Front {
    Front::new(|backend| {
        let listener = Listener::tcp("main", backend).line(&limits(client, all));
        vec![listener.line("proxy_protocol = { accept = true }")]
    })
}

impl Front {
    /// Opens a session from an address of this machine; `None` if it was turned away.
    fn open_from(&self, source: Ipv4Addr) -> Option<Session> {
        let socket = connect_from(source, self.daemon.address()).unwrap();
        let mut session = self.client.over(socket).ok()?;
        session.echo("hello").ok().map(|()| session)
    }

    /// Opens as many sessions as there are places for a client.
    fn fill_from(&self, source: Ipv4Addr) -> Vec<Session> {
        let attempts = std::iter::repeat_with(|| self.open_from(source));
        attempts.take(ATTEMPTS).flatten().collect()
    }

    /// Opens a session for the client that a header names; `None` if it was turned away.
    fn open_behind(&self, header: &str) -> Option<Session> {
        let socket = connect(self.daemon.address()).unwrap();
        let session = self.client.behind(header.as_bytes(), usize::MAX, socket);
        let mut session = session.ok()?;
        session.echo("hello").ok().map(|()| session)
    }

    /// Waits until the sessions that ended as `client_full` are so many.
    #[track_caller]
    fn await_refused(&self, number: usize) {
        self.daemon.await_status("they are counted", |status| {
            status["listeners"][0]["connections"]["ended"]["client_full"] == number
        });
    }
}

#[test]
fn a_client_that_connects_in_parallel_gets_as_many_sessions_as_one_may_have() {
    let front = bounded(MOST, PLACES);
    let mut sessions: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..ATTEMPTS)
            .map(|_| scope.spawn(|| front.open_from(ONE)))
            .collect();
        let opened = clients.into_iter().map(|it| it.join().unwrap());
        opened.flatten().collect()
    });
    assert!(sessions.len() <= MOST, "{} sessions", sessions.len());
    sessions.extend(front.fill_from(ONE));
    assert_eq!(sessions.len(), MOST);
    assert_eq!(front.daemon.backend.accepted(), MOST);
    front.await_refused(2 * ATTEMPTS - MOST);
    for session in &mut sessions {
        session.echo("still here").unwrap();
    }
}

#[test]
fn a_client_that_has_all_its_sessions_leaves_the_other_places_to_others() {
    let front = bounded(2, 3);
    let sessions = front.fill_from(ONE);
    assert_eq!(sessions.len(), 2);
    let other = front.open_from(OTHER).unwrap();
    front.await_refused(ATTEMPTS - 2);
    assert!(front.open_from(OTHER).is_none(), "the listener is full");
    drop(sessions);
    until("the client has places again", || {
        front.open_from(ONE).is_some()
    });
    drop(other);
}

#[test]
fn a_worker_that_is_killed_holds_no_session_of_a_client() {
    let front = bounded(MOST, PLACES);
    for _ in 0..2 {
        let mut sessions = front.fill_from(ONE);
        until("the client has all its sessions", || {
            sessions.extend(front.open_from(ONE));
            sessions.len() == MOST
        });
        for victim in front.daemon.workers() {
            assert!(process::send(victim, Signal::SIGKILL));
        }
        until("its sessions are gone", || {
            sessions.retain_mut(|session| session.echo("still here?").is_ok());
            sessions.is_empty()
        });
    }
    until("it has a place again", || front.open_from(ONE).is_some());
}

#[test]
fn another_limit_for_clients_counts_from_the_reload_on() {
    let mut front = bounded(2, PLACES);
    let mut sessions = front.fill_from(ONE);
    assert_eq!(sessions.len(), 2);
    for (client, more) in [(4, 2), (1, 0), (0, ATTEMPTS)] {
        let line = limits(client, PLACES);
        front
            .daemon
            .reconfigure(|it| it.listener("main").lines = vec![line]);
        front.daemon.ctl(&["reload"]).answer();
        let new = front.fill_from(ONE);
        assert_eq!(new.len(), more, "per_client = {client}");
        sessions.extend(new);
    }
    for session in &mut sessions {
        session.echo("still here").unwrap();
    }
}

#[test]
fn sessions_that_a_client_has_had_without_a_limit_do_not_count() {
    let mut front = bounded(0, PLACES);
    let earlier = front.fill_from(ONE);
    assert_eq!(earlier.len(), ATTEMPTS);
    let line = limits(2, PLACES);
    front
        .daemon
        .reconfigure(|it| it.listener("main").lines = vec![line]);
    front.daemon.ctl(&["reload"]).answer();
    assert_eq!(front.fill_from(ONE).len(), 2);
}

#[test]
fn behind_a_balancer_the_limit_is_for_the_client_that_the_header_names() {
    let front = balanced(1, 4);
    let v4 = "PROXY TCP4 203.0.113.7 198.51.100.1 4321 5432\r\n";
    let mapped = "PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 4321 5432\r\n";
    let another = "PROXY TCP4 203.0.113.8 198.51.100.1 4321 5432\r\n";
    let session = front.open_behind(v4).unwrap();
    for header in [v4, mapped] {
        assert!(front.open_behind(header).is_none(), "{header}");
    }
    let more = front.open_behind(another).unwrap();
    // The balancer comes for itself, as its health checks do.
    let own = ["PROXY UNKNOWN\r\n"; 2].map(|header| front.open_behind(header).unwrap());
    front.await_refused(2);
    until("the log names the client that was refused", || {
        let log = front.daemon.log();
        let mut lines = log.lines().filter(|it| it.contains("`per_client` allows"));
        lines.any(|it| it.contains("203.0.113.7:4321") && it.contains("client_full"))
    });
    drop((session, more, own));
    until("the client has a place again", || {
        front.open_behind(mapped).is_some()
    });
}

#[test]
fn a_client_that_has_too_many_sessions_is_told_as_mysql_does() {
    let backend = Fake::saying(&greeting());
    let front = Front::new(|_| {
        let listener = Listener::tcp("main", &backend.address()).protocol("mysql");
        vec![listener.line(&limits(1, PLACES))]
    });
    let mut first = connect(front.daemon.address()).unwrap();
    assert_eq!(read_packet(&mut first).unwrap().1[0], 10);
    let mut second = connect(front.daemon.address()).unwrap();
    let (number, text) = error(&read_packet(&mut second).unwrap().1);
    assert_eq!(number, 1040);
    assert_eq!(text, "Too many connections from this client's address");
    let mut rest = Vec::new();
    second.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    front.await_refused(1);
}

#[test]
fn a_client_that_has_too_many_sessions_is_told_as_postgres_does() {
    let header = "PROXY TCP4 203.0.113.7 198.51.100.1 4321 5432\r\n";
    for header in ["", header] {
        let backend = Backend::tcp();
        let front = Front::new(|_| {
            let accept = !header.is_empty();
            let listener = Listener::tcp("main", &backend.address())
                .protocol("postgres")
                .line(&limits(1, PLACES))
                .line(&format!("proxy_protocol = {{ accept = {accept} }}"));
            vec![listener]
        });
        let begin = || {
            let mut socket = connect(front.daemon.address()).unwrap();
            socket
                .write_all(&[header.as_bytes(), SSL_REQUEST].concat())
                .unwrap();
            let mut reply = [0];
            socket.read_exact(&mut reply).unwrap();
            assert_eq!(reply, *b"S");
            let mut session = front.client.over(socket).unwrap();
            session.send(&startup()).unwrap();
            session
        };
        let mut first = begin();
        let mut echoed = vec![0; startup().len()];
        first.read_exact(&mut echoed).unwrap();
        let refusal = begin().rest().unwrap();
        assert_eq!(error_field(&refusal, b'C'), "53300");
        let words = "too many connections from this client's address";
        assert_eq!(error_field(&refusal, b'M'), words);
        front.await_refused(1);
    }
}
