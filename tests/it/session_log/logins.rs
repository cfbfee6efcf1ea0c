//! The users of logins, as far as the protocol names them.

use std::io::{Read as _, Write as _};

use super::Front;
use crate::support::{
    client::{Client, Session, connect},
    configuration::Listener,
    fake::Fake,
    until,
    wire::{OK, SSL_REQUEST, greeting, packet, read_packet, startup},
};

const DENIED: &[u8] = b"\xff\x15\x04#28000no";

/// Starts a server of MySQL that answers the login, and then each command, with the next verdict, and
/// echoes behind them.
fn mysql(verdicts: &'static [&'static [u8]]) -> Fake {
    Fake::new(move |connection| {
        connection.write_all(&greeting())?;
        for verdict in verdicts {
            let (seq, _) = read_packet(connection)?;
            connection.write_all(&packet(seq + 1, verdict))?;
        }
        connection.echo()
    })
}

/// Sends a change of user; returns the first byte of the answer.
fn change(session: &mut Session, user: &str) -> u8 {
    let command = [
        b"\x11",
        user.as_bytes(),
        b"\0\0test\0\x21\0mysql_native_password\0",
    ];
    session.send(&packet(0, &command.concat())).unwrap();
    read_packet(session).unwrap().1[0]
}

#[test]
fn a_user_of_mysql_is_the_one_of_the_login() {
    let backend = mysql(&[OK]);
    let front = Front::mysql(&backend);
    let mut session = front.log_in("app");
    read_packet(&mut session).unwrap();
    let query = packet(0, b"\x03SELECT 1");
    session.send(&query).unwrap();
    session.read_exact(&mut vec![0; query.len()]).unwrap();
    session.finish().unwrap();
    let end = front.end("client_closed");
    assert_eq!(end["user"], "app");
    assert_eq!(end["bytes_up"], query.len(), "the login is none of them");
    assert_eq!(end["bytes_down"], query.len());
}

#[test]
fn a_user_of_mysql_changes_when_the_database_agrees() {
    let backend = mysql(&[OK, DENIED, OK]);
    let front = Front::mysql(&backend);
    let mut session = front.log_in("first");
    read_packet(&mut session).unwrap();
    assert_eq!(change(&mut session, "second"), 0xff);
    assert_eq!(change(&mut session, "third"), 0);
    session.finish().unwrap();
    assert_eq!(front.end("client_closed")["user"], "third");
}

#[test]
fn a_change_of_user_that_is_denied_changes_none() {
    let backend = mysql(&[OK, DENIED]);
    let front = Front::mysql(&backend);
    let mut session = front.log_in("first");
    read_packet(&mut session).unwrap();
    assert_eq!(change(&mut session, "second"), 0xff);
    session.finish().unwrap();
    assert_eq!(front.end("client_closed")["user"], "first");
}

#[test]
fn a_change_of_user_that_breaks_the_protocol_ends_the_session_for_that() {
    let backend = mysql(&[OK, OK, OK]);
    let front = Front::mysql(&backend);
    let mut session = front.log_in("first");
    read_packet(&mut session).unwrap();
    let query = packet(0, b"\x03SELECT 1");
    let change = packet(0, b"\x11second\0\0test\0\x21\0mysql_native_password\0");
    session.send(&[query, change].concat()).unwrap();
    session.rest().unwrap();
    let end = front.end("change_user_failed");
    assert_eq!(
        (&end["user"], &end["level"]),
        (&"first".into(), &"INFO".into())
    );
}

#[test]
fn a_login_that_the_database_refuses_names_its_user() {
    let backend = mysql(&[DENIED]);
    let front = Front::mysql(&backend);
    let mut session = front.log_in("mallory");
    session.rest().unwrap();
    assert_eq!(front.end("login_denied")["user"], "mallory");
}

#[test]
fn a_user_s_name_cannot_forge_a_line_nor_make_it_long() {
    let backend = mysql(&[OK]);
    let front = Front::mysql(&backend);
    let name = format!("a\n{{\"reason\":\"drained\"}}\x1b[31m{}", "x".repeat(500));
    let mut session = front.log_in(&name);
    read_packet(&mut session).unwrap();
    session.finish().unwrap();
    let user: String = name.chars().take(64).collect();
    assert_eq!(front.end("client_closed")["user"], user);
    assert!(!front.daemon.log().contains('\x1b'));
}

/// Starts a server of PostgreSQL that answers a start-up message of this length and then echoes.
fn postgres(length: usize, answer: &'static [u8]) -> Fake {
    Fake::new(move |connection| {
        connection.take(length)?;
        connection.write_all(answer)?;
        connection.echo()
    })
}

/// `AuthenticationOk` and `ReadyForQuery`.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

fn postgres_session(backend: &Fake) -> (Front, Session) {
    let listener = Listener::tcp("main", &backend.address()).protocol("postgres");
    let front = Front::with(listener, &[], |it| it);
    let mut socket = connect(front.daemon.address()).unwrap();
    socket.write_all(SSL_REQUEST).unwrap();
    socket.read_exact(&mut [0]).unwrap();
    let session = Client::new(&front.ca).over(socket).unwrap();
    (front, session)
}

#[test]
fn a_user_of_postgresql_is_the_one_of_the_start_up_message() {
    let backend = postgres(startup().len(), WELCOME);
    let (front, mut session) = postgres_session(&backend);
    session.send(&startup()).unwrap();
    session.read_exact(&mut vec![0; WELCOME.len()]).unwrap();
    session.send(b"X\0\0\0\x04").unwrap();
    session.read_exact(&mut [0; 5]).unwrap();
    session.finish().unwrap();
    let end = front.end("client_closed");
    assert_eq!(
        (&end["user"], &end["bytes_up"]),
        (&"nobody".into(), &5.into())
    );
}

#[test]
fn a_user_of_postgresql_is_known_though_the_message_comes_in_pieces() {
    let backend = postgres(startup().len(), WELCOME);
    let (front, mut session) = postgres_session(&backend);
    // The message is cut before the end of the user's name.
    let message = startup();
    let (first, rest) = message.split_at(15);
    session.send(first).unwrap();
    until("the backend has it", || backend.heard() == [first]);
    session.send(rest).unwrap();
    session.read_exact(&mut vec![0; WELCOME.len()]).unwrap();
    session.finish().unwrap();
    assert_eq!(front.end("client_closed")["user"], "nobody");
}

#[test]
fn a_client_that_leaves_to_ask_for_the_password_is_told_from_one_that_was_let_in() {
    // The server asks for a password in the clear.
    let backend = postgres(startup().len(), b"R\0\0\0\x08\0\0\0\x03");
    let (front, mut session) = postgres_session(&backend);
    session.send(&startup()).unwrap();
    session.read_exact(&mut [0; 9]).unwrap();
    session.finish().unwrap();
    assert_eq!(front.end("login_left")["user"], "nobody");
}
