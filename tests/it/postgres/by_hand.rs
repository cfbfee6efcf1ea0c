//! Clients by hand, for what the real ones do not do on demand.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use crate::support::{
    PATIENCE,
    client::{Client, Session, connect, exchange},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, Heard},
    pki::{Ca, replace},
    program::run,
    until,
    wire::{GSS_REQUEST, SSL_REQUEST, error_field, startup},
};

fn front(line: &str) -> (Ca, Fake, TestDaemon) {
    let backend = Fake::new(Heard::echo);
    let (ca, daemon) = front_at(&backend.address(), line);
    (ca, backend, daemon)
}

fn front_at(backend: &str, line: &str) -> (Ca, TestDaemon) {
    let ca = Ca::new("authority");
    let listener = Listener::tcp("main", backend)
        .protocol("postgres")
        .line(line);
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(listener)
        .start();
    (ca, daemon)
}

/// Begins TLS, and sends this inside of it.
fn send_in_tls(ca: &Ca, daemon: &TestDaemon, bytes: &[u8]) -> Session {
    let mut socket = connect(daemon.address()).unwrap();
    assert_eq!(ask(&mut socket, SSL_REQUEST), b'S');
    let mut session = Client::new(ca).over(socket).unwrap();
    session.send(bytes).unwrap();
    session
}

/// Sees that a login is refused because of what it would send in clear.
fn refused_in_clear(mut session: Session, daemon: &TestDaemon) {
    let answer = session.rest().unwrap();
    assert_eq!(error_field(&answer, b'C'), "28000");
    assert!(error_field(&answer, b'M').contains("token in clear"));
    until("the log says what to do", || {
        daemon.log().contains("allow_cleartext_password")
    });
}

/// Sends a request and returns the one byte of the answer.
fn ask(socket: &mut TcpStream, request: &[u8]) -> u8 {
    socket.write_all(request).unwrap();
    let mut reply = [0];
    socket.read_exact(&mut reply).unwrap();
    reply[0]
}

/// Sends the start of a session and reads it back.
fn start(stream: &mut (impl std::io::Read + ?Sized)) {
    let mut echoed = vec![0; startup().len()];
    stream.read_exact(&mut echoed).unwrap();
    assert_eq!(echoed, startup());
}

#[test]
fn gss_encryption_is_declined_and_tls_may_follow() {
    let (ca, _backend, daemon) = front("");
    let mut socket = connect(daemon.address()).unwrap();
    assert_eq!(ask(&mut socket, GSS_REQUEST), b'N');
    assert_eq!(ask(&mut socket, SSL_REQUEST), b'S');
    let mut session = Client::new(&ca).over(socket).unwrap();
    session.send(&startup()).unwrap();
    start(&mut session);
}

#[test]
fn a_session_may_follow_declined_gss_encryption_where_tls_is_only_preferred() {
    let (_, _backend, daemon) = front("tls = { mode = \"preferred\" }");
    let mut socket = connect(daemon.address()).unwrap();
    assert_eq!(ask(&mut socket, GSS_REQUEST), b'N');
    socket.write_all(&startup()).unwrap();
    start(&mut socket);
}

#[test]
fn gss_encryption_is_declined_once() {
    let (_, backend, daemon) = front("");
    let mut socket = connect(daemon.address()).unwrap();
    assert_eq!(ask(&mut socket, GSS_REQUEST), b'N');
    socket.write_all(GSS_REQUEST).unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert_eq!(error_field(&rest, b'C'), "08P01");
    assert!(backend.heard().is_empty());
}

#[test]
fn bytes_behind_the_request_for_tls_end_the_connection() {
    let (_, backend, daemon) = front("");
    let answer = exchange(daemon.address(), &[SSL_REQUEST, &startup()].concat()).unwrap();
    assert_eq!(error_field(&answer, b'C'), "08P01");
    assert!(backend.heard().is_empty());
}

#[test]
fn bytes_behind_the_request_for_gss_encryption_end_the_connection() {
    let (_, backend, daemon) = front("");
    let answer = exchange(daemon.address(), &[GSS_REQUEST, SSL_REQUEST].concat()).unwrap();
    assert_eq!(error_field(&answer, b'C'), "08P01");
    assert!(backend.heard().is_empty());
}

#[test]
fn a_request_for_tls_may_come_a_byte_at_a_time() {
    let (ca, _backend, daemon) = front("");
    let mut socket = connect(daemon.address()).unwrap();
    socket.set_nodelay(true).unwrap();
    let (last, first) = SSL_REQUEST.split_last().unwrap();
    for byte in first {
        socket.write_all(&[*byte]).unwrap();
    }
    assert_eq!(ask(&mut socket, &[*last]), b'S');
    let session = Client::new(&ca).behind(&[], 1, socket);
    let mut session = session.unwrap();
    session.send(&startup()).unwrap();
    start(&mut session);
}

#[test]
fn a_session_without_tls_is_refused_and_nothing_of_it_reaches_the_server() {
    let (_, backend, daemon) = front("");
    let answer = exchange(daemon.address(), &startup()).unwrap();
    assert_eq!(error_field(&answer, b'C'), "28000");
    assert!(backend.heard().is_empty());
}

#[test]
fn a_session_without_tls_passes_unchanged_where_tls_is_only_preferred() {
    let (_, backend, daemon) = front("tls = { mode = \"preferred\" }");
    let mut socket = connect(daemon.address()).unwrap();
    socket.write_all(&startup()).unwrap();
    start(&mut socket);
    assert_eq!(backend.heard(), [startup()]);
}

