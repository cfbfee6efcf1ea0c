//! What goes wrong, and what the client is told.

use crate::support::{
    backend::{Backend, Behaviour, Closed},
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::Fake,
    front::{Front, listener},
    pki::{Ca, replace},
    servers::postgres,
    until,
    wire::{SSL_REQUEST, error_field, startup},
};
use std::io::{Read as _, Write as _};

/// Starts a session in TLS and returns all that is answered.
fn answer(line: &str, backend: &str) -> (Vec<u8>, TestDaemon) {
    let (mut session, daemon) = session(line, backend);
    session.send(&startup()).unwrap();
    (session.rest().unwrap(), daemon)
}

/// Begins TLS with a daemon in front of a backend.
fn session(line: &str, backend: &str) -> (Session, TestDaemon) {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(
            Listener::tcp("main", backend)
                .protocol("postgres")
                .line(line),
        )
        .start();
    let mut socket = connect(daemon.address()).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    let mut reply = [0];
    socket.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"S");
    (Client::new(&ca).over(socket).unwrap(), daemon)
}

#[test]
fn a_server_that_is_down_is_reported_as_such() {
    let (answer, daemon) = answer("", &Closed::new().address().to_string());
    assert_eq!(error_field(&answer, b'C'), "57P03");
    assert_eq!(error_field(&answer, b'S'), "FATAL");
    until("the log says why", || daemon.log().contains("refused"));
}

#[test]
fn psql_shows_that_the_server_is_down() {
    let Some(server) = postgres() else { return };
    let closed = Closed::new();
    let front = Front::with(|it| {
        let listener = Listener::tcp("main", &closed.address().to_string());
        it.listener(listener.protocol("postgres"))
    });
    let complaint = front.client(&server, "main").run("SELECT 1").complaint();
    assert!(
        complaint.contains("proxyd cannot reach the database"),
        "{complaint}"
    );
}

#[test]
fn a_server_whose_certificate_is_not_trusted_is_not_given_the_login() {
    let Some(server) = postgres() else { return };
    let front = Front::with(|it| {
        let file = it.folder().join("stranger.crt");
        replace(&file, Ca::new("stranger").pem());
        let file = file.display();
        let tls = format!("backend_tls = {{ mode = \"verify-full\", ca = \"{file}\" }}");
        it.listener(listener(&server, "plain").line(&tls))
    });
    let complaint = front.client(&server, "plain").run("SELECT 1").complaint();
    assert!(
        complaint.contains("proxyd cannot reach the database"),
        "{complaint}"
    );
    until("the log names the cause", || {
        front.daemon.log().contains("UnknownIssuer")
    });
}

#[test]
fn a_server_without_tls_is_not_given_the_login_where_that_is_required() {
    let backend = Fake::new(|connection| {
        connection.take(SSL_REQUEST.len())?;
        connection.write_all(b"N")?;
        connection.listen()
    });
    let tls = "backend_tls = { mode = \"require\" }";
    let (answer, daemon) = answer(tls, &backend.address());
    assert_eq!(error_field(&answer, b'C'), "57P03");
    until("the log says why", || daemon.log().contains("ssl = on"));
    assert_eq!(backend.heard(), [SSL_REQUEST.to_vec()]);
}

#[test]
fn what_a_server_says_before_tls_is_not_passed_on() {
    let backend = Fake::new(|connection| {
        connection.take(SSL_REQUEST.len())?;
        connection.write_all(b"E\0\0\0\x10CXX000\0Mlies\0\0")?;
        connection.listen()
    });
    let tls = "backend_tls = { mode = \"require\" }";
    let (answer, _) = answer(tls, &backend.address());
    assert_eq!(error_field(&answer, b'C'), "57P03");
    assert!(!answer.windows(4).any(|it| it == b"lies"));
}

#[test]
fn bytes_behind_the_server_s_consent_to_tls_end_the_session() {
    let backend = Fake::new(|connection| {
        connection.take(SSL_REQUEST.len())?;
        connection.write_all(b"SR\0\0\0\x08\0\0\0\0")?;
        connection.listen()
    });
    let tls = "backend_tls = { mode = \"require\" }";
    let (answer, _) = answer(tls, &backend.address());
    assert_eq!(error_field(&answer, b'C'), "57P03");
    assert_eq!(backend.heard(), [SSL_REQUEST.to_vec()]);
}

#[test]
fn a_server_that_closes_at_once_is_reported_as_down() {
    let backend = Backend::tcp();
    backend.behave(Behaviour::Close);
    let (answer, daemon) = answer("", &backend.address());
    assert_eq!(error_field(&answer, b'C'), "57P03");
    until("the log says so", || {
        let log = daemon.log();
        log.contains("no answer to the start-up message came")
    });
}

#[test]
fn a_server_that_closes_in_the_middle_of_the_start_up_message_is_named_once() {
    let backend = Fake::new(|connection| connection.take(9).map(drop));
    let (mut session, daemon) = session("", &backend.address());
    let message = startup();
    let (first, rest) = message.split_at(9);
    session.send(first).unwrap();
    until("the backend has it", || backend.heard() == [first]);
    session.send(rest).unwrap();
    let answer = session.rest().unwrap();
    assert_eq!(error_field(&answer, b'C'), "57P03");
    let status = daemon.await_status("the failure is noted", |status| {
        status["listeners"][0]["backends"][0]["last_error"].is_string()
    });
    let backends = &status["listeners"][0]["backends"];
    let error = backends[0]["last_error"].as_str().unwrap();
    assert!(!error.contains(&backend.address()), "{error}");
}

#[test]
fn what_is_no_server_of_postgresql_is_left_alone() {
    let backend = Fake::new(|connection| {
        connection.take(startup().len())?;
        connection.write_all(b"hello")
    });
    let (answer, _) = answer("", &backend.address());
    assert_eq!(answer, b"hello");
}

#[test]
fn what_a_server_that_is_full_says_reaches_the_client_as_it_is() {
    const FULL: &[u8] = b"E\0\0\0\x2eSFATAL\0C53300\0Msorry, too many clients\0\0";
    let backend = Fake::new(|connection| {
        connection.take(startup().len())?;
        connection.write_all(FULL)
    });
    let (answer, daemon) = answer("", &backend.address());
    assert_eq!(answer, FULL);
    let status = daemon.status();
    assert_eq!(status["listeners"][0]["backends"][0]["healthy"], true);
}
