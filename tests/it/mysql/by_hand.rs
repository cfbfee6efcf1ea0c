//! Clients and servers by hand, for what the real ones do not do on demand.

use std::io::{Read as _, Write as _};

use crate::support::{
    client::{Client, Session, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::Fake,
    pki::Ca,
    until,
    wire::{BACKEND_DOWN, OK, error, greeting, login, mysql_ssl_request, packet, read_packet},
};

/// Starts a server that greets, lets everybody in, and then echoes.
fn server() -> Fake {
    Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        connection.echo()
    })
}

pub(super) fn front(backend: &Fake, line: &str) -> (Ca, TestDaemon) {
    front_at(&backend.address(), line)
}

fn front_at(backend: &str, line: &str) -> (Ca, TestDaemon) {
    let ca = Ca::new("authority");
    let listener = Listener::tcp("main", backend).protocol("mysql").line(line);
    let daemon = TestDaemon::builder()
        .identity("default", &ca.leaf("localhost"))
        .listener(listener)
        .start();
    (ca, daemon)
}

const REQUIRED: &str = "tls = { mode = \"required\" }";

/// Logs in once TLS is there, and sees that bytes pass.
fn converse(mut session: Session) {
    session.send(&login(true, "somebody")).unwrap();
    let (seq, payload) = read_packet(&mut session).unwrap();
    assert_eq!((seq, &payload[..]), (3, OK));
    session.send(&packet(0, b"\x03SELECT 1")).unwrap();
    assert_eq!(
        read_packet(&mut session).unwrap(),
        (0, b"\x03SELECT 1".to_vec())
    );
}

