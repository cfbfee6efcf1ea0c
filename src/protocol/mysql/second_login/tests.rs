use std::time::Duration;

use super::*;
use crate::protocol::fuzzing::driven::Driven;
use crate::protocol::mysql::auth::tests::{change_to_me, legs, session, wire};
use crate::protocol::mysql::auth::{AuthError, Leg, Legs, Refusal};
use crate::protocol::mysql::command::ChangeUserError;
use crate::protocol::mysql::packet::{LOGIN_LIMIT, PacketTooLong};
use crate::protocol::watch::LONGEST_USER;

mod conversations;
mod keeping;
mod recorded;

const SHA2: &str = "caching_sha2_password";
const NATIVE: &str = "mysql_native_password";
const TLS_TO_NETWORK: Legs = legs(Leg::Tls, Leg::Network);
const QUERY: &[u8] = b"\x09\0\0\0\x03SELECT 1";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const DENIED: &[u8] = b"\xff\x15\x04#28000no";
const FULL_AUTH: &[u8] = &[1, 4];
const PATIENCE: Duration = Duration::from_millis(2500);

/// A session that has just logged in, relayed in memory.
fn relayed(legs: Legs) -> Driven<SecondLogin> {
    Driven::new(SecondLogin::new(session(legs), PATIENCE))
}

/// Sends packets whose answers are waited for; each must be taken.
fn say(session: &mut Driven<SecondLogin>, said: &[(Side, u8, &[u8])]) {
    for (from, seq, payload) in said {
        session.receive(*from, &wire(*seq, payload));
        assert_eq!(session.failed, None, "{from:?} {seq}");
    }
}

fn change(plugin: &str, response: &[u8]) -> Vec<u8> {
    wire(0, &change_to_me(plugin, response))
}

/// A session in which a client gives its password for a database without TLS, up to the question for it.
fn asked_for_password() -> Driven<SecondLogin> {
    let mut session = relayed(TLS_TO_NETWORK);
    session.receive(Side::Client, &change(SHA2, &[9; 32]));
    say(&mut session, &[(Side::Server, 1, FULL_AUTH)]);
    session
}

/// The same up to the request for the key.
fn asked_for_key() -> Driven<SecondLogin> {
    let mut session = asked_for_password();
    say(&mut session, &[(Side::Client, 2, b"secret\0")]);
    session
}

/// The same up to the ciphertext that is asked for.
fn asked_to_seal(key: &[u8]) -> Driven<SecondLogin> {
    let mut session = asked_for_key();
    give_key(&mut session, key);
    session
}

/// Gives the database's key to the watch alone, so that nothing seals.
fn give_key(session: &mut Driven<SecondLogin>, key: &[u8]) {
    let key = wire(3, &joined(&[&[1], key]));
    let (taken, output) = session.watch.take(Side::Server, &key).expect("the key");
    assert_eq!((taken, output), (key.len(), Output::default()));
    assert!(matches!(session.watch.wants(), Wants::Sealing(_)));
}

fn failed(seq: u8, error: &ErrorPacket, fault: Fault<SecondLoginError>) -> Failure {
    let mut to_client = Vec::new();
    error.write(seq, &mut to_client);
    Failed { to_client, fault }
}

fn joined(packets: &[&[u8]]) -> Vec<u8> {
    packets.concat()
}

#[test]
fn commands_and_answers_pass_unchanged_before_and_behind_a_second_login() {
    let mut session = relayed(TLS_TO_NETWORK);
    let answer = wire(1, OK);
    let change = change(NATIVE, &[7; 20]);
    session.receive(Side::Client, QUERY);
    session.receive(Side::Server, &answer);
    session.receive(Side::Client, &change);
    session.receive(Side::Server, &answer);
    session.receive(Side::Client, QUERY);
    session.receive(Side::Server, &answer);
    assert_eq!(session.failed, None);
    let sent = joined(&[QUERY, &change, QUERY]);
    assert_eq!(session.sent(Side::Server), sent);
    assert_eq!(session.sent(Side::Client), answer.repeat(3));
    assert_eq!(session.users, [b"me"]);
    assert_eq!(session.watch.wants(), Wants::Nothing);
}

#[test]
fn a_second_login_is_found_among_what_comes_at_once() {
    let mut session = relayed(TLS_TO_NETWORK);
    let close = wire(0, b"\x19\x01\0\0\0");
    let change = change(NATIVE, &[7; 20]);
    session.receive(Side::Client, &joined(&[&close, &change, QUERY]));
    let before = joined(&[&close, &change]);
    assert_eq!(session.sent(Side::Server), before, "the query waits");
    say(&mut session, &[(Side::Server, 1, OK)]);
    let all = joined(&[&close, &change, QUERY]);
    assert_eq!(session.sent(Side::Server), all);
}

