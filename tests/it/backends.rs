//! Several backends behind one listener, tried in order.

use std::{
    io::{Read as _, Write as _},
    sync::{Mutex, mpsc},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    backend::{Backend, Behaviour, Closed, Mute},
    client::{Client, Session, connect, exchange},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, Heard, TlsFake},
    front::{Front, listener},
    pki::{Ca, replace},
    process,
    servers::{self, Kind},
    until,
    wire::{BACKEND_DOWN, error, greeting, login, mysql_ssl_request, read_packet, startup},
};

/// What cancels a query of `PostgreSQL`.
const CANCEL: &[u8] = &[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 7, 1, 2, 3, 4];

fn start(listener: Listener) -> (Client, TestDaemon) {
    start_with(1, listener)
}

fn start_with(workers: usize, listener: Listener) -> (Client, TestDaemon) {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .workers(workers)
        .identity("default", &ca.leaf("localhost"))
        .listener(listener)
        .start();
    (Client::new(&ca), daemon)
}

/// Opens a session and sees that bytes pass.
#[track_caller]
fn served(client: &Client, daemon: &TestDaemon) -> Session {
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    session
}

/// Returns a backend of the first listener as status tells of it.
fn backend(status: &Value, position: usize) -> &Value {
    &status["listeners"][0]["backends"][position]
}

#[test]
fn the_first_backend_that_can_be_reached_is_used() {
    let (closed, other, third) = (Closed::new(), Backend::tcp(), Backend::tcp());
    let first = closed.address().to_string();
    let listener = Listener::tcp("main", &first)
        .or(&other.address())
        .or(&third.address());
    let (client, daemon) = start(listener);
    for _ in 0..3 {
        served(&client, &daemon);
    }
    assert_eq!((other.accepted(), third.accepted()), (3, 0));
    let status = daemon.status();
    assert_eq!(status["listeners"][0]["backend"], first);
    assert_eq!(status["listeners"][0]["connections"]["failed_backends"], 0);
    let down = backend(&status, 0);
    assert_eq!(down["address"], first);
    assert_eq!(down["healthy"], false);
    assert!(down["last_error"].as_str().unwrap().contains("refused"));
    assert!(down["since"].is_string() && down["last_error_at"].is_string());
    let up = backend(&status, 1);
    assert_eq!(
        (&up["healthy"], &up["connected"]),
        (&json!(true), &json!(3))
    );
    assert!(up["since"].is_string());
    let spare = backend(&status, 2);
    assert_eq!(
        (&spare["healthy"], &spare["since"]),
        (&json!(true), &Value::Null)
    );
    let told = daemon.ctl(&["status"]).answer();
    assert!(told.contains(&format!("{first} +2")), "{told}");
    assert!(
        told.contains(&format!("backend {first} of main is down since")),
        "{told}"
    );
    until("it is logged once", || {
        daemon.log().matches("a backend is down").count() == 1
    });
}

#[test]
fn a_backend_that_is_back_is_used_again() {
    let (closed, other) = (Closed::new(), Backend::tcp());
    let listener = Listener::tcp("main", &closed.address().to_string()).or(&other.address());
    let (client, daemon) = start(listener);
    served(&client, &daemon);
    let first = closed.open();
    until("sessions go to the first again", || {
        served(&client, &daemon);
        first.accepted() > 0
    });
    daemon.await_status("it is told", |status| backend(status, 0)["healthy"] == true);
    let status = daemon.status();
    let last = backend(&status, 0)["last_error"].as_str().unwrap();
    assert!(last.contains("refused"), "what went wrong last stays known");
    until("it is logged", || {
        daemon.log().contains("a backend is up again")
    });
}

