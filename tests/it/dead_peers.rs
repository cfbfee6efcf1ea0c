//! Peers that acknowledge nothing any more, and peers that only do not read.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpListener,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    PATIENCE,
    backend::Backend,
    builder::Builder,
    client::{Client, Session},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, Heard, TlsFake},
    network::{BEYOND, HERE, is_all_acknowledged, network_of},
    pki::Ca,
    until,
};

/// The dead peer timeout of most listeners here.
const LIMIT: Duration = Duration::from_secs(2);

/// As a configuration writes it.
const LIMITS: &str = "limits = { dead_peer_timeout = \"2s\" }";

/// More bytes than all buffers on the way take.
const MUCH: usize = 32 << 20;

fn daemon(ca: &Ca, listeners: impl IntoIterator<Item = Listener>) -> TestDaemon {
    let builder = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .file("ca.pem", ca.pem());
    let listeners = listeners.into_iter();
    listeners.fold(builder, Builder::listener).start()
}

fn listen_beyond() -> TcpListener {
    TcpListener::bind((BEYOND, 0)).unwrap()
}

/// Returns what status counts of a listener's sessions.
fn count(daemon: &TestDaemon, listener: &str, of: impl Fn(&Value) -> &Value) -> u64 {
    let status = daemon.status();
    let listeners = status["listeners"].as_array().unwrap();
    let found = listeners.iter().find(|it| it["name"] == listener).unwrap();
    of(&found["connections"]).as_u64().unwrap()
}

fn open(daemon: &TestDaemon, listener: &str) -> u64 {
    count(daemon, listener, |it| &it["open"])
}

fn ended(daemon: &TestDaemon, reason: &str) -> u64 {
    count(daemon, "main", |it| &it["ended"][reason])
}

/// Waits until so much time has passed that a peer that acknowledges nothing would be dead.
fn let_limit_pass() {
    let end = Instant::now() + LIMIT * 3;
    until("three times the limit has passed", || Instant::now() >= end);
}

/// Asserts that no worker was refused a system call, and so could do all that it wanted.
#[track_caller]
fn assert_none_denied(daemon: &TestDaemon) {
    let status = daemon.status();
    assert_eq!(status["sandbox"]["denied_calls"], 0, "{status:#}");
}

#[track_caller]
fn assert_cut(session: &mut Session) {
    let error = session.rest().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
}

#[test]
fn a_backend_that_acknowledges_no_request_is_dead_after_the_limit() {
    let test = "dead_peers::a_backend_that_acknowledges_no_request_is_dead_after_the_limit";
    let Some(network) = network_of(test) else {
        return;
    };
    let ca = Ca::new("authority");
    let leaf = ca.leaf(BEYOND);
    let backend = network.beyond(|| TlsFake::over(listen_beyond(), &leaf, None));
    let to_backend = |name: &str| {
        Listener::tcp(name, &backend.address()).line("backend_tls = { mode = \"require\" }")
    };
    let daemon = daemon(
        &ca,
        [
            to_backend("main").line(LIMITS),
            to_backend("off").line("limits = { dead_peer_timeout = \"0s\" }"),
        ],
    );
    let client = Client::new(&ca);
    let mut session = client.connect(daemon.address()).unwrap();
    let mut other = client.connect(daemon.address_of("off")).unwrap();
    for session in [&mut session, &mut other] {
        session.echo("hello").unwrap();
    }
    network.fail();
    let began = Instant::now();
    for session in [&mut session, &mut other] {
        session.send(b"a request\n").unwrap();
    }
    assert_cut(&mut session);
    let elapsed = began.elapsed();
    assert!(elapsed >= LIMIT, "{elapsed:?}");
    until("the session is counted", || {
        ended(&daemon, "backend_dead") == 1
    });
    let told = "session ended: backend: it has acknowledged nothing for ";
    until("the log says so", || daemon.log().contains(told));
    assert!(daemon.log().contains("limits.dead_peer_timeout"));
    assert_eq!(open(&daemon, "off"), 1, "zero leaves it to the kernel");
    assert_none_denied(&daemon);
}