#[test]
fn the_password_of_a_second_login_goes_under_the_key_of_a_database_without_tls() {
    let mut session = asked_for_key();
    session.seal = |sealing| Ok(sealing.message.iter().map(|byte| byte ^ b'a').collect());
    say(&mut session, &[(Side::Server, 3, b"\x01KEY")]);
    // The driver of this test takes off again what the password was mixed with.
    let sealed = wire(4, b"secret\0");
    assert!(session.sent(Side::Server).ends_with(&sealed));
    say(&mut session, &[(Side::Server, 5, OK)]);
    let heard = joined(&[&wire(1, FULL_AUTH), &wire(3, OK)]);
    assert_eq!(session.sent(Side::Client), heard);
    assert_eq!(session.users, [b"me"]);
}

#[test]
fn the_client_is_read_only_when_it_has_to_say_something() {
    let mut session = relayed(TLS_TO_NETWORK);
    let awaited = |session: &Driven<SecondLogin>| {
        let wants = session.watch.wants();
        (wants.awaits(Side::Client), wants.awaits(Side::Server))
    };
    assert_eq!(awaited(&session), (false, false));
    let first = change(SHA2, &[9; 32]);
    session.receive(Side::Client, &first[..20]);
    assert_eq!(awaited(&session), (true, false), "it is read");
    session.receive(Side::Client, &first[20..]);
    assert_eq!(awaited(&session), (false, true), "the database decides");
    say(&mut session, &[(Side::Server, 1, FULL_AUTH)]);
    assert_eq!(awaited(&session), (true, true), "the client is asked");
    say(&mut session, &[(Side::Client, 2, b"secret\0")]);
    assert_eq!(awaited(&session), (false, true), "the key is asked for");
}

#[test]
fn a_second_login_that_is_rejected_leaves_the_session_to_the_database() {
    let mut session = relayed(TLS_TO_NETWORK);
    session.receive(Side::Client, &change(NATIVE, &[7; 20]));
    say(&mut session, &[(Side::Server, 1, DENIED)]);
    assert_eq!(session.sent(Side::Client), wire(1, DENIED));
    assert!(session.users.is_empty(), "the client stays who it was");
    session.receive(Side::Client, QUERY);
    assert!(session.sent(Side::Server).ends_with(QUERY));
    session.receive(Side::Server, &wire(1, OK));
    session.receive(Side::Client, &change(NATIVE, &[7; 20]));
    say(&mut session, &[(Side::Server, 1, OK)]);
    assert_eq!(session.users, [b"me"], "another try");
}

#[test]
fn a_second_login_that_does_not_wait_for_an_answer_is_refused() {
    let mut session = relayed(TLS_TO_NETWORK);
    let change = change(NATIVE, &[7; 20]);
    session.receive(Side::Client, &joined(&[QUERY, &change]));
    let fault = Fault::Client(SecondLoginError::OutOfTurn);
    let error = ErrorPacket::out_of_order();
    assert_eq!(session.failed, Some(failed(1, &error, fault)));
    assert_eq!(session.sent(Side::Server), QUERY);
}

#[test]
fn what_the_database_has_of_the_header_is_not_sent_again() {
    let change = change(NATIVE, &[7; 20]);
    for cut in 1..change.len() {
        let mut session = relayed(TLS_TO_NETWORK);
        session.receive(Side::Client, &change[..cut]);
        let passed = if cut <= 4 { cut } else { 0 };
        assert_eq!(session.sent(Side::Server), &change[..passed]);
        session.receive(Side::Client, &change[cut..]);
        assert_eq!(session.sent(Side::Server), change, "{cut}");
    }
}

#[test]
fn a_second_login_whose_length_changes_is_refused_if_a_part_of_it_has_passed() {
    let change = change("sha256_password", b"secret\0");
    let mut session = relayed(TLS_TO_NETWORK);
    session.receive(Side::Client, &change);
    let sent = wire(0, &change_to_me("sha256_password", &[1]));
    assert_eq!(session.sent(Side::Server), sent, "it came at once");

    let mut session = relayed(TLS_TO_NETWORK);
    session.receive(Side::Client, &change[..3]);
    session.receive(Side::Client, &change[3..]);
    let reason = SecondLoginError::SealedInPieces;
    let error = ErrorPacket::unsupported_login(reason.to_string());
    assert_eq!(
        session.failed,
        Some(failed(1, &error, Fault::Client(reason)))
    );
    assert_eq!(session.sent(Side::Server), &change[..3]);
}

