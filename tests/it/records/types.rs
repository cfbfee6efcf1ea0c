//! Types of records.

use rustls::AlertDescription;

use super::bench::{Bench, ONLY_12, ONLY_13};
use crate::support::raw_tls::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, UPDATE};

/// Types that mean nothing, and that of heartbeats (RFC 6520), which were never asked for.
const UNKNOWN: [u8; 5] = [1, 19, 24, 99, 255];

#[test]
fn an_unknown_type_is_refused() {
    let bench = Bench::new();
    for kind in UNKNOWN {
        for suites in [ONLY_13, ONLY_12] {
            bench.dies(suites, AlertDescription::UnexpectedMessage, |pair| {
                pair.raw.send(kind, b"what?").unwrap();
            });
        }
    }
}

/// RFC 8446 §5.2: outside, everything is application data.
#[test]
fn a_sealed_record_that_says_its_type_outside_is_refused_in_tls_1_3() {
    let bench = Bench::new();
    for (outer, content) in [
        (HANDSHAKE, UPDATE),
        (ALERT, &[1, 0][..]),
        (99, b"hello"),
        (CHANGE_CIPHER_SPEC, &[1]),
    ] {
        bench.dies(ONLY_13, AlertDescription::UnexpectedMessage, |pair| {
            let inner = [content, &[outer]].concat();
            let record = pair.raw.tx.seal_inner(outer, &inner);
            pair.raw.write(&record).unwrap();
        });
    }
}

/// RFC 8446 §5: it is passed over between the hellos and `Finished`, and at no other time.
#[test]
fn change_cipher_spec_after_the_handshake_is_refused() {
    let bench = Bench::new();
    for value in [1, 2] {
        bench.dies(ONLY_13, AlertDescription::UnexpectedMessage, |pair| {
            let record = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, value];
            pair.raw.write(&record).unwrap();
        });
    }
}

#[test]
fn change_cipher_spec_that_is_sealed_is_refused() {
    let bench = Bench::new();
    for suites in [ONLY_13, ONLY_12] {
        bench.dies(suites, AlertDescription::UnexpectedMessage, |pair| {
            pair.raw.send(CHANGE_CIPHER_SPEC, &[1]).unwrap();
        });
    }
}

/// What a client is that asks for something in clear once there is TLS.
#[test]
fn plaintext_in_a_session_ends_it() {
    let bench = Bench::new();
    for suites in [ONLY_13, ONLY_12] {
        for leg in super::bench::LEGS {
            let mut pair = bench.open(leg, suites[0]);
            pair.raw.write(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            bench.is_ended_somehow(pair);
        }
    }
    for suites in [ONLY_13, ONLY_12] {
        bench.dies(suites, AlertDescription::BadRecordMac, |pair| {
            let head = [APPLICATION_DATA, 3, 3, 0, 32];
            pair.raw.write(&[&head[..], &[b'x'; 32]].concat()).unwrap();
        });
    }
}
