//! Made-up conversations, in whatever order and whatever pieces.

use proptest::prelude::*;

use super::*;
use crate::protocol::mysql::auth::tests::conversations::{Said, server_says};
use crate::protocol::mysql::auth::tests::{awaits_key, next_numbers};
use crate::protocol::sealing::Sealing;

const LEGS: [Leg; 4] = [Leg::Loopback, Leg::Network, Leg::Tls, Leg::Unix];

/// What one side sends next.
#[derive(Clone, Debug)]
enum Next {
    /// One of what it would send where the session has come to.
    Fitting(prop::sample::Index),
    /// Anything, under the number that comes next, or so many behind it.
    Any(Said, u8),
}

const PLUGINS: [&str; 5] = [
    SHA2,
    NATIVE,
    "sha256_password",
    "authentication_ldap_sasl_client",
    "mysql_clear_password",
];
const RESPONSES: [&[u8]; 5] = [b"", &[7; 20], &[9; 32], b"correct horse\0", &[1]];
const ANSWERS: [&[u8]; 5] = [b"correct horse\0", &[7; 20], &[2], &[1], &[3; 256]];
const KEYS: [&[u8]; 4] = [
    b"\x01-----BEGIN PUBLIC KEY-----",
    b"\x01KEY",
    DENIED,
    b"\xfemysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0",
];
const QUESTIONS: [&[u8]; 9] = [
    FULL_AUTH,
    FULL_AUTH,
    OK,
    DENIED,
    b"\x01\x03",
    b"\xfemysql_native_password\0aaaaaaaaaaaaaaaaaaaa\0",
    b"\xfecaching_sha2_password\0bbbbbbbbbbbbbbbbbbbb\0",
    b"\xfesha256_password\0cccccccccccccccccccc\0",
    b"\xfeauthentication_ldap_sasl_client\0SCRAM-SHA-1\0",
];

/// Returns one of what is sent where a session has come to.
fn fitting(state: &State, index: prop::sample::Index) -> Said {
    let one_of = |said: &[&[u8]]| said[index.index(said.len())].to_vec();
    match state {
        State::Carrying(carrying) if awaits_key(&carrying.exchange) => Said::Server(one_of(&KEYS)),
        State::Carrying(carrying) if carrying.exchange.awaits_client() => {
            // A database may say something more, or give its verdict.
            let at = index.index(ANSWERS.len() + 1);
            match ANSWERS.get(at) {
                Some(answer) => Said::Client(answer.to_vec()),
                None => Said::Server(OK.to_vec()),
            }
        }
        State::Carrying(_) => Said::Server(one_of(&QUESTIONS)),
        _ => {
            let at = index.index(PLUGINS.len() * RESPONSES.len());
            let (plugin, response) = (at % PLUGINS.len(), at / PLUGINS.len());
            Said::Client(change_to_me(PLUGINS[plugin], RESPONSES[response]))
        }
    }
}

fn next() -> impl Strategy<Value = Next> {
    let client = prop_oneof![Just(b"\x03SELECT 1".to_vec()), any::<Vec<u8>>()];
    let said = prop_oneof![client.prop_map(Said::Client), server_says()];
    let wrong = prop_oneof![9 => Just(0), 1 => any::<u8>()];
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Next::Fitting),
        1 => (said, wrong).prop_map(|(said, wrong)| Next::Any(said, wrong)),
    ]
}

fn some_legs() -> impl Strategy<Value = Legs> {
    let any =
        (0..4_usize, 0..4_usize, any::<bool>()).prop_map(|(client, server, clear_allowed)| Legs {
            clear_allowed,
            ..legs(LEGS[client], LEGS[server])
        });
    prop_oneof![Just(TLS_TO_NETWORK), any]
}

/// Returns who sends it, and its bytes in the place that the session has come to.
fn on_the_wire(session: &Driven<SecondLogin>, next: &Next) -> (Side, Vec<u8>) {
    let state = &session.watch.state;
    let (client, server) = match state {
        State::Carrying(carrying) => next_numbers(&carrying.exchange),
        _ => (0, 1),
    };
    let (said, wrong) = match next {
        Next::Fitting(index) => (fitting(state, *index), 0),
        Next::Any(said, wrong) => (said.clone(), *wrong),
    };
    match said {
        Said::Client(payload) => (Side::Client, wire(client.wrapping_add(wrong), &payload)),
        Said::Server(payload) => (Side::Server, wire(server.wrapping_add(wrong), &payload)),
    }
}

fn seal(sealing: &Sealing) -> Result<Vec<u8>, SealError> {
    if sealing.message.len() > 100 {
        return Err(SealError::TooLong);
    }
    Ok([&sealing.key[..], &sealing.message].concat())
}

/// Compares all that can be seen of two sessions.
fn assert_alike(one: &Driven<SecondLogin>, other: &Driven<SecondLogin>) {
    assert_eq!(one.sent(Side::Client), other.sent(Side::Client));
    assert_eq!(one.sent(Side::Server), other.sent(Side::Server));
    assert_eq!(one.users, other.users);
    assert_eq!(one.failed, other.failed);
    assert_eq!(one.watch, other.watch);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_login_that_is_kept_after_each_step_goes_on_as_it_would_have(
        legs in some_legs(),
        conversation in prop::collection::vec(next(), 1..24),
        piece in 1..60_usize,
    ) {
        let (mut one, mut other) = (relayed(legs), relayed(legs));
        (one.seal, other.seal) = (seal, seal);
        other.is_kept = true;
        for next in &conversation {
            let (from, bytes) = on_the_wire(&one, next);
            for bytes in bytes.chunks(piece) {
                one.receive(from, bytes);
                other.receive(from, bytes);
            }
            assert_alike(&one, &other);
        }
    }

    /// The watch is given all at once where it says what passes: a part of the header that has passed makes a
    /// difference, as it must.
    #[test]
    fn it_makes_no_difference_in_which_pieces_a_login_is_taken(
        legs in some_legs(),
        conversation in prop::collection::vec(next(), 1..24),
        piece in 1..9_usize,
    ) {
        let (mut one, mut other) = (relayed(legs), relayed(legs));
        (one.seal, other.seal) = (seal, seal);
        (other.piece, other.is_kept) = (piece, true);
        for next in &conversation {
            let (from, bytes) = on_the_wire(&one, next);
            one.receive(from, &bytes);
            other.receive(from, &bytes);
            if one.failed.is_some() {
                // The state of a watch that has failed is not defined, and not compared.
                prop_assert_eq!(&one.failed, &other.failed);
                break;
            }
            assert_alike(&one, &other);
        }
    }

    #[test]
    fn any_bytes_are_survived_as_what_was_kept(
        form in 0..5_u8,
        bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..120),
    ) {
        let bytes = [&[form], &bytes[..]].concat();
        if let Ok((login, length)) = SecondLogin::decode(&bytes) {
            let mut again = Vec::new();
            login.encode(&mut again).expect("it was as short");
            prop_assert_eq!(again, &bytes[..length]);
        }
    }
}
