//! A second login that does not wait for the answer to what was sent before.

use std::io::Write as _;

use super::{
    by_hand::front,
    change_user::{CHANGE, QUERY, log_in},
};
use crate::support::{
    client::Session,
    daemon::TestDaemon,
    fake::Fake,
    until,
    wire::{OK, error, greeting, packet, read_packet},
};

/// Starts a server that lets everybody in and answers each command, but those that have no answer.
fn server() -> Fake {
    Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        loop {
            let (_, command) = read_packet(connection)?;
            if !command.starts_with(STATEMENT_CLOSE) {
                connection.write_all(&packet(1, OK))?;
            }
        }
    })
}

const STATEMENT_CLOSE: &[u8] = b"\x19\x01\0\0\0";

/// Lets a client converse with a server once it is logged in.
fn converse(act: impl FnOnce(&mut Session, &Fake, &TestDaemon)) {
    let backend = server();
    let (ca, daemon) = front(&backend, "");
    let mut session = log_in(&ca, &daemon);
    act(&mut session, &backend, &daemon);
}

#[test]
fn a_change_of_user_right_behind_a_query_is_refused_and_does_not_reach_the_server() {
    converse(|session, backend, daemon| {
        session
            .send(&[packet(0, QUERY), packet(0, CHANGE)].concat())
            .unwrap();
        let (seq, payload) = read_packet(session).unwrap();
        assert_eq!((seq, error(&payload).0), (1, 1156));
        // An end that TLS does not announce is an error here.
        assert_eq!(session.rest().unwrap(), b"");
        until("the log says why", || {
            daemon.log().contains("did not wait for the answer")
        });
        let heard = backend.heard().concat();
        let change = heard.windows(CHANGE.len()).any(|it| it == CHANGE);
        assert!(!change, "{heard:?}");
    });
}

#[test]
fn a_change_of_user_right_behind_a_command_without_an_answer_is_carried() {
    converse(|session, _, _| {
        for _ in 0..2 {
            session.send(&packet(0, QUERY)).unwrap();
            assert_eq!(read_packet(session).unwrap(), (1, OK.to_vec()));
            let both = [packet(0, STATEMENT_CLOSE), packet(0, CHANGE)].concat();
            session.send(&both).unwrap();
            assert_eq!(read_packet(session).unwrap(), (1, OK.to_vec()));
        }
    });
}
