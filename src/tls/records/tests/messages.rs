//! Handshake messages behind the handshake: tickets, changes of keys and requests for new ones.

use super::{
    open::kind::{ALERT, DATA},
    peer::{Rogue, hear, pair, seal},
    *,
};

/// A handshake message.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

fn key_update(value: u8) -> Vec<u8> {
    message(24, &[value])
}

fn suites(version: Version) -> impl Iterator<Item = &'static Suite> {
    suite::SUITES
        .iter()
        .filter(move |it| it.version() == version)
}

/// Sees sessions of a version and these roles end by what `send` sends.
fn ends(
    version: Version,
    roles: &[Role],
    (fault, alert): (Fault, Alert),
    send: impl Fn(&mut Rogue) -> Vec<u8>,
) {
    for suite in suites(version) {
        for role in roles {
            let (mut ours, mut rogue) = pair(suite, *role);
            let bytes = send(&mut rogue);
            let found = rogue.ends(&mut ours, &bytes);
            assert_eq!(found, (fault, Some(alert)), "{} {role:?}", suite.name);
        }
    }
}

const BOTH: &[Role] = &[Role::Client, Role::Server];
const CLIENT: &[Role] = &[Role::Client];
const SERVER: &[Role] = &[Role::Server];

const UNDECODABLE: (Fault, Alert) = (Fault::Undecodable, Alert::DECODE_ERROR);
const INTERLEAVED: (Fault, Alert) = (Fault::Interleaved, Alert::UNEXPECTED_MESSAGE);

fn unexpected(kind: u8) -> (Fault, Alert) {
    (Fault::MessageType(kind), Alert::UNEXPECTED_MESSAGE)
}

#[test]
fn a_ticket_is_skipped_wherever_it_is_split() {
    let suite = Suite::find(0x1301).unwrap();
    let ticket = message(4, &[7; 40]);
    for split in 1..ticket.len() {
        let (mut ours, mut rogue) = pair(suite, Role::Client);
        let (head, tail) = ticket.split_at(split);
        let bytes = [
            rogue.handshake(head),
            rogue.handshake(tail),
            rogue.record(DATA, b"data"),
        ];
        assert_eq!(hear(&mut ours, &bytes.concat()).unwrap().plain, b"data");
    }
}

#[test]
fn tickets_may_fill_many_records_and_share_one() {
    for suite in suites(Version::Tls13) {
        let (mut ours, mut rogue) = pair(suite, Role::Client);
        let long = message(4, &vec![7; 0xffff]);
        let mut bytes: Vec<_> = long.chunks(16).flat_map(|it| rogue.handshake(it)).collect();
        let tickets = message(4, &[7; 14]).repeat(3);
        bytes.extend(rogue.handshake(&[tickets, key_update(0)].concat()));
        rogue.renew();
        bytes.extend(rogue.record(DATA, b"data"));
        assert_eq!(hear(&mut ours, &bytes).unwrap().plain, b"data");
    }
}

#[test]
fn a_ticket_of_an_impossible_length_ends_the_session() {
    for length in [0, 13, 0x10000, 0xff_ffff] {
        ends(Version::Tls13, CLIENT, UNDECODABLE, |rogue| {
            let [_, a, b, c] = u32::to_be_bytes(length);
            rogue.handshake(&[4, a, b, c])
        });
    }
}

#[test]
fn nothing_may_come_between_the_pieces_of_a_message() {
    for kind in [ALERT, DATA] {
        for cut in [1, 3, 4, 17] {
            ends(Version::Tls13, CLIENT, INTERLEAVED, |rogue| {
                let ticket = message(4, &[7; 14]);
                [
                    rogue.handshake(&ticket[..cut]),
                    rogue.record(kind, &[2, 80]),
                ]
                .concat()
            });
        }
        ends(Version::Tls13, SERVER, INTERLEAVED, |rogue| {
            [rogue.handshake(&[24, 0]), rogue.record(kind, &[2, 80])].concat()
        });
        ends(Version::Tls12, SERVER, INTERLEAVED, |rogue| {
            [rogue.handshake(&[1, 0, 1, 0]), rogue.record(kind, &[2, 80])].concat()
        });
    }
}

#[test]
fn a_change_of_key_may_come_in_pieces() {
    for suite in suites(Version::Tls13) {
        let (mut ours, mut rogue) = pair(suite, Role::Server);
        let mut bytes: Vec<_> = key_update(1)
            .chunks(1)
            .flat_map(|it| rogue.handshake(it))
            .collect();
        rogue.renew();
        bytes.extend(rogue.record(DATA, b"data"));
        assert_eq!(hear(&mut ours, &bytes).unwrap().plain, b"data");
        assert!(ours.state.answer_owed);
        let answer = seal(&mut ours, b"answer");
        assert_eq!(hear(&mut rogue.0, &answer).unwrap().plain, b"answer");
        assert!(!rogue.0.state.answer_owed, "the answer asks for none");
    }
}

#[test]
fn behind_a_change_of_key_the_old_one_is_of_no_use() {
    let expected = (Fault::BadRecord, Alert::BAD_RECORD_MAC);
    ends(Version::Tls13, BOTH, expected, |rogue| {
        [rogue.handshake(&key_update(0)), rogue.record(DATA, b"data")].concat()
    });
}

