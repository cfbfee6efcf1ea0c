//! Handshake messages that come after the handshake and are no change of keys.

use rustls::{AlertDescription, SupportedCipherSuite};

use super::bench::{Bench, LEGS, Leg, ONLY_12, ONLY_13, Pair};
use crate::support::raw_tls::{ALERT, APPLICATION_DATA, HANDSHAKE, WARNING};

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const NEW_SESSION_TICKET: u8 = 4;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const FINISHED: u8 = 20;

/// Returns a handshake message.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

/// Returns the body of a `ClientHello` that asks for nothing special.
fn client_hello() -> Vec<u8> {
    let version_and_random = [&[3, 3][..], &[9; 32]].concat();
    let session_and_suites = [0, 0, 2, 0xc0, 0x2b, 1, 0];
    message(
        CLIENT_HELLO,
        &[&version_and_random[..], &session_and_suites].concat(),
    )
}

/// Returns a message with a ticket of this length (RFC 8446 §4.6.1).
fn ticket(length: u16) -> Vec<u8> {
    let head = [&[0, 0, 2, 0][..], &[1, 2, 3, 4], &[1, 0]].concat();
    let ticket = vec![b't'; usize::from(length)];
    let body = [&head[..], &length.to_be_bytes(), &ticket, &[0, 0]].concat();
    message(NEW_SESSION_TICKET, &body)
}

/// Opens a session on a leg, and does something after which it is refused with an alert.
#[track_caller]
fn refused(
    bench: &Bench,
    leg: Leg,
    suite: SupportedCipherSuite,
    alert: AlertDescription,
    act: impl Fn(&mut Pair),
) {
    let mut pair = bench.open(leg, suite);
    act(&mut pair);
    bench.is_ended(pair, &[alert]);
}

/// What asks for a renegotiation of the daemon on each leg.
fn requests() -> [(Leg, Vec<u8>); 2] {
    [
        (Leg::Client, client_hello()),
        (Leg::Backend, message(HELLO_REQUEST, b"")),
    ]
}

#[test]
fn a_renegotiation_is_refused_and_the_session_goes_on() {
    let bench = Bench::new();
    for (leg, request) in requests() {
        let mut pair = bench.open(leg, ONLY_12[0]);
        pair.raw.send(HANDSHAKE, &request).unwrap();
        let answer = pair.raw.record().unwrap().unwrap();
        let refusal = [WARNING, AlertDescription::NoRenegotiation.into()];
        assert_eq!((answer.kind, &answer.content[..]), (ALERT, &refusal[..]));
        bench.finish(pair);
    }
}

#[test]
fn a_renegotiation_that_is_asked_for_again_ends_the_session() {
    let bench = Bench::new();
    for (leg, request) in requests() {
        let mut pair = bench.open(leg, ONLY_12[0]);
        pair.raw.send(HANDSHAKE, &request).unwrap();
        pair.raw.record().unwrap().unwrap();
        pair.up(b"between");
        pair.raw.send(HANDSHAKE, &request).unwrap();
        bench.is_ended(pair, &[AlertDescription::UnexpectedMessage]);
    }
}

#[test]
fn a_renegotiation_from_the_side_that_cannot_ask_for_it_is_refused() {
    let bench = Bench::new();
    for ((leg, _), (_, request)) in requests().iter().zip(requests().iter().rev()) {
        let alert = AlertDescription::UnexpectedMessage;
        refused(&bench, *leg, ONLY_12[0], alert, |pair| {
            pair.raw.send(HANDSHAKE, request).unwrap();
        });
    }
}

/// RFC 8446 §4.1.2
#[test]
fn tls_1_3_has_no_renegotiation() {
    let bench = Bench::new();
    for leg in LEGS {
        for (_, request) in requests() {
            let alert = AlertDescription::UnexpectedMessage;
            refused(&bench, leg, ONLY_13[0], alert, |pair| {
                pair.raw.send(HANDSHAKE, &request).unwrap();
            });
        }
    }
}

/// RFC 8446 §4.6.2: the daemon does not offer `post_handshake_auth`.
#[test]
fn a_certificate_is_not_shown_after_the_handshake() {
    let bench = Bench::new();
    // A context, and the extension `signature_algorithms`, which has to be there.
    let extensions = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    let body = [&[4][..], b"abcd", &extensions].concat();
    let request = message(CERTIFICATE_REQUEST, &body);
    let alert = AlertDescription::UnexpectedMessage;
    refused(&bench, Leg::Backend, ONLY_13[0], alert, |pair| {
        pair.raw.send(HANDSHAKE, &request).unwrap();
    });
}

