//! Changes of keys (RFC 8446 §4.6.3).

use std::io::Write as _;

use rustls::{AlertDescription, SupportedProtocolVersion, version::TLS13};

use super::bench::{Bench, Leg, ONLY_12, ONLY_13, Pair};
use crate::support::raw_tls::{
    APPLICATION_DATA, Direction, HANDSHAKE, RawTls, UPDATE, UPDATE_BOTH, every_suite,
};

/// Sees that the daemon changes its keys before it says something, and asks for nothing.
#[track_caller]
fn is_answered(pair: &mut Pair) {
    pair.far.write_all(b"answer").unwrap();
    let record = pair.raw.record().unwrap().unwrap();
    assert_eq!((record.kind, &record.content[..]), (HANDSHAKE, UPDATE));
    pair.raw.rx.update();
    let record = pair.raw.record().unwrap().unwrap();
    assert_eq!(
        (record.kind, &record.content[..]),
        (APPLICATION_DATA, &b"answer"[..])
    );
}

#[test]
fn a_request_for_new_keys_is_answered_before_the_next_data_by_a_change_that_asks_for_none() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        pair.raw.update(UPDATE_BOTH).unwrap();
        pair.up(b"with new keys");
        is_answered(pair);
        pair.down(b"with the same keys");
    });
}

#[test]
fn a_change_of_keys_that_asks_for_none_is_not_answered() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        pair.raw.update(UPDATE).unwrap();
        pair.up(b"with new keys");
        pair.down(b"with the old ones");
        pair.down(b"and these");
        assert_eq!(pair.raw.updates, 0);
    });
}

#[test]
fn keys_change_again_and_again_in_every_suite() {
    let version: &SupportedProtocolVersion = &TLS13;
    let mut suites = every_suite();
    suites.retain(|suite| suite.version() == version);
    assert_eq!(suites.len(), 3);
    let bench = Bench::new();
    bench.lives(&suites, |pair| {
        for _ in 0..20 {
            for message in [UPDATE, UPDATE_BOTH] {
                pair.raw.update(message).unwrap();
                pair.up(b"up");
                pair.down(b"down");
            }
        }
        assert_eq!(pair.raw.updates, 20);
    });
}

#[test]
fn a_change_of_keys_between_two_records_of_one_segment_is_followed() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        let tx = &mut pair.raw.tx;
        let mut bytes = Vec::new();
        for message in [UPDATE, UPDATE_BOTH, UPDATE] {
            bytes.extend(tx.seal(APPLICATION_DATA, b"old"));
            bytes.extend(tx.seal_update(message));
            bytes.extend(tx.seal(APPLICATION_DATA, b"new"));
        }
        pair.raw.write(&bytes).unwrap();
        pair.far_hears(b"oldnewoldnewoldnew");
    });
}

#[test]
fn a_change_of_keys_that_asks_for_anything_else_is_illegal() {
    let bench = Bench::new();
    for value in [2, 255] {
        bench.dies(ONLY_13, AlertDescription::IllegalParameter, |pair| {
            pair.raw.update(&[24, 0, 0, 1, value]).unwrap();
        });
    }
}

#[test]
fn a_change_of_keys_of_another_length_cannot_be_read() {
    let bench = Bench::new();
    for message in [&[24, 0, 0, 0][..], &[24, 0, 0, 2, 0, 0]] {
        bench.dies(ONLY_13, AlertDescription::DecodeError, |pair| {
            pair.raw.update(message).unwrap();
        });
    }
}

/// RFC 8446 §5.1: a record must not hold messages on both sides of a change of keys.
#[test]
fn a_change_of_keys_with_bytes_behind_it_in_its_record_is_refused() {
    let bench = Bench::new();
    for more in [&[0][..], UPDATE, &[4, 0, 0, 1]] {
        bench.dies(ONLY_13, AlertDescription::UnexpectedMessage, |pair| {
            pair.raw.update(&[UPDATE, more].concat()).unwrap();
        });
    }
}