#[test]
fn direct_tls_without_the_name_of_the_protocol_is_refused() {
    let (ca, backend, daemon) = front("");
    let mut session = Client::new(&ca).connect(daemon.address()).unwrap();
    // It may be closed already.
    let _ = session.send(&startup());
    let rest = session.rest().unwrap();
    assert_eq!(error_field(&rest, b'C'), "08P01");
    assert!(backend.heard().is_empty());
}

#[test]
fn direct_tls_for_another_protocol_is_refused() {
    let (ca, backend, daemon) = front("");
    let file = daemon.path("ca.crt");
    replace(&file, ca.pem());
    for (alpn, is_good) in [("http/1.1", false), ("postgresql", true)] {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["s_client", "-brief", "-verify_return_error"])
            .args(["-alpn", alpn, "-servername", "localhost", "-CAfile"])
            .arg(&file)
            .args(["-connect", &daemon.address().to_string()]);
        let outcome = run(openssl, PATIENCE);
        assert_eq!(outcome.is_success(), is_good, "{outcome:#?}");
        if !is_good {
            let complaint = outcome.stderr;
            assert!(complaint.contains("no application protocol"), "{complaint}");
        }
    }
    assert!(backend.heard().iter().all(Vec::is_empty));
}

#[test]
fn encryption_is_not_asked_for_inside_tls() {
    let (ca, backend, daemon) = front("");
    for request in [SSL_REQUEST, GSS_REQUEST] {
        let mut session = send_in_tls(&ca, &daemon, request);
        let rest = session.rest().unwrap();
        assert_eq!(error_field(&rest, b'C'), "08P01");
    }
    assert!(backend.heard().is_empty());
}

#[test]
fn a_password_in_clear_is_not_asked_for_where_it_would_cross_a_network() {
    let question = b"R\0\0\0\x08\0\0\0\x03";
    let backend = Fake::new(move |connection| {
        connection.take(startup().len())?;
        connection.write_all(question)?;
        connection.echo()
    });
    let password = b"p\0\0\0\x0chunter2\0";
    for (address, line, goes) in [
        (backend.address(), "", true),
        (backend.network_address(), "", false),
        (
            backend.network_address(),
            "allow_cleartext_password = true",
            true,
        ),
    ] {
        let (ca, daemon) = front_at(&address, line);
        let mut session = send_in_tls(&ca, &daemon, &startup());
        if goes {
            let mut asked = [0; 9];
            session.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, question);
            session.send(password).unwrap();
            let mut echoed = [0; 13];
            session.read_exact(&mut echoed).unwrap();
            assert_eq!(&echoed, password);
        } else {
            refused_in_clear(session, &daemon);
        }
    }
}

/// Returns the message by which a server offers mechanisms, each of which ends in a NUL.
fn offer(mechanisms: &[u8]) -> Vec<u8> {
    let length = u32::try_from(9 + mechanisms.len()).unwrap();
    [
        b"R",
        &length.to_be_bytes()[..],
        b"\0\0\0\x0a",
        mechanisms,
        b"\0",
    ]
    .concat()
}

/// A client of `OAUTHBEARER` sends its token with its choice.
#[test]
fn a_token_in_clear_is_not_asked_for_where_it_would_cross_a_network() {
    const TOKEN: &[u8] = b"OAUTHBEARER\0";
    const BOTH: &[u8] = b"OAUTHBEARER\0SCRAM-SHA-256\0";
    for (offered, line, passed) in [
        (TOKEN, "", None),
        (BOTH, "", Some(&b"SCRAM-SHA-256\0"[..])),
        (TOKEN, "allow_cleartext_password = true", Some(TOKEN)),
    ] {
        let question = offer(offered);
        let backend = Fake::new(move |connection| {
            connection.take(startup().len())?;
            connection.write_all(&question)?;
            connection.listen()
        });
        let (ca, daemon) = front_at(&backend.network_address(), line);
        let mut session = send_in_tls(&ca, &daemon, &startup());
        if let Some(passed) = passed {
            let expected = offer(passed);
            let mut asked = vec![0; expected.len()];
            session.read_exact(&mut asked).unwrap();
            assert_eq!(asked, expected);
        } else {
            refused_in_clear(session, &daemon);
        }
    }
}

/// Keys have four bytes up to protocol 3.0, and up to 256 in protocol 3.2.
#[test]
fn a_request_to_cancel_reaches_the_server_as_it_is_whatever_its_key() {
    for length in [4, 32, 256] {
        cancel_with_key(length);
    }
}

fn cancel_with_key(length: u32) {
    let (ca, backend, daemon) = front("");
    let request = [
        &(12 + length).to_be_bytes()[..],
        &[4, 210, 22, 46, 0, 0, 0, 7],
        &vec![9; length as usize],
    ]
    .concat();
    connect(daemon.address())
        .unwrap()
        .write_all(&request)
        .unwrap();
    until("the plain one came", || backend.heard().concat() == request);
    let _session = send_in_tls(&ca, &daemon, &request);
    until("the secret one came", || {
        backend.heard() == [request.clone(), request.clone()]
    });
}

#[test]
fn a_client_that_says_nothing_is_no_failure() {
    let (_, backend, daemon) = front("");
    drop(connect(daemon.address()).unwrap());
    let status = daemon.await_status("it is counted", |status| {
        status["listeners"][0]["connections"]["total"] == 1
    });
    let connections = &status["listeners"][0]["connections"];
    assert_eq!(connections["failed_handshakes"], 0, "{connections}");
    assert!(backend.heard().is_empty());
}