#[test]
fn messages_of_a_handshake_after_it_are_refused() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in [ONLY_13[0], ONLY_12[0]] {
            for kind in [SERVER_HELLO, CERTIFICATE, FINISHED, 3, 99, 254] {
                let alert = AlertDescription::UnexpectedMessage;
                refused(&bench, leg, suite, alert, |pair| {
                    let message = message(kind, &[0; 12]);
                    pair.raw.send(HANDSHAKE, &message).unwrap();
                });
            }
        }
    }
}

#[test]
fn a_ticket_of_a_client_is_refused() {
    let bench = Bench::new();
    for suite in [ONLY_13[0], ONLY_12[0]] {
        let alert = AlertDescription::UnexpectedMessage;
        refused(&bench, Leg::Client, suite, alert, |pair| {
            pair.raw.send(HANDSHAKE, &ticket(100)).unwrap();
        });
    }
}

/// Opens a session with a backend, does something, and sees that it goes on.
#[track_caller]
fn backend(act: impl FnOnce(&mut Pair)) {
    let bench = Bench::new();
    let mut pair = bench.open(Leg::Backend, ONLY_13[0]);
    act(&mut pair);
    bench.finish(pair);
}

#[test]
fn tickets_of_a_backend_are_passed_over_before_any_data_and_in_the_middle() {
    backend(|pair| {
        for _ in 0..4 {
            pair.raw.send(HANDSHAKE, &ticket(100)).unwrap();
        }
        pair.up(b"data");
        pair.raw.send(HANDSHAKE, &ticket(200)).unwrap();
        pair.down(b"question");
        pair.raw.send(HANDSHAKE, &ticket(1)).unwrap();
        pair.up(b"answer");
    });
}

#[test]
fn a_ticket_may_be_split_over_records_of_any_length() {
    backend(|pair| {
        let ticket = ticket(150);
        for length in [1, 2, 3, 4, 5, 50, 163] {
            for fragment in ticket.chunks(length) {
                pair.raw.send(HANDSHAKE, fragment).unwrap();
            }
            pair.up(b"data");
        }
        let (first, second) = ticket.split_at(70);
        pair.raw.send(HANDSHAKE, first).unwrap();
        pair.down(b"meanwhile");
        pair.raw.send(HANDSHAKE, second).unwrap();
    });
}

#[test]
fn several_tickets_may_share_records() {
    backend(|pair| {
        let tickets = [ticket(10), ticket(20), ticket(3000)].concat();
        pair.raw.send(HANDSHAKE, &tickets).unwrap();
        pair.up(b"data");
        for fragment in tickets.chunks(1000) {
            pair.raw.send(HANDSHAKE, fragment).unwrap();
        }
    });
}

/// Some servers put a client's whole certificate chain into a ticket.
#[test]
fn a_ticket_of_the_greatest_length_is_passed_over() {
    backend(|pair| {
        for fragment in ticket(65_500).chunks(16_384) {
            pair.raw.send(HANDSHAKE, fragment).unwrap();
        }
    });
}

#[test]
fn a_thousand_tickets_are_passed_over() {
    backend(|pair| {
        for _ in 0..1000 {
            pair.raw.send(HANDSHAKE, &ticket(32)).unwrap();
        }
    });
}

#[test]
fn data_in_the_middle_of_a_ticket_is_refused() {
    let bench = Bench::new();
    let alert = AlertDescription::UnexpectedMessage;
    for kind in [APPLICATION_DATA, ALERT] {
        refused(&bench, Leg::Backend, ONLY_13[0], alert, |pair| {
            pair.raw.send(HANDSHAKE, &ticket(100)[..50]).unwrap();
            pair.raw.send(kind, &[1, 0]).unwrap();
        });
    }
}

/// Its length alone must not make anybody wait for 16 MiB.
#[test]
fn a_message_that_says_to_be_longer_than_any_is_refused_or_takes_no_memory() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in [ONLY_13[0], ONLY_12[0]] {
            let mut pair = bench.open(leg, suite);
            let head = [NEW_SESSION_TICKET, 0xff, 0xff, 0xff];
            let start = [&head[..], &[b't'; 1000]].concat();
            pair.raw.send(HANDSHAKE, &start).unwrap();
            bench.is_ended_somehow(pair);
        }
    }
}