#[test]
fn a_client_that_acknowledges_no_answer_is_dead_after_the_limit() {
    let test = "dead_peers::a_client_that_acknowledges_no_answer_is_dead_after_the_limit";
    let Some(network) = network_of(test) else {
        return;
    };
    let (speak, words) = mpsc::channel::<()>();
    let (words, (end, ends)) = (Mutex::new(words), mpsc::channel());
    let backend = Fake::new(move |connection| {
        connection.take(2)?;
        connection.write_all(b"hello\n")?;
        words.lock().unwrap().recv().map_err(io::Error::other)?;
        connection.write_all(b"an answer\n")?;
        connection.listen()?;
        end.send(()).map_err(io::Error::other)
    });
    let ca = Ca::new("authority");
    let main = Listener::tcp("main", &backend.address()).line(LIMITS);
    let daemon = daemon(&ca, [main.bind(&format!("{HERE}:0"))]);
    let client = Client::new(&ca);
    let mut session = network.beyond(|| client.connect(daemon.address()).unwrap());
    session.send(b"1\n").unwrap();
    session.read_exact(&mut [0; 6]).unwrap();
    until("all is acknowledged", is_all_acknowledged);
    network.fail();
    let began = Instant::now();
    speak.send(()).unwrap();
    ends.recv_timeout(PATIENCE).expect("the backend is told");
    let elapsed = began.elapsed();
    assert!(elapsed >= LIMIT, "{elapsed:?}");
    until("the session is counted", || {
        ended(&daemon, "client_dead") == 1
    });
    let told = "session ended: client: it has acknowledged nothing for ";
    until("the log says so", || daemon.log().contains(told));
    assert_eq!(open(&daemon, "main"), 0);
    assert_none_denied(&daemon);
}

#[test]
fn a_client_without_room_is_dead_when_it_answers_no_more() {
    let test = "dead_peers::a_client_without_room_is_dead_when_it_answers_no_more";
    let Some(network) = network_of(test) else {
        return;
    };
    let backend = Fake::new(give_much);
    let ca = Ca::new("authority");
    let main = Listener::tcp("main", &backend.address()).line(LIMITS);
    let daemon = daemon(&ca, [main.bind(&format!("{HERE}:0"))]);
    let client = Client::new(&ca);
    let _session = network.beyond(|| client.connect(daemon.address()).unwrap());
    let_limit_pass();
    assert_eq!(open(&daemon, "main"), 1, "it only does not read");
    network.fail();
    until("the session is counted", || {
        ended(&daemon, "client_dead") == 1
    });
    assert_none_denied(&daemon);
}

#[test]
fn sessions_over_a_network_that_fails_go_on_when_nothing_was_sent_meanwhile() {
    let test =
        "dead_peers::sessions_over_a_network_that_fails_go_on_when_nothing_was_sent_meanwhile";
    let Some(network) = network_of(test) else {
        return;
    };
    let ca = Ca::new("authority");
    let backend = network.beyond(|| Fake::over(listen_beyond(), Heard::echo));
    let near = Backend::tcp();
    let daemon = daemon(
        &ca,
        [
            Listener::tcp("main", &backend.address()).line(LIMITS),
            Listener::tcp("other", &near.address())
                .line(LIMITS)
                .bind(&format!("{HERE}:0")),
        ],
    );
    let client = Client::new(&ca);
    let mut sessions = [
        client.connect(daemon.address()).unwrap(),
        network.beyond(|| client.connect(daemon.address_of("other")).unwrap()),
    ];
    for session in &mut sessions {
        session.echo("hello").unwrap();
    }
    until("all is acknowledged", is_all_acknowledged);
    network.fail();
    let_limit_pass();
    network.heal();
    for session in &mut sessions {
        session.echo("still here").unwrap();
    }
}

/// Sends much and then ends.
fn give_much(connection: &mut Heard) -> io::Result<()> {
    let bytes = [b'x'; 4096];
    for _ in 0..MUCH / bytes.len() {
        connection.write_all(&bytes)?;
    }
    Ok(())
}

#[test]
fn a_client_that_does_not_read_for_longer_than_the_limit_gets_every_byte() {
    let backend = Fake::new(give_much);
    let ca = Ca::new("authority");
    let daemon = daemon(
        &ca,
        [Listener::tcp("main", &backend.address()).line(LIMITS)],
    );
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    let_limit_pass();
    assert_eq!(session.rest().unwrap().len(), MUCH);
}

#[test]
fn a_backend_that_does_not_read_for_longer_than_the_limit_gets_every_byte() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let backend = Fake::new(move |connection| {
        gone.lock().unwrap().recv().map_err(io::Error::other)?;
        connection.take(MUCH)?;
        connection.write_all(b"all\n")
    });
    let ca = Ca::new("authority");
    let daemon = daemon(
        &ca,
        [Listener::tcp("main", &backend.address()).line(LIMITS)],
    );
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            session.send(&vec![b'x'; MUCH]).unwrap();
            session.read_exact(&mut [0; 4]).unwrap();
        });
        let_limit_pass();
        assert!(!sending.is_finished(), "the buffers on the way took it all");
        go.send(()).unwrap();
        sending.join().unwrap();
    });
}