#[test]
fn a_change_of_keys_may_be_split_over_records() {
    let bench = Bench::new();
    for split in 1..UPDATE.len() {
        for together in [true, false] {
            bench.lives(ONLY_13, |pair| {
                let first = pair.raw.tx.seal(HANDSHAKE, &UPDATE_BOTH[..split]);
                let second = pair.raw.tx.seal_update(&UPDATE_BOTH[split..]);
                if together {
                    pair.raw.write(&[first, second].concat()).unwrap();
                } else {
                    pair.raw.write(&first).unwrap();
                    pair.down(b"with the old keys");
                    pair.raw.write(&second).unwrap();
                }
                pair.up(b"with new keys");
                is_answered(pair);
            });
        }
    }
}

#[test]
fn a_change_of_keys_with_data_between_its_halves_is_refused() {
    let bench = Bench::new();
    bench.dies(ONLY_13, AlertDescription::UnexpectedMessage, |pair| {
        pair.raw.send(HANDSHAKE, &UPDATE[..2]).unwrap();
        pair.raw.say(b"between").unwrap();
    });
}

#[test]
fn a_record_with_the_old_keys_behind_a_change_is_a_bad_mac() {
    let bench = Bench::new();
    bench.dies(ONLY_13, AlertDescription::BadRecordMac, |pair| {
        let mut old = pair.raw.tx.clone();
        pair.raw.update(UPDATE).unwrap();
        old.sequence += 1;
        let record = old.seal(APPLICATION_DATA, b"old");
        pair.raw.write(&record).unwrap();
    });
}

#[test]
fn new_keys_before_they_were_announced_are_a_bad_mac() {
    let bench = Bench::new();
    bench.dies(ONLY_13, AlertDescription::BadRecordMac, |pair| {
        pair.raw.tx.update();
        pair.raw.say(b"new").unwrap();
    });
}

#[test]
fn tls_1_2_has_no_change_of_keys() {
    let bench = Bench::new();
    bench.dies(ONLY_12, AlertDescription::UnexpectedMessage, |pair| {
        pair.raw.send(HANDSHAKE, UPDATE_BOTH).unwrap();
    });
}

/// Records that change keys several times, and something said with the last.
fn changes(tx: &mut Direction) -> Vec<u8> {
    [
        tx.seal_update(UPDATE),
        tx.seal(APPLICATION_DATA, b"one"),
        tx.seal_update(UPDATE_BOTH),
        tx.seal_update(UPDATE),
        tx.seal(APPLICATION_DATA, b"two"),
    ]
    .concat()
}

#[test]
fn keys_may_change_right_behind_finished_in_its_segment() {
    let bench = Bench::new();
    let socket = bench.dial(Leg::Client);
    let raw = RawTls::connect_behind(socket, ONLY_13[0], changes).unwrap();
    let far = bench.server(Leg::Client).accept().unwrap();
    let leg = Leg::Client;
    let mut pair = Pair { raw, far, leg };
    pair.far_hears(b"onetwo");
    for _ in 0..3 {
        pair.raw.update(UPDATE_BOTH).unwrap();
        pair.up(b"more");
        pair.down(b"later");
    }
    // The first was asked for with `Finished`, and may be answered with the second.
    assert!((3..=4).contains(&pair.raw.updates), "{}", pair.raw.updates);
    bench.finish(pair);
}

#[test]
fn keys_may_change_before_anything_else_is_said() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        let bytes = changes(&mut pair.raw.tx);
        pair.raw.write(&bytes).unwrap();
        pair.far_hears(b"onetwo");
        pair.down(b"answer");
        assert_eq!(pair.raw.updates, 1);
        pair.raw.update(UPDATE_BOTH).unwrap();
        pair.up(b"more");
        pair.down(b"answer");
        assert_eq!(pair.raw.updates, 2);
    });
}

#[test]
fn a_change_of_keys_may_be_padded() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        let record = pair.raw.tx.seal_padded(HANDSHAKE, UPDATE_BOTH, 1000);
        pair.raw.write(&record).unwrap();
        pair.raw.tx.update();
        pair.up(b"with new keys");
        is_answered(pair);
    });
}