#[test]
fn a_listener_whose_backends_were_all_down_serves_with_the_first_that_is_up() {
    let (one, other) = (Closed::new(), Closed::new());
    let addresses = [&one, &other].map(|it| it.address().to_string());
    let listener = Listener::tcp("main", &addresses[0]).or(&addresses[1]);
    let (client, daemon) = start(listener);
    for _ in 0..20 {
        let mut session = client.connect(daemon.address()).unwrap();
        assert_eq!(session.rest().unwrap(), b"");
    }
    until("the log names both", || {
        let log = daemon.log();
        let lines = log.lines().filter(|it| it.contains("session failed"));
        lines
            .filter(|it| addresses.iter().all(|address| it.contains(address)))
            .count()
            == 20
    });
    // No pause is waited for: nobody is left out while there is nobody else.
    let backend = other.open();
    served(&client, &daemon);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_backend_that_does_not_answer_is_waited_for_only_now_and_then() {
    let (mute, other) = (Mute::new(), Backend::tcp());
    let listener = Listener::tcp("main", &mute.address().to_string())
        .or(&other.address())
        .line("limits = { connect_timeout = \"300ms\" }");
    let (client, daemon) = start(listener);
    for _ in 0..3 {
        served(&client, &daemon);
    }
    assert_eq!(other.accepted(), 3);
    let status = daemon.status();
    let down = backend(&status, 0);
    assert_eq!(down["last_error"], "no answer within 0.3 s");
    assert!(down["failed"].as_u64().unwrap() < 3, "{down}");
}

#[test]
fn what_workers_find_out_is_put_together_and_outlives_them() {
    let (closed, other) = (Closed::new(), Backend::tcp());
    let listener = Listener::tcp("main", &closed.address().to_string()).or(&other.address());
    let (client, daemon) = start_with(2, listener);
    let mut sessions: Vec<_> = (0..8).map(|_| served(&client, &daemon)).collect();
    for session in &mut sessions {
        session.finish().unwrap();
        session.rest().unwrap();
    }
    let connected = |status: &Value| backend(status, 1)["connected"].clone();
    assert_eq!(connected(&daemon.status()), 8);
    let workers = daemon.workers();
    assert!(process::send(workers[0], Signal::SIGKILL));
    daemon.await_status("a worker was replaced", |status| {
        status["restarts"]["total"] == 1
            && status["workers"].as_array().is_some_and(|it| it.len() == 2)
    });
    let status = daemon.status();
    assert_eq!(connected(&status), 8);
    assert_eq!(backend(&status, 0)["healthy"], false);
}

#[test]
fn a_reload_changes_the_backends_and_forgets_nothing_about_those_that_stay() {
    let (closed, one, other) = (Closed::new(), Backend::tcp(), Backend::tcp());
    let closed = closed.address().to_string();
    let listener = Listener::tcp("main", &closed).or(&one.address());
    let (client, mut daemon) = start(listener);
    served(&client, &daemon);
    daemon.reconfigure(|it| {
        let listener = it.listener("main");
        listener.backend = other.address();
        listener.others = vec![closed];
    });
    daemon.ctl(&["reload"]).answer();
    served(&client, &daemon);
    assert_eq!((one.accepted(), other.accepted()), (1, 1));
    let status = daemon.status();
    assert_eq!(backend(&status, 0)["address"], other.address());
    assert_eq!(backend(&status, 1)["healthy"], false);
}

#[test]
fn every_database_is_reached_past_one_that_is_down() {
    let all = [servers::mariadb(), servers::mysql(), servers::postgres()];
    let closed = Closed::new().address().to_string();
    for server in all.into_iter().flatten() {
        // With TLS on both sides PostgreSQL's client would bind its login to our certificate.
        let legs: &[_] = match server.kind {
            Kind::Mariadb | Kind::Mysql => &["plain", "unix", "require"],
            Kind::Postgres => &["plain", "unix"],
        };
        for leg in legs.iter().copied() {
            let front = Front::with(|it| {
                let mut listener = listener(&server, leg);
                listener.others = vec![std::mem::replace(&mut listener.backend, closed.clone())];
                it.listener(listener)
            });
            let client = front.client(&server, leg);
            assert_eq!(client.run("SELECT 1").answer(), "1", "{leg}");
        }
    }
}

#[test]
fn a_request_to_cancel_goes_to_every_backend() {
    let backends = [(); 2].map(|()| Fake::new(|connection| connection.take(16).map(drop)));
    let closed = Closed::new();
    let listener = Listener::tcp("main", &backends[0].address())
        .or(&closed.address().to_string())
        .or(&backends[1].address())
        .protocol("postgres");
    let (_, daemon) = start(listener);
    let answer = exchange(daemon.address(), CANCEL).unwrap();
    assert_eq!(answer, b"");
    for backend in &backends {
        assert_eq!(backend.heard(), [CANCEL.to_vec()]);
    }
    let connections = &daemon.status()["listeners"][0]["connections"];
    assert_eq!(connections["failed_backends"], 0, "{connections}");
}

#[test]
fn a_backend_that_hangs_keeps_no_request_to_cancel_from_another() {
    let hangs = Fake::new(Heard::listen);
    let other = Fake::new(|connection| connection.take(16).map(drop));
    let listener = Listener::tcp("main", &hangs.address())
        .or(&other.address())
        .protocol("postgres")
        .line("limits = { connect_timeout = \"500ms\" }");
    let (_, daemon) = start(listener);
    assert_eq!(exchange(daemon.address(), CANCEL).unwrap(), b"");
    assert_eq!(other.heard(), [CANCEL.to_vec()]);
    let connections = &daemon.status()["listeners"][0]["connections"];
    assert_eq!(connections["failed_backends"], 0, "{connections}");
    assert_eq!(connections["failed_handshakes"], 0, "{connections}");
}

#[test]
fn a_backend_of_postgresql_that_does_not_answer_is_passed_over() {
    const ERROR: &[u8] = b"E\0\0\0\x0bC53300\0\0";
    let answers = Fake::new(|connection| {
        connection.take(startup().len())?;
        connection.write_all(ERROR)
    });
    let closes = Fake::new(|connection| connection.take(startup().len()).map(drop));
    for first in [&Fake::new(Heard::listen), &closes] {
        let listener = Listener::tcp("main", &first.address())
            .or(&answers.address())
            .protocol("postgres")
            .line("tls = { mode = \"preferred\" }")
            .line("limits = { connect_timeout = \"300ms\" }");
        let (_, daemon) = start(listener);
        let answer = exchange(daemon.address(), &startup()).unwrap();
        assert_eq!(answer, ERROR);
        let status = daemon.status();
        assert_eq!(backend(&status, 0)["healthy"], false);
        assert_eq!(backend(&status, 1)["healthy"], true);
    }
}

/// It is asked without a word of its own, so that the connection alone proves nothing.
#[test]
fn a_request_to_cancel_does_not_take_a_backend_that_hangs_for_one_that_is_back() {
    const ERROR: &[u8] = b"E\0\0\0\x0bC53300\0\0";
    let hangs = Fake::new(Heard::listen);
    let other = Fake::new(|connection| {
        let first = connection.take(16)?;
        if first != CANCEL {
            connection.take(startup().len() - 16)?;
            connection.write_all(ERROR)?;
        }
        Ok(())
    });
    let listener = Listener::tcp("main", &hangs.address())
        .or(&other.address())
        .protocol("postgres")
        .line("tls = { mode = \"preferred\" }")
        .line("limits = { connect_timeout = \"300ms\" }");
    let (_, daemon) = start(listener);
    assert_eq!(exchange(daemon.address(), &startup()).unwrap(), ERROR);
    assert_eq!(backend(&daemon.status(), 0)["healthy"], false);
    assert_eq!(exchange(daemon.address(), CANCEL).unwrap(), b"");
    let status = daemon.status();
    assert_eq!(backend(&status, 0)["healthy"], false);
    assert_eq!(backend(&status, 0)["connected"], 0);
}

/// Otherwise whoever is slow himself could make sessions go elsewhere.
#[test]
fn a_backend_that_had_no_time_because_of_its_client_is_not_taken_for_down() {
    let hangs = Fake::new(Heard::listen);
    let listener = Listener::tcp("main", &hangs.address())
        .protocol("postgres")
        .line("tls = { mode = \"preferred\" }")
        .line("limits = { handshake_timeout = \"1s\" }");
    let (_, daemon) = start(listener);
    let mut socket = connect(daemon.address()).unwrap();
    // It says nothing for most of the time that it has.
    let most = Duration::from_millis(800);
    socket.set_read_timeout(Some(most)).unwrap();
    assert!(socket.read(&mut [0]).is_err());
    socket.write_all(&startup()).unwrap();
    daemon.await_status("the time is up", |status| {
        let connections = &status["listeners"][0]["connections"];
        connections["failed_backends"] == 1 || connections["failed_handshakes"] == 1
    });
    let status = daemon.status();
    assert_eq!(backend(&status, 0)["healthy"], true);
    assert_eq!(backend(&status, 0)["failed"], 0);
}

/// It would count a connection that nobody answers.
#[test]
fn a_greeting_that_comes_too_late_is_answered_by_nobody() {
    let (greet, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let slow = Fake::new(move |connection| {
        let _ = told.lock().unwrap().recv();
        connection.write_all(&greeting())?;
        connection.listen()
    });
    let other = Fake::saying(&greeting());
    let listener = Listener::tcp("main", &slow.address())
        .or(&other.address())
        .protocol("mysql")
        .line("limits = { connect_timeout = \"2s\" }");
    let (_, daemon) = start(listener);
    read_packet(&mut connect(daemon.address()).unwrap()).unwrap();
    assert_eq!(backend(&daemon.status(), 0)["healthy"], false);
    greet.send(()).unwrap();
    until("it is left by nobody", || {
        let heard = slow.heard().concat();
        heard.windows(18).any(|it| it == b"proxyd.client.left")
    });
}

#[test]
fn a_client_that_gives_up_finds_out_all_the_same_whether_its_backend_is_good() {
    for server in [servers::mariadb(), servers::mysql()].into_iter().flatten() {
        let front = Front::with(|it| it.listener(listener(&server, "require")));
        let mut socket = connect(front.daemon.address_of("require")).unwrap();
        read_packet(&mut socket).unwrap();
        drop(socket);
        front.daemon.await_status("its TLS was tried", |status| {
            backend(status, 0)["connected"] == 1
        });
    }
}

/// An open port proves little: something in between may have opened it, or the server may hang.
#[test]
fn a_backend_of_mysql_that_does_not_greet_is_passed_over() {
    let greets = Fake::saying(&greeting());
    let silent = Fake::new(Heard::listen);
    let closes = Fake::new(|_| Ok(()));
    for (first, complaint) in [
        (&silent, "connected, and nothing came within 0.3 s"),
        (&closes, "no greeting came"),
    ] {
        let listener = Listener::tcp("main", &first.address())
            .or(&greets.address())
            .protocol("mysql")
            .line("limits = { connect_timeout = \"300ms\" }");
        let (_, daemon) = start(listener);
        let (_, first) = read_packet(&mut connect(daemon.address()).unwrap()).unwrap();
        assert_eq!(first[0], 10, "the other's greeting");
        let status = daemon.status();
        assert_eq!(backend(&status, 0)["healthy"], false);
        let error = backend(&status, 0)["last_error"].as_str().unwrap();
        assert!(error.contains(complaint), "{error}");
        assert_eq!(backend(&status, 1)["healthy"], true);
    }
}

#[test]
fn a_backend_whose_tls_does_not_begin_is_passed_over_where_nobody_has_said_anything_yet() {
    let ca = Ca::new("database");
    let good = TlsFake::new(&ca.leaf("localhost"), None);
    let port = good.port();
    let stranger = TlsFake::new(&Ca::new("stranger").leaf("localhost"), None);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    replace(&file, ca.pem());
    let listener = Listener::tcp("main", &format!("localhost:{}", stranger.port()))
        .or(&format!("localhost:{port}"))
        .line(&format!(
            "backend_tls = {{ mode = \"verify-full\", ca = {file:?} }}"
        ));
    let (client, daemon) = start(listener);
    served(&client, &daemon);
    let status = daemon.status();
    assert_eq!(backend(&status, 0)["healthy"], false);
    let error = backend(&status, 0)["last_error"].as_str().unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(good.seen().len(), 1);
}

/// MySQL begins TLS with the login, for which the client has the other's greeting already.
#[test]
fn a_backend_of_mysql_whose_tls_does_not_begin_is_passed_over_by_the_next_session() {
    let first = Fake::new(|connection| {
        connection.write_all(&greeting())?;
        connection.take(mysql_ssl_request().len()).map(drop)
    });
    let other = Fake::saying(&greeting());
    let listener = Listener::tcp("main", &first.address())
        .or(&other.address())
        .protocol("mysql")
        .line("backend_tls = { mode = \"require\" }");
    let (client, daemon) = start(listener);
    let mut socket = connect(daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    let mut session = client
        .behind(&mysql_ssl_request(), usize::MAX, socket)
        .unwrap();
    session.send(&login(true, "somebody")).unwrap();
    let (_, payload) = read_packet(&mut session).unwrap();
    assert_eq!(error(&payload).0, BACKEND_DOWN);
    assert_eq!(backend(&daemon.status(), 0)["healthy"], false);
    read_packet(&mut connect(daemon.address()).unwrap()).unwrap();
    assert_eq!((first.heard().len(), other.heard().len()), (1, 1));
}

#[test]
fn a_backend_that_fails_after_it_was_reached_is_not_taken_for_down() {
    let (one, other) = (Backend::tcp(), Backend::tcp());
    one.behave(Behaviour::Close);
    let listener = Listener::tcp("main", &one.address()).or(&other.address());
    let (client, daemon) = start(listener);
    let mut session = client.connect(daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    assert_eq!(backend(&daemon.status(), 0)["healthy"], true);
    assert_eq!(other.accepted(), 0);
}
