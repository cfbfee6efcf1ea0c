//! Deadlines of the opening, phase by phase: what the client is told, and what the log.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::support::{
    client::{Client, connect},
    configuration::Listener,
    daemon::TestDaemon,
    fake::{Fake, Heard},
    pki::Ca,
    until,
    wire::{
        BACKEND_DOWN, CLIENT_TOO_SLOW, SSL_REQUEST, error, error_field, greeting, login,
        mysql_ssl_request, packet, read_packet, startup,
    },
};

/// A deadline that is short, and not so short that a busy machine misses it by itself.
const LIMITS: &str = "limits = { handshake_timeout = \"500ms\" }";

struct Scene {
    client: Client,
    daemon: TestDaemon,
}

impl Scene {
    fn new(protocol: &str, backend: &Fake, lines: &[&str]) -> Self {
        let ca = Ca::new("authority");
        let listener = Listener::tcp("main", &backend.address())
            .protocol(protocol)
            .line(LIMITS);
        let listener = lines.iter().fold(listener, |it, line| it.line(line));
        let daemon = TestDaemon::builder()
            .identity("default", &ca.leaf("localhost"))
            .listener(listener)
            .start();
        Self {
            client: Client::new(&ca),
            daemon,
        }
    }

    fn connect(&self) -> TcpStream {
        connect(self.daemon.address()).unwrap()
    }

    /// Waits until the log says what was waited for, and the status whose fault that was.
    #[track_caller]
    fn blames(&self, whose: &str, what: &str) {
        let words = format!("the handshake timeout of 0.5 s passed while waiting for {what}");
        until("the log says what was waited for", || {
            self.daemon.log().contains(&words)
        });
        self.daemon.await_status("it is counted", |status| {
            status["listeners"][0]["connections"][whose] == 1
        });
    }
}

/// A backend that takes connections and says nothing.
fn silent() -> Fake {
    Fake::new(Heard::listen)
}

fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    rest
}

#[test]
fn a_balancer_without_a_header_is_not_waited_for() {
    let backend = silent();
    let scene = Scene::new("tcp", &backend, &["proxy_protocol = { accept = true }"]);
    assert_eq!(rest(scene.connect()), b"");
    scene.blames("failed_handshakes", "a PROXY header");
    assert!(backend.heard().is_empty());
}

#[test]
fn a_client_that_does_not_begin_tls_is_not_waited_for() {
    let backend = silent();
    let scene = Scene::new("tcp", &backend, &[]);
    assert_eq!(rest(scene.connect()), b"");
    scene.blames("failed_handshakes", "the client's TLS handshake");

    let scene = Scene::new("mysql", &Fake::saying(&greeting()), &[]);
    let mut socket = scene.connect();
    read_packet(&mut socket).unwrap();
    socket.write_all(&mysql_ssl_request()).unwrap();
    assert_eq!(rest(socket), b"");
    scene.blames("failed_handshakes", "the client's TLS handshake");
}

#[test]
fn a_client_that_asks_for_nothing_is_not_waited_for() {
    let scene = Scene::new("postgres", &silent(), &[]);
    assert_eq!(rest(scene.connect()), b"");
    scene.blames("failed_handshakes", "the client's request");
}

#[test]
fn a_client_that_does_not_bring_its_start_up_message_to_an_end_is_not_waited_for() {
    let preferred = "tls = { mode = \"preferred\" }";
    let scene = Scene::new("postgres", &silent(), &[preferred]);
    let mut socket = scene.connect();
    socket.write_all(&startup()[..9]).unwrap();
    assert_eq!(error_field(&rest(socket), b'C'), "57014");
    scene.blames("failed_handshakes", "the client's request");
}

#[test]
fn a_client_in_tls_that_goes_on_no_further_hears_the_end_of_it() {
    let scene = Scene::new("postgres", &silent(), &[]);
    let mut socket = scene.connect();
    socket.write_all(SSL_REQUEST).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let mut session = scene.client.over(socket).unwrap();
    // An end that TLS does not announce is an error here.
    assert_eq!(session.rest().unwrap(), b"");
    scene.blames("failed_handshakes", "the client's request");

    let scene = Scene::new("mysql", &Fake::saying(&greeting()), &[]);
    let mut socket = scene.connect();
    read_packet(&mut socket).unwrap();
    let request = mysql_ssl_request();
    let mut session = scene.client.behind(&request, usize::MAX, socket).unwrap();
    let (seq, payload) = read_packet(&mut session).unwrap();
    assert_eq!((seq, error(&payload).0), (2, CLIENT_TOO_SLOW));
    assert_eq!(session.rest().unwrap(), b"");
    scene.blames("failed_handshakes", "the client's login");
}

