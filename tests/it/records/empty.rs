//! Records without content.

use rustls::AlertDescription;

use super::bench::{BOTH, Bench, ONLY_13};
use crate::support::raw_tls::{ALERT, APPLICATION_DATA, HANDSHAKE};

/// How many records without content may follow each other.
const ALLOWED: usize = 32;

/// OpenSSL sends one before each record of CBC suites, and others hide traffic by them.
#[test]
fn a_few_empty_records_of_application_data_are_passed_over() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        for _ in 0..ALLOWED {
            pair.raw.say(b"").unwrap();
        }
    });
}

#[test]
fn thousands_of_empty_records_between_others_are_passed_over() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        for _ in 0..300 {
            let mut records = Vec::new();
            for _ in 0..10 {
                records.extend(pair.raw.tx.seal(APPLICATION_DATA, b""));
            }
            records.extend(pair.raw.tx.seal(APPLICATION_DATA, b"x"));
            pair.raw.write(&records).unwrap();
            pair.far_hears(b"x");
        }
    });
}

#[test]
fn a_flood_of_nothing_but_empty_records_ends_the_session() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::UnexpectedMessage, |pair| {
        for _ in 0..=ALLOWED {
            pair.raw.say(b"").unwrap();
        }
    });
}

#[test]
fn empty_records_of_padding_alone_are_passed_over() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        for padding in [1, 100, 16_383] {
            let record = pair.raw.tx.seal_padded(APPLICATION_DATA, b"", padding);
            pair.raw.write(&record).unwrap();
        }
    });
}

#[test]
fn an_empty_fragment_of_handshake_messages_is_refused() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::UnexpectedMessage, |pair| {
        pair.raw.send(HANDSHAKE, b"").unwrap();
    });
}

#[test]
fn an_empty_fragment_of_alerts_is_refused() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::UnexpectedMessage, |pair| {
        pair.raw.send(ALERT, b"").unwrap();
    });
}
