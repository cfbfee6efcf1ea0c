//! Any service through the proxy: bytes both ways.

// Deadlines.
mod deadlines;
// Ends of sessions, and halves of them.
mod ends;
// A lot of bytes.
mod volume;

use std::io::{Read as _, Write as _};

use crate::support::{
    backend::Backend,
    client::{Client, connect},
    configuration::Listener,
    daemon::TestDaemon,
    openssl,
    pki::{Ca, replace},
};

/// Starts a daemon in front of a backend; the listener has one more line.
fn front(backend: &str, line: &str) -> (Client, TestDaemon) {
    let ca = Ca::new("authority");
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(Listener::tcp("main", backend).line(line))
        .start();
    (Client::new(&ca), daemon)
}

#[test]
fn what_is_said_over_tls_1_3_comes_back() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.connect(daemon.address()).unwrap();
    assert_eq!(session.shown().version, "TLSv1_3");
    for line in ["one", "two", "three"] {
        session.echo(line).unwrap();
    }
}

#[test]
fn what_is_said_over_tls_1_2_comes_back() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "");
    let mut session = client.tls12().connect(daemon.address()).unwrap();
    assert_eq!(session.shown().version, "TLSv1_2");
    for line in ["one", "two", "three"] {
        session.echo(line).unwrap();
    }
}

#[test]
fn tls_1_2_is_refused_where_1_3_is_the_least() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "tls = { min_version = \"1.3\" }");
    let error = client.clone().tls12().connect(daemon.address());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn plaintext_is_refused_where_tls_is_required() {
    let backend = Backend::tcp();
    let (_, daemon) = front(&backend.address(), "");
    let mut socket = connect(daemon.address()).unwrap();
    socket.write_all(b"hello\n").unwrap();
    let mut rest = Vec::new();
    // It may be reset, with the rest of the line unread.
    let _ = socket.read_to_end(&mut rest);
    assert!(!rest.windows(5).any(|it| it == b"hello"), "{rest:?}");
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn plaintext_and_tls_both_pass_where_tls_is_only_preferred() {
    let backend = Backend::tcp();
    let (client, daemon) = front(&backend.address(), "tls = { mode = \"preferred\" }");
    let mut socket = connect(daemon.address()).unwrap();
    socket.write_all(b"hello").unwrap();
    let mut echoed = [0; 5];
    socket.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"hello");
    let mut session = client.connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
}

#[test]
fn a_handshake_may_come_a_byte_at_a_time() {
    let backend = Backend::tcp();
    for line in ["", "tls = { mode = \"preferred\" }"] {
        let (client, daemon) = front(&backend.address(), line);
        let socket = connect(daemon.address()).unwrap();
        let mut session = client.behind(&[], 1, socket).unwrap();
        session.echo("hello").unwrap();
    }
}

#[test]
fn a_backend_may_be_a_unix_socket() {
    let ca = Ca::new("authority");
    let builder = TestDaemon::builder().identity("default", &ca.leaf("localhost"));
    let backend = Backend::unix(&builder.folder().join("backend.sock"));
    let listener = Listener::tcp("main", &backend.address());
    let daemon = builder.listener(listener).start();
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    session.echo("hello").unwrap();
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_listener_may_be_a_unix_socket() {
    let ca = Ca::new("authority");
    let builder = TestDaemon::builder().identity("default", &ca.leaf("localhost"));
    let path = builder.folder().join("front.sock");
    let bind = format!("unix:{}", path.display());
    let backend = builder.backend().address();
    let listener = Listener::tcp("main", &backend).bind(&bind);
    let daemon = builder
        .listener(listener.line("tls = { mode = \"preferred\" }"))
        .start();
    let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
    socket.write_all(b"hello").unwrap();
    let mut echoed = [0; 5];
    socket.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"hello");
    let file = daemon.path("ca.crt");
    replace(&file, ca.pem());
    let arguments = [
        "-brief",
        "-verify_return_error",
        "-CAfile",
        file.to_str().unwrap(),
        "-unix",
        path.to_str().unwrap(),
    ];
    let outcome = openssl::handshake(&arguments);
    assert!(outcome.stderr.contains("Verification: OK"), "{outcome:#?}");
    assert!(outcome.is_success(), "{outcome:#?}");
}

#[test]
fn listeners_lead_to_their_own_backends() {
    let ca = Ca::new("authority");
    let (one, two) = (Backend::tcp(), Backend::tcp());
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(Listener::tcp("one", &one.address()))
        .listener(Listener::tcp("two", &two.address()))
        .start();
    let client = Client::new(&ca);
    let mut session = client.connect(daemon.address_of("two")).unwrap();
    session.echo("hello").unwrap();
    assert_eq!((one.accepted(), two.accepted()), (0, 1));
}
