//! A second login within a session, where the legs are unlike.

use std::io::Write as _;

use super::by_hand::{begin, front};
use crate::support::{
    client::Session,
    daemon::TestDaemon,
    fake::Fake,
    pki::Ca,
    wire::{OK, greeting, login, packet, read_packet},
};

const DENIED: &[u8] = b"\xff\x15\x04#28000no";
pub(super) const CHANGE: &[u8] = b"\x11somebody\0\0test\0\x21\0mysql_native_password\0";
pub(super) const QUERY: &[u8] = b"\x03SELECT 1";

/// Starts a server that denies the first change of user, allows the second, and then echoes.
fn server() -> Fake {
    Fake::new(|connection| {
        connection.write_all(&greeting())?;
        let (seq, _) = read_packet(connection)?;
        connection.write_all(&packet(seq + 1, OK))?;
        for verdict in [DENIED, OK] {
            let (seq, command) = read_packet(connection)?;
            assert_eq!((seq, &command[..]), (0, CHANGE));
            connection.write_all(&packet(1, verdict))?;
        }
        connection.echo()
    })
}

pub(super) fn log_in(ca: &Ca, daemon: &TestDaemon) -> Session {
    let mut session = begin(ca, daemon);
    session.send(&login(true, "somebody")).unwrap();
    assert_eq!(read_packet(&mut session).unwrap(), (3, OK.to_vec()));
    session
}

fn converse(send: impl Fn(&mut Session, &[u8])) {
    let backend = server();
    let (ca, daemon) = front(&backend, "");
    let mut session = log_in(&ca, &daemon);
    for verdict in [DENIED, OK] {
        send(&mut session, &packet(0, CHANGE));
        assert_eq!(read_packet(&mut session).unwrap(), (1, verdict.to_vec()));
    }
    send(&mut session, &packet(0, QUERY));
    assert_eq!(read_packet(&mut session).unwrap(), (0, QUERY.to_vec()));
}

#[test]
fn a_session_goes_on_after_a_change_of_user_and_after_one_that_was_denied() {
    converse(|session, bytes| session.send(bytes).unwrap());
}

#[test]
fn a_change_of_user_may_come_a_byte_at_a_time() {
    converse(|session, bytes| {
        for byte in bytes {
            session.send(&[*byte]).unwrap();
        }
    });
}