/// Connects, and sends the request for TLS and its beginning in segments of this length.
fn converse_in_segments(segment: usize) {
    let backend = server();
    let (ca, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    let (seq, greeted) = read_packet(&mut socket).unwrap();
    assert_eq!((seq, greeted[0]), (0, 10));
    let session = Client::new(&ca).behind(&mysql_ssl_request(), segment, socket);
    converse(session.unwrap());
    // The login came as if there had been no TLS: numbered anew, and without asking for it.
    let heard = backend.heard().concat();
    let expected = [login(false, "somebody"), packet(0, b"\x03SELECT 1")].concat();
    assert_eq!(heard, expected);
}

#[test]
fn tls_may_begin_in_the_segment_of_the_request_for_it() {
    converse_in_segments(usize::MAX);
}

#[test]
fn tls_may_begin_a_byte_at_a_time() {
    converse_in_segments(1);
}

#[test]
fn tls_may_begin_after_a_pause() {
    let backend = server();
    let (ca, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    socket.write_all(&mysql_ssl_request()).unwrap();
    // It takes as long as the session of somebody else.
    let mut other = connect(daemon.address()).unwrap();
    read_packet(&mut other).unwrap();
    let client = Client::new(&ca);
    converse(
        client
            .behind(&mysql_ssl_request(), usize::MAX, other)
            .unwrap(),
    );
    converse(client.behind(&[], usize::MAX, socket).unwrap());
}

#[test]
fn tls_is_not_asked_for_inside_tls() {
    let backend = server();
    let (ca, daemon) = front(&backend, REQUIRED);
    let mut session = begin(&ca, &daemon);
    let mut again = mysql_ssl_request();
    again[3] = 2;
    session.send(&again).unwrap();
    let (seq, payload) = read_packet(&mut session).unwrap();
    assert_eq!((seq, error(&payload).0), (3, 1043));
    assert_left(&backend);
}

/// Waits until the server has heard the login and the goodbye by which the proxy leaves one that waits
/// for a login; nothing else may have reached it.
#[track_caller]
fn assert_left(backend: &Fake) {
    let user = b"proxyd.client.left\0\0mysql_native_password\0";
    let fixed = [&[0, 0x82, 8, 0, 0, 0, 0, 1, 33][..], &[0; 23]].concat();
    let login = packet(1, &[&fixed[..], user].concat());
    let goodbye = [login, packet(0, b"\x01")].concat();
    until("the server is left, and heard nothing else", || {
        let heard = backend.heard().concat();
        assert!(goodbye.starts_with(&heard), "{heard:?}");
        heard == goodbye
    });
}

#[test]
fn tls_may_begin_before_the_greeting_was_read() {
    let backend = server();
    let (ca, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    let mut first = mysql_ssl_request();
    let (head, rest) = first.split_at_mut(5);
    socket.write_all(head).unwrap();
    read_packet(&mut socket).unwrap();
    let session = Client::new(&ca).behind(rest, usize::MAX, socket);
    converse(session.unwrap());
}

#[test]
fn the_greeting_offers_tls_and_is_otherwise_the_server_s() {
    let backend = server();
    let (_, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    let (_, shown) = read_packet(&mut socket).unwrap();
    let original = &greeting()[4..];
    let changed: Vec<_> = (0..original.len())
        .filter(|at| original[*at] != shown[*at])
        .collect();
    assert_eq!(shown.len(), original.len());
    assert_eq!(changed.len(), 1);
    assert_eq!(original[changed[0]] | 0x08, shown[changed[0]]);
}

#[test]
fn nothing_of_a_login_without_tls_reaches_the_server() {
    let backend = server();
    let (_, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    socket.write_all(&login(false, "somebody")).unwrap();
    let (seq, payload) = read_packet(&mut socket).unwrap();
    assert_eq!((seq, error(&payload).0), (2, 3159));
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_left(&backend);
}

#[test]
fn nothing_behind_a_login_without_tls_reaches_the_server_either() {
    let backend = server();
    let (_, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    let more = [login(false, "somebody"), packet(0, b"\x03DROP TABLE t")].concat();
    socket.write_all(&more).unwrap();
    let (_, payload) = read_packet(&mut socket).unwrap();
    assert_eq!(error(&payload).0, 3159);
    assert_left(&backend);
}

#[test]
fn a_login_without_tls_passes_unchanged_where_tls_is_only_preferred() {
    let backend = server();
    let (_, daemon) = front(&backend, "tls = { mode = \"preferred\" }");
    let mut socket = connect(daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    socket.write_all(&login(false, "somebody")).unwrap();
    let (seq, payload) = read_packet(&mut socket).unwrap();
    assert_eq!((seq, &payload[..]), (2, OK));
    until("the server has the login", || {
        backend.heard().concat() == login(false, "somebody")
    });
}

/// Starts a session in TLS up to the login.
pub(super) fn begin(ca: &Ca, daemon: &TestDaemon) -> Session {
    let mut socket = connect(daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    let client = Client::new(ca);
    client
        .behind(&mysql_ssl_request(), usize::MAX, socket)
        .unwrap()
}

#[test]
fn a_login_that_is_out_of_order_is_told_so_and_ends_properly() {
    let backend = server();
    let (ca, daemon) = front(&backend, REQUIRED);
    let mut session = begin(&ca, &daemon);
    let mut wrong = login(true, "somebody");
    wrong[3] = 7;
    session.send(&wrong).unwrap();
    let (seq, payload) = read_packet(&mut session).unwrap();
    assert_eq!((seq, error(&payload).0), (8, 1156));
    // An end that TLS does not announce is an error here.
    assert_eq!(session.rest().unwrap(), b"");
    assert_left(&backend);
}

#[test]
fn an_answer_that_is_out_of_order_or_too_long_is_told_so_and_ends_properly() {
    let switch = b"\xfemysql_native_password\0scramble\0";
    let backend = Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, switch))?;
        connection.listen()
    });
    for (answer, told) in [
        (&packet(9, b"proof")[..], (10, 1156)),
        (&[255, 255, 255, 4], (5, 1153)),
    ] {
        let (ca, daemon) = front(&backend, REQUIRED);
        let mut session = begin(&ca, &daemon);
        session.send(&login(true, "somebody")).unwrap();
        assert_eq!(read_packet(&mut session).unwrap(), (3, switch.to_vec()));
        session.send(answer).unwrap();
        let (seq, payload) = read_packet(&mut session).unwrap();
        assert_eq!((seq, error(&payload).0), told);
        assert_eq!(session.rest().unwrap(), b"");
    }
}

#[test]
fn what_a_client_sends_behind_its_login_is_passed_on_after_it() {
    let backend = server();
    let (ca, daemon) = front(&backend, REQUIRED);
    let mut session = begin(&ca, &daemon);
    let query = packet(0, b"\x03SELECT 1");
    session
        .send(&[&login(true, "somebody")[..], &query].concat())
        .unwrap();
    assert_eq!(read_packet(&mut session).unwrap(), (3, OK.to_vec()));
    assert_eq!(
        read_packet(&mut session).unwrap(),
        (0, query[4..].to_vec()),
        "it is echoed"
    );
}

#[test]
fn a_change_of_user_that_cannot_be_read_is_an_unknown_command() {
    let backend = server();
    let (ca, daemon) = front(&backend, REQUIRED);
    for (command, code) in [
        (&packet(0, b"\x11me")[..], 1047),
        (&[0, 0, 3, 0, 0x11], 1153),
    ] {
        let mut session = begin(&ca, &daemon);
        session.send(&login(true, "somebody")).unwrap();
        read_packet(&mut session).unwrap();
        session.send(command).unwrap();
        let (seq, payload) = read_packet(&mut session).unwrap();
        assert_eq!((seq, error(&payload).0), (1, code));
        assert_eq!(session.rest().unwrap(), b"");
    }
}

#[test]
fn a_first_packet_that_is_no_login_is_refused() {
    let backend = server();
    let (_, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    read_packet(&mut socket).unwrap();
    socket.write_all(&packet(1, b"what?")).unwrap();
    let (_, payload) = read_packet(&mut socket).unwrap();
    assert_eq!(error(&payload).0, 1043);
    assert_left(&backend);
}

#[test]
fn an_error_in_the_place_of_the_greeting_reaches_the_client_as_it_is() {
    let words = packet(0, b"\xff\x10\x04Too many connections");
    let backend = Fake::saying(&words);
    let (_, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, words);
    until("the failure is logged", || {
        daemon.log().contains("Too many connections")
    });
}

/// Starts a server that asks everybody for the password in clear, and lets it in.
fn server_that_wants_the_password() -> Fake {
    Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, b"\xfemysql_clear_password\0"))?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        connection.echo()
    })
}

#[test]
fn a_password_in_clear_is_not_asked_for_where_it_would_cross_a_network() {
    let backend = server_that_wants_the_password();
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
        let mut session = begin(&ca, &daemon);
        session.send(&login(true, "somebody")).unwrap();
        let (seq, payload) = read_packet(&mut session).unwrap();
        if goes {
            assert_eq!((seq, &payload[..]), (3, &b"\xfemysql_clear_password\0"[..]));
            session.send(&packet(4, b"hunter2\0")).unwrap();
            assert_eq!(read_packet(&mut session).unwrap(), (5, OK.to_vec()));
        } else {
            assert_eq!((seq, error(&payload).0), (3, 1251));
            until("the log says what to do", || {
                daemon.log().contains("allow_cleartext_password")
            });
        }
        let secret = |it: &Vec<u8>| it.windows(7).any(|it| it == b"hunter2");
        assert_eq!(
            backend.heard().last().is_some_and(secret),
            goes,
            "{address} {line}"
        );
    }
}

#[test]
fn a_backend_that_is_no_database_is_called_down() {
    let backend = Fake::saying(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let (_, daemon) = front(&backend, REQUIRED);
    let mut socket = connect(daemon.address()).unwrap();
    let (seq, payload) = read_packet(&mut socket).unwrap();
    assert_eq!((seq, error(&payload).0), (0, BACKEND_DOWN));
}
