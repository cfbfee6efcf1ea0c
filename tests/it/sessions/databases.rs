//! Sessions of databases, and the login names of their clients.

use std::io::{Read as _, Write as _};

use super::Front;
use crate::support::{
    backend::Backend,
    client::{Client, Session, connect},
    configuration::Listener,
    fake::Fake,
    until,
    wire::{OK, SSL_REQUEST, greeting, packet, read_packet, startup},
};

/// `AuthenticationOk` and `ReadyForQuery`.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// Starts a server of MySQL that lets everybody in and then echoes.
fn mysql() -> Fake {
    Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        connection.echo()
    })
}

/// Logs in as this user, with TLS.
fn log_in(front: &Front, user: &str) -> Session {
    let mut session = front.log_in(user);
    read_packet(&mut session).unwrap();
    session
}

#[test]
fn a_session_of_mysql_has_its_user_and_ends_between_two_commands() {
    let backend = mysql();
    let front = Front::mysql(&backend);
    let mut session = log_in(&front, "app");
    let query = packet(0, b"\x03SELECT 1");
    session.send(&query).unwrap();
    session.read_exact(&mut vec![0; query.len()]).unwrap();
    let shown = front.list(&[]).pop().unwrap();
    assert_eq!(
        (&shown["user"], &shown["state"]),
        (&"app".into(), &"established".into())
    );
    front.daemon.ctl(&["end", "--listener", "main"]).answer();
    // TLS is ended in its own way, and no byte comes that is no answer.
    assert_eq!(session.rest().unwrap(), b"");
    assert_eq!(front.end("ended_by_operator")["user"], "app");
}

#[test]
fn a_session_of_postgresql_has_its_user_and_is_ended() {
    let length = startup().len();
    let backend = Fake::new(move |connection| {
        connection.take(length)?;
        connection.write_all(WELCOME)?;
        connection.echo()
    });
    let listener = Listener::tcp("main", &backend.address()).protocol("postgres");
    let front = Front::with(listener, &[], |it| it);
    let mut socket = connect(front.daemon.address()).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let mut session = Client::new(&front.ca).over(socket).unwrap();
    session.send(&startup()).unwrap();
    session.read_exact(&mut vec![0; WELCOME.len()]).unwrap();
    until("it is established", || {
        front.list(&[])[0]["state"] == "established"
    });
    assert_eq!(front.list(&[])[0]["user"], "nobody");
    front.daemon.ctl(&["end", "--listener", "main"]).answer();
    assert_eq!(session.rest().unwrap(), b"");
}

#[test]
fn a_user_s_name_cannot_steer_a_terminal_nor_look_like_another_session() {
    let backend = mysql();
    let front = Front::mysql(&backend);
    let user = "a\x1b[2J\n  1-1\u{9b}\u{202e}";
    let _session = log_in(&front, user);
    assert_eq!(front.list(&[])[0]["user"], user);
    let json = front.daemon.ctl(&["--json", "sessions"]).answer();
    let table = front.daemon.ctl(&["sessions"]).answer();
    for (text, lines) in [(&json, json.lines().count()), (&table, 3)] {
        assert_eq!(text.lines().count(), lines, "{text:?}");
        let is_odd = |it: char| (it.is_control() && it != '\n') || it == '\u{202e}';
        assert!(!text.contains(is_odd), "{text:?}");
    }
}

#[test]
fn a_backend_that_is_silent_is_shown_while_its_client_waits() {
    let silent = Backend::tcp();
    let listener = Listener::tcp("main", &silent.address()).protocol("mysql");
    let front = Front::with(listener, &[], |it| it);
    let _client = connect(front.daemon.address()).unwrap();
    until("the backend is tried", || {
        let list = front.list(&[]);
        list.first()
            .is_some_and(|it| it["backend"] == silent.address())
    });
    assert_eq!(front.list(&[])[0]["state"], "opening");
}
