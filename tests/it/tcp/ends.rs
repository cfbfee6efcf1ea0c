//! Ends of sessions, and halves of them.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    time::Duration,
};

use socket2::SockRef;

use super::front;
use crate::support::{
    PATIENCE,
    backend::{Backend, Behaviour, Closed},
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, TlsEnd, TlsFake},
    pki::Ca,
    until,
};

/// A backend that answers once it has heard everything.
fn patient() -> Fake {
    Fake::new(|connection| {
        connection.listen()?;
        connection.write_all(b"that was all")
    })
}

#[test]
fn a_client_that_has_said_all_still_gets_the_answer() {
    for finish in [Session::close, Session::finish] {
        let backend = patient();
        let (client, daemon) = front(&backend.address(), "");
        let mut session = client.connect(daemon.address()).unwrap();
        session.send(b"question").unwrap();
        finish(&mut session).unwrap();
        assert_eq!(session.rest().unwrap(), b"that was all");
        assert_eq!(backend.heard(), [b"question".to_vec()]);
    }
}

#[test]
fn a_plaintext_client_that_has_said_all_still_gets_the_answer() {
    let backend = patient();
    let (_, daemon) = front(&backend.address(), "tls = { mode = \"preferred\" }");
    let mut socket = connect(daemon.address()).unwrap();
    socket.write_all(b"question").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"that was all");
}

#[test]
fn a_backend_that_has_said_all_still_hears_the_client() {
    let backend = Fake::new(|connection| {
        connection.write_all(b"I have spoken")?;
        connection.stream().shutdown(Shutdown::Write)?;
        connection.listen()
    });
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"I have spoken");
    for word in ["and", "yet"] {
        session.send(word.as_bytes()).unwrap();
    }
    session.finish().unwrap();
    until("the backend heard it", || {
        backend.heard().concat() == b"andyet"
    });
}

#[test]
fn the_end_is_said_in_tls_before_the_connection_ends() {
    let closing = Fake::new(|connection| connection.write_all(b"goodbye"));
    for tls12 in [false, true] {
        let (client, daemon) = front(&closing.address(), "");
        let client = if tls12 { client.tls12() } else { client };
        let mut session = client.connect(daemon.address()).unwrap();
        // An end that TLS does not announce is an error here.
        assert_eq!(session.rest().unwrap(), b"goodbye");
    }
}

#[test]
fn a_session_is_over_on_both_sides_once_both_have_ended() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    session.finish().unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    until("the backend is rid of it", || backend.open() == 0);
    daemon.await_status("the session is over", |status| {
        status["workers"][0]["connections"] == 0
    });
}

#[test]
fn a_client_that_vanishes_takes_its_session_along() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    drop(session);
    until("the backend is rid of it", || backend.open() == 0);
    daemon.await_status("the session is over", |status| {
        status["workers"][0]["connections"] == 0
    });
}

#[test]
fn a_backend_that_resets_at_once_ends_the_session() {
    let backend = Backend::tcp();
    backend.behave(Behaviour::Reset);
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    session.read_timeout(PATIENCE);
    // What it gets by then, and how it ends, depends on who was faster.
    let mut space = [0; 16];
    assert!(!session.read(&mut space).is_ok_and(|read| read > 0));
    daemon.await_status("the session is over", |status| {
        status["workers"][0]["connections"] == 0
    });
    backend.behave(Behaviour::Echo);
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
}

#[test]
fn a_backend_that_is_absent_ends_the_session_until_it_is_there() {
    let closed = Closed::new();
    let (client, daemon) = front(&closed.address().to_string(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    until("the log says why", || daemon.log().contains("refused"));
    let _backend = closed.open();
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
}

#[test]
fn rubbish_behind_the_end_hurts_nobody() {
    let backend = Fake::new(|connection| {
        connection.stream().shutdown(Shutdown::Write)?;
        connection.listen()
    });
    let (client, daemon) = front(&backend.address(), "");
    let workers = daemon.workers();
    let mut session = client.connect(daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    // A record that nobody can decrypt.
    let record = [&[23, 3, 3, 0, 64][..], &[7; 64]].concat();
    session.parts().1.write_all(&record).unwrap();
    daemon.await_status("the session is over", |status| {
        status["workers"][0]["connections"] == 0
    });
    assert_eq!(daemon.workers(), workers);
}

#[test]
fn a_backend_that_is_gone_in_mid_session_leaves_the_client_with_a_proper_end() {
    let backend = Fake::new(|connection| {
        connection.write_all(b"half an ans")?;
        connection.take(b"read".len())?;
        // A socket that is closed without lingering is reset.
        SockRef::from(connection.stream()).set_linger(Some(Duration::ZERO))
    });
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    let mut space = [0; 11];
    session.read_exact(&mut space).unwrap();
    session.send(b"read").unwrap();
    // An end that TLS does not announce is an error here.
    assert_eq!(session.rest().unwrap(), b"");
    daemon.await_status("the session is over", |status| {
        status["workers"][0]["connections"] == 0
    });
}

/// Waits until a backend with TLS is told so of the end of a session.
fn assert_told(limits: &str, end: TlsEnd, act: impl FnOnce(Session)) {
    let ca = Ca::new("authority");
    let backend = TlsFake::new(&ca.leaf("127.0.0.1"), None);
    let listener = Listener::tcp("main", &backend.address())
        .line("backend_tls = { mode = \"require\" }")
        .line(limits);
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(listener)
        .start();
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    act(session);
    until("the backend is told", || !backend.ends().is_empty());
    assert_eq!(backend.ends(), [end]);
}

#[test]
fn a_session_in_which_nothing_moves_ends_properly_for_both_sides() {
    let limits = "limits = { idle_timeout = \"300ms\" }";
    assert_told(limits, TlsEnd::Told, |mut session| {
        // An end that TLS does not announce is an error here.
        assert_eq!(session.rest().unwrap(), b"");
    });
}

#[test]
fn a_client_that_is_reset_is_a_cut_for_the_backend() {
    assert_told("", TlsEnd::Cut, |mut session| {
        let (_, socket) = session.parts();
        let linger = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
        linger.unwrap();
    });
}

#[test]
fn what_a_client_says_that_nobody_can_decrypt_is_a_cut_for_the_backend() {
    assert_told("", TlsEnd::Cut, |mut session| {
        // A record that was not sealed with the key of the session.
        let record = [&[23, 3, 3, 0, 64][..], &[7; 64]].concat();
        session.parts().1.write_all(&record).unwrap();
        assert!(session.rest().is_err());
    });
}

#[test]
fn a_client_that_is_reset_in_mid_session_takes_its_session_along() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    let (_, socket) = session.parts();
    SockRef::from(&*socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(session);
    until("the backend is rid of it", || backend.open() == 0);
}