#[test]
fn a_change_of_key_must_end_its_record() {
    let expected = (Fault::KeyUpdateInside, Alert::UNEXPECTED_MESSAGE);
    for behind in [&[24][..], &key_update(0)] {
        ends(Version::Tls13, BOTH, expected, |rogue| {
            rogue.handshake(&[&key_update(0), behind].concat())
        });
    }
}

#[test]
fn a_change_of_key_that_asks_for_something_unknown_ends_the_session() {
    for value in [2, 255] {
        let expected = (Fault::KeyUpdateValue(value), Alert::ILLEGAL_PARAMETER);
        ends(Version::Tls13, BOTH, expected, |rogue| {
            rogue.handshake(&key_update(value))
        });
    }
    for body in [&[][..], &[0, 0]] {
        ends(Version::Tls13, BOTH, UNDECODABLE, |rogue| {
            rogue.handshake(&message(24, body))
        });
    }
}

#[test]
fn changes_of_key_without_data_end_the_session() {
    for suite in suites(Version::Tls13) {
        let (mut ours, mut rogue) = pair(suite, Role::Server);
        let update = |rogue: &mut Rogue, ours: &mut Records| {
            let update = rogue.handshake(&key_update(0));
            rogue.renew();
            hear(ours, &update).map(|_| ())
        };
        for _ in 0..2 {
            for _ in 0..32 {
                update(&mut rogue, &mut ours).unwrap();
            }
            hear(&mut ours, &rogue.record(DATA, b"data")).unwrap();
        }
        for _ in 0..32 {
            update(&mut rogue, &mut ours).unwrap();
            // Data of no bytes is none.
            hear(&mut ours, &rogue.record(DATA, b"")).unwrap();
        }
        let bytes = rogue.handshake(&key_update(0));
        let found = rogue.ends(&mut ours, &bytes);
        let expected = (Fault::TooManyKeyUpdates, Some(Alert::UNEXPECTED_MESSAGE));
        assert_eq!(found, expected);
    }
}

#[test]
fn messages_of_a_handshake_have_no_place_behind_it() {
    for kind in 0..=255 {
        let send = |rogue: &mut Rogue| rogue.handshake(&message(kind, &[0; 40]));
        if kind != 24 {
            ends(Version::Tls13, SERVER, unexpected(kind), send);
        }
        if kind != 24 && kind != 4 {
            ends(Version::Tls13, CLIENT, unexpected(kind), send);
        }
        if kind != 1 {
            ends(Version::Tls12, SERVER, unexpected(kind), send);
        }
        if kind != 0 {
            ends(Version::Tls12, CLIENT, unexpected(kind), send);
        }
    }
}

#[test]
fn new_keys_in_tls_1_2_are_refused_once() {
    for suite in suites(Version::Tls12) {
        for (role, request) in [
            (Role::Client, message(0, &[])),
            (Role::Server, message(1, &vec![7; 20_000])),
        ] {
            let (mut ours, mut rogue) = pair(suite, role);
            let pieces = request.chunks(MAX_PLAIN);
            let bytes: Vec<_> = pieces.flat_map(|it| rogue.handshake(it)).collect();
            let heard = hear(&mut ours, &bytes).unwrap();
            // The refusal is a warning, which the other end takes.
            assert_eq!(rogue.hears(heard.out.filled()), None);
            assert_eq!(rogue.0.state.counters.warnings, 3);
            let data = [rogue.record(DATA, b"data"), seal(&mut ours, b"")].concat();
            assert_eq!(hear(&mut ours, &data).unwrap().plain, b"data");

            let again = rogue.handshake(&request[..request.len().min(MAX_PLAIN)]);
            let rest = &request[request.len().min(MAX_PLAIN)..];
            let mut bytes = again;
            if !rest.is_empty() {
                bytes.extend(rogue.handshake(rest));
            }
            let (mut plain, mut out) = (Vec::new(), Space::default());
            let end = ours.receive(&bytes, &mut plain, &mut out);
            assert_eq!(end, Err(Fault::TooManyRenegotiations));
            assert_eq!(rogue.hears(out.filled()), Some(Alert::UNEXPECTED_MESSAGE));
        }
    }
}

#[test]
fn a_request_for_new_keys_behind_our_own_end_has_no_answer() {
    for suite in suites(Version::Tls12) {
        for (role, kind) in [(Role::Client, 0), (Role::Server, 1)] {
            let (mut ours, mut rogue) = pair(suite, role);
            ours.close(&mut Space::default());
            let bytes = [
                rogue.handshake(&message(kind, &[])),
                rogue.record(DATA, b"data"),
            ];
            let heard = hear(&mut ours, &bytes.concat()).unwrap();
            assert_eq!(heard.plain, b"data");
            assert!(heard.out.filled().is_empty());
        }
    }
}

#[test]
fn a_request_for_new_keys_that_holds_something_ends_the_session() {
    ends(Version::Tls12, CLIENT, UNDECODABLE, |rogue| {
        rogue.handshake(&message(0, &[0]))
    });
}