#[test]
fn what_is_no_second_login_is_refused() {
    let long = PacketTooLong {
        announced: LOGIN_LIMIT + 1,
        limit: LOGIN_LIMIT,
    };
    let cut_short = AuthError::ChangeUser(ChangeUserError);
    for (sent, error, reason) in [
        (
            &b"\x01\0\x02\0\x11me"[..],
            ErrorPacket::packet_too_large(),
            SecondLoginError::Packet(long),
        ),
        (
            b"\x03\0\0\0\x11me",
            ErrorPacket::unknown_command(),
            SecondLoginError::Auth(cut_short),
        ),
    ] {
        let mut session = relayed(TLS_TO_NETWORK);
        session.receive(Side::Client, sent);
        assert_eq!(
            session.failed,
            Some(failed(1, &error, Fault::Client(reason)))
        );
        assert_eq!(session.sent(Side::Server), b"");
    }
}

#[test]
fn a_second_login_in_the_clear_stays_off_the_network() {
    let mut session = relayed(TLS_TO_NETWORK);
    let change = change("mysql_clear_password", b"secret\0");
    session.receive(Side::Client, &change);
    let refusal = Refusal::PasswordInClear;
    let fault = Fault::Client(SecondLoginError::Refused(refusal));
    assert_eq!(session.failed, Some(failed(1, &refusal.packet(), fault)));
    assert_eq!(session.sent(Side::Server), b"");
}

#[test]
fn a_client_that_loses_count_is_told_in_answer_to_its_packet() {
    let mut session = asked_for_password();
    session.receive(Side::Client, &wire(7, b"secret\0"));
    let reason = AuthError::Sequence {
        expected: 2,
        found: 7,
    };
    let fault = Fault::Client(reason.into());
    assert_eq!(session.failed, Some(failed(8, &reason.packet(), fault)));
}

#[test]
fn a_database_that_breaks_the_protocol_is_at_fault() {
    let reason = SecondLoginError::Auth(AuthError::ServerOutOfTurn);
    let long = PacketTooLong {
        announced: 0xff_ffff,
        limit: LOGIN_LIMIT,
    };
    for (answer, reason) in [
        (wire(1, b""), reason),
        (b"\xff\xff\xff\x01".to_vec(), long.into()),
    ] {
        let mut session = relayed(TLS_TO_NETWORK);
        session.receive(Side::Client, &change(SHA2, &[9; 32]));
        session.receive(Side::Server, &answer);
        let error = ErrorPacket::backend_failed();
        assert_eq!(
            session.failed,
            Some(failed(1, &error, Fault::Server(reason)))
        );
    }
}

#[test]
fn a_password_that_cannot_be_sealed_ends_the_session() {
    let mut session = asked_for_key();
    session.seal = |_| Err(SealError::TooLong);
    session.receive(Side::Server, &wire(3, b"\x01KEY"));
    let error = ErrorPacket::unsupported_login(SealError::TooLong.to_string());
    let fault = Fault::Client(SealError::TooLong.into());
    assert_eq!(session.failed, Some(failed(3, &error, fault)));

    let mut session = asked_for_key();
    session.seal = |_| Err(SealError::Key);
    session.receive(Side::Server, &wire(3, b"\x01KEY"));
    let error = ErrorPacket::backend_failed();
    let fault = Fault::Server(SealError::Key.into());
    assert_eq!(session.failed, Some(failed(3, &error, fault)));
}

#[test]
fn whoever_had_to_speak_is_late() {
    let too_slow = ErrorPacket::client_too_slow();
    let mut session = relayed(TLS_TO_NETWORK);
    assert_eq!(session.watch.patience(), PATIENCE);
    session.receive(Side::Client, &change(NATIVE, &[7; 20])[..9]);
    let late = Fault::Late(Side::Client);
    assert_eq!(session.watch.late(), failed(1, &too_slow, late));

    let late = Fault::Late(Side::Client);
    let mut session = asked_for_password();
    assert_eq!(session.watch.late(), failed(2, &too_slow, late));

    let error = ErrorPacket::backend_down("the database has not decided this login in time");
    let late = Fault::Late(Side::Server);
    let mut session = asked_for_key();
    assert_eq!(session.watch.late(), failed(3, &error, late));
}

#[test]
fn a_client_hears_that_the_database_has_gone() {
    let words = |seq| {
        let mut words = Vec::new();
        ErrorPacket::backend_failed().write(seq, &mut words);
        words
    };
    let mut session = relayed(TLS_TO_NETWORK);
    assert_eq!(session.watch.last_words(), b"", "in the middle of anything");
    session.receive(Side::Client, &change(NATIVE, &[7; 20])[..9]);
    assert_eq!(session.watch.last_words(), words(1));
    assert_eq!(asked_for_key().watch.last_words(), words(3));
}