#[test]
fn a_mysql_server_that_does_not_greet_is_told_of_as_down() {
    let scene = Scene::new("mysql", &silent(), &[]);
    let (_, error) = read_packet(&mut scene.connect()).unwrap();
    assert_eq!(error[0], 0xff);
    assert_eq!(u16::from_le_bytes([error[1], error[2]]), BACKEND_DOWN);
    scene.blames("failed_backends", "its greeting");
}

#[test]
fn a_server_that_does_not_decide_a_login_is_not_waited_for() {
    let scene = Scene::new("mysql", &Fake::saying(&greeting()), &[]);
    let mut socket = scene.connect();
    read_packet(&mut socket).unwrap();
    let request = mysql_ssl_request();
    let mut session = scene.client.behind(&request, usize::MAX, socket).unwrap();
    session.send(&login(true, "somebody")).unwrap();
    let (seq, payload) = read_packet(&mut session).unwrap();
    let (code, message) = error(&payload);
    assert_eq!((seq, code), (3, BACKEND_DOWN));
    assert!(
        message.contains("has not decided this login in time"),
        "{message}"
    );
    assert_eq!(session.rest().unwrap(), b"");
    scene.blames("failed_backends", "the login to be decided");
}

#[test]
fn a_client_that_does_not_answer_the_server_is_told_so_in_the_server_s_words() {
    let backend = Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, b"\xfemysql_native_password\0scramble\0"))?;
        connection.listen()
    });
    let scene = Scene::new("mysql", &backend, &[]);
    let mut socket = scene.connect();
    read_packet(&mut socket).unwrap();
    let request = mysql_ssl_request();
    let mut session = scene.client.behind(&request, usize::MAX, socket).unwrap();
    session.send(&login(true, "somebody")).unwrap();
    assert_eq!(read_packet(&mut session).unwrap().0, 3);
    let (seq, payload) = read_packet(&mut session).unwrap();
    assert_eq!((seq, error(&payload).0), (4, CLIENT_TOO_SLOW));
    assert_eq!(session.rest().unwrap(), b"");
    scene.blames("failed_handshakes", "the login to be decided");
}

#[test]
fn a_login_of_postgresql_that_somebody_does_not_go_on_with_is_not_waited_for() {
    let question = b"R\0\0\0\x0c\0\0\0\x05salt";
    // The end of SASL, behind which the server says whether it lets the client in.
    let proof = b"R\0\0\0\x0c\0\0\0\x0cv=ok";
    for (says, whose, sqlstate, awaited) in [
        (
            &question[..],
            "failed_handshakes",
            "57014",
            "the login to be decided",
        ),
        (proof, "failed_backends", "57P03", "the login to be decided"),
        (
            b"",
            "failed_backends",
            "57P03",
            "its answer to the start-up message",
        ),
    ] {
        let backend = Fake::new(move |connection| {
            connection.take(startup().len())?;
            connection.write_all(says)?;
            connection.listen()
        });
        let scene = Scene::new("postgres", &backend, &[]);
        let mut socket = scene.connect();
        socket.write_all(SSL_REQUEST).unwrap();
        socket.read_exact(&mut [0]).unwrap();
        let mut session = scene.client.over(socket).unwrap();
        session.send(&startup()).unwrap();
        let rest = session.rest().unwrap();
        let error = rest.strip_prefix(says).unwrap();
        assert_eq!(error_field(error, b'C'), sqlstate);
        scene.blames(whose, awaited);
    }
}

#[test]
fn a_server_that_does_not_begin_tls_is_told_of_as_down() {
    let tls = "backend_tls = { mode = \"require\" }";
    let silent_in_tls = || {
        Fake::new(|connection| {
            connection.take(SSL_REQUEST.len())?;
            connection.write_all(b"S")?;
            connection.listen()
        })
    };
    for backend in [silent(), silent_in_tls()] {
        let scene = Scene::new("postgres", &backend, &[tls]);
        let mut socket = scene.connect();
        socket.write_all(SSL_REQUEST).unwrap();
        socket.read_exact(&mut [0]).unwrap();
        let mut session = scene.client.over(socket).unwrap();
        session.send(&startup()).unwrap();
        assert_eq!(error_field(&session.rest().unwrap(), b'C'), "57P03");
        scene.blames("failed_backends", "its TLS handshake");
    }
    let scene = Scene::new("tcp", &silent(), &[tls]);
    let mut session = scene.client.connect(scene.daemon.address()).unwrap();
    assert_eq!(session.rest().unwrap(), b"");
    scene.blames("failed_backends", "its TLS handshake");
}
