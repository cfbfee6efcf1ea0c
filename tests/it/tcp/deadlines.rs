//! Deadlines.

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use super::front;
use crate::support::{
    backend::{Backend, Mute},
    client::connect,
    until,
};

#[test]
fn a_session_in_which_nothing_moves_ends_at_its_deadline() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "limits = { idle_timeout = \"300ms\" }");
    let mut session = client.connect(daemon.address()).unwrap();
    let began = Instant::now();
    session.echo("hello").unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    assert!(began.elapsed() >= Duration::from_millis(250));
    until("the backend is rid of it", || backend.open() == 0);
    until("the log says why", || daemon.log().contains("idle timeout"));
}

#[test]
fn a_session_in_which_something_moves_outlives_the_deadline() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "limits = { idle_timeout = \"2s\" }");
    let mut session = client.connect(daemon.address()).unwrap();
    let end = Instant::now() + Duration::from_secs(3);
    until("the deadline has long passed", || {
        session.echo("still here").unwrap();
        Instant::now() >= end
    });
}

#[test]
fn a_client_that_says_nothing_is_closed_at_the_deadline_for_handshakes() {
    let backend = Backend::tcp();
    for (mode, first) in [("required", &b""[..]), ("required", &[22, 3, 1, 2, 0])] {
        let limits =
            format!("tls = {{ mode = \"{mode}\" }}\nlimits = {{ handshake_timeout = \"300ms\" }}");
        let (_, daemon) = front(&backend.address(), &limits);
        let began = Instant::now();
        let mut socket = connect(daemon.address()).unwrap();
        socket.write_all(first).unwrap();
        let mut rest = Vec::new();
        // Unread bytes make it a reset.
        let _ = socket.read_to_end(&mut rest);
        assert!(began.elapsed() >= Duration::from_millis(250));
        assert!(began.elapsed() < Duration::from_secs(20));
        daemon.await_status("it is counted", |status| {
            status["listeners"][0]["connections"]["failed_handshakes"] == 1
        });
    }
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn the_deadline_for_handshakes_does_not_end_sessions() {
    let backend = Backend::tcp();
    let limits = "limits = { handshake_timeout = \"1s\" }";
    let (client, daemon) = front(&backend.address(), limits);
    let mut session = client.connect(daemon.address()).unwrap();
    let end = Instant::now() + Duration::from_millis(1500);
    until("the deadline has long passed", || {
        session.echo("still here").unwrap();
        Instant::now() >= end
    });
}

#[test]
fn a_backend_that_does_not_answer_is_given_up_at_its_deadline() {
    let mute = Mute::new();
    let limits = "limits = { connect_timeout = \"300ms\" }";
    let (client, daemon) = front(&mute.address().to_string(), limits);
    let mut session = client.connect(daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    until("the log says why", || {
        daemon.log().contains("no answer within 0.3 s")
    });
}