/// A session whose client is asked something that its database does not wait for.
fn asked_in_vain() -> Driven<SecondLogin> {
    let mut session = relayed(TLS_TO_NETWORK);
    session.receive(Side::Client, &change(NATIVE, &[7; 20]));
    let switch = b"\xfeauthentication_ldap_sasl_client\0SCRAM-SHA-1\0";
    say(&mut session, &[(Side::Server, 1, switch)]);
    session
}

#[test]
fn what_a_client_has_begun_to_say_goes_to_the_database_when_the_login_is_over() {
    for cut in 1..QUERY.len() {
        let mut session = asked_in_vain();
        let before = session.sent(Side::Server).len();
        session.receive(Side::Client, &QUERY[..cut]);
        assert_eq!(session.sent(Side::Server).len(), before);
        say(&mut session, &[(Side::Server, 2, OK)]);
        assert_eq!(&session.sent(Side::Server)[before..], &QUERY[..cut]);
        session.receive(Side::Client, &QUERY[cut..]);
        assert_eq!(&session.sent(Side::Server)[before..], QUERY);
        session.receive(Side::Server, &wire(1, OK));
        session.receive(Side::Client, &change(NATIVE, &[7; 20]));
        assert_eq!(session.failed, None, "commands are followed");
        assert_ne!(session.watch.wants(), Wants::Nothing);
    }
}

#[test]
fn a_login_that_is_begun_before_the_one_before_is_over_is_carried_too() {
    let change = change(NATIVE, &[7; 20]);
    for cut in 1..change.len() {
        let mut session = asked_in_vain();
        let before = session.sent(Side::Server).len();
        session.receive(Side::Client, &change[..cut]);
        say(&mut session, &[(Side::Server, 2, OK)]);
        session.receive(Side::Client, &change[cut..]);
        assert_eq!(session.failed, None, "{cut}");
        assert_eq!(&session.sent(Side::Server)[before..], change);
        say(&mut session, &[(Side::Server, 1, OK)]);
        assert_eq!(session.users, [b"me", b"me"]);
    }
}

#[test]
fn the_scramble_of_a_second_login_is_left_for_the_third() {
    let mut session = relayed(TLS_TO_NETWORK);
    session.receive(Side::Client, &change(NATIVE, &[7; 20]));
    let switch = b"\xfemysql_native_password\0bbbbbbbbbbbbbbbbbbbb\0";
    say(
        &mut session,
        &[
            (Side::Server, 1, switch),
            (Side::Client, 2, &[7; 20]),
            (Side::Server, 3, OK),
        ],
    );
    session.receive(Side::Client, &change(SHA2, &[9; 32]));
    session.seal = |sealing| Ok(sealing.message.iter().map(|byte| byte ^ b'b').collect());
    say(
        &mut session,
        &[
            (Side::Server, 1, FULL_AUTH),
            (Side::Client, 2, b"secret\0"),
            (Side::Server, 3, b"\x01KEY"),
        ],
    );
    let sealed = wire(4, b"secret\0");
    assert!(session.sent(Side::Server).ends_with(&sealed));
}

#[test]
fn a_name_that_is_too_long_is_cut() {
    let mut session = relayed(TLS_TO_NETWORK);
    let name = [b'u'; LONGEST_USER + 1];
    let command = joined(&[b"\x11", &name, b"\0\0db\0"]);
    session.receive(Side::Client, &wire(0, &command));
    say(&mut session, &[(Side::Server, 1, OK)]);
    assert_eq!(session.users, [&name[1..]]);
}

#[test]
fn debug_shows_no_password() {
    let mut reading = relayed(legs(Leg::Tls, Leg::Tls));
    let clear = change("mysql_clear_password", b"secret\0");
    reading.receive(Side::Client, &clear[..clear.len() - 1]);
    let mut answering = asked_for_password();
    answering.receive(Side::Client, &wire(2, b"secret\0")[..9]);
    let sealing = asked_to_seal(b"KEY");
    for watch in [reading, answering, asked_for_key(), sealing].map(|it| it.watch) {
        let text = format!("{watch:?}");
        assert!(!text.contains("115, 101, 99"), "{text}");
    }
}

#[test]
fn calls_that_do_not_fit_change_nothing() {
    let mut watch = relayed(TLS_TO_NETWORK).watch;
    let before = watch.clone();
    for side in [Side::Client, Side::Server] {
        assert_eq!(watch.take(side, QUERY), Ok((0, Output::default())));
    }
    assert_eq!(watch.sealed(Ok(vec![1])), Ok(Output::default()));
    assert_eq!(watch, before);
    let mut watch = asked_for_key().watch;
    let before = watch.clone();
    assert_eq!(watch.pass(Side::Client, QUERY), Pass::Until(0));
    assert_eq!(watch.take(Side::Client, QUERY), Ok((0, Output::default())));
    assert_eq!(watch.take(Side::Server, b""), Ok((0, Output::default())));
    assert_eq!(watch, before);
}
