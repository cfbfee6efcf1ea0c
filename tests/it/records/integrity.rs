//! Records that were changed, repeated, left out or cut on their way.

use rustls::AlertDescription;

use super::{
    bench::{BOTH, Bench, LEGS},
    key_update_floods::{fill, pattern},
};
use crate::support::raw_tls::{APPLICATION_DATA, FATAL, RawTls};

fn seal(raw: &mut RawTls, content: &[u8]) -> Vec<u8> {
    raw.tx.seal(APPLICATION_DATA, content)
}

#[test]
fn a_record_with_a_byte_changed_is_a_bad_mac_and_the_other_side_is_told() {
    let bench = Bench::new();
    // The first byte behind the head, one in the middle, and the last of the tag.
    for position in [5, 30, usize::MAX] {
        bench.dies(BOTH, AlertDescription::BadRecordMac, |pair| {
            let mut record = seal(&mut pair.raw, &[b'x'; 100]);
            let position = position.min(record.len() - 1);
            record[position] ^= 1;
            pair.raw.write(&record).unwrap();
        });
    }
}

#[test]
fn what_came_before_a_bad_record_is_passed_on() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::BadRecordMac, |pair| {
        let records = seal(&mut pair.raw, b"good");
        let mut bad = seal(&mut pair.raw, b"bad");
        bad[8] ^= 1;
        pair.raw.write(&records).unwrap();
        pair.far_hears(b"good");
        pair.raw.write(&bad).unwrap();
    });
}

#[test]
fn a_record_that_comes_twice_is_a_bad_mac() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::BadRecordMac, |pair| {
        let record = seal(&mut pair.raw, b"once");
        pair.raw.write(&record).unwrap();
        pair.far_hears(b"once");
        pair.raw.write(&record).unwrap();
    });
}

#[test]
fn a_record_that_was_left_out_makes_the_next_a_bad_mac() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::BadRecordMac, |pair| {
        seal(&mut pair.raw, b"left out");
        let second = seal(&mut pair.raw, b"second");
        pair.raw.write(&second).unwrap();
    });
}

#[test]
fn a_record_that_is_shorter_than_a_tag_is_a_bad_mac() {
    let bench = Bench::new();
    for length in [0, 1, 7, 8, 15, 16, 23] {
        bench.dies(BOTH, AlertDescription::BadRecordMac, |pair| {
            let head = [APPLICATION_DATA, 3, 3, 0, length];
            let body = vec![7; usize::from(length)];
            pair.raw.write(&[&head[..], &body].concat()).unwrap();
        });
    }
}

/// Its end may have been cut off by anybody on the way.
#[test]
fn nothing_of_a_record_without_its_end_is_passed_on() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            for cut in [1, 4, 5, 6, 50] {
                let mut pair = bench.open(leg, *suite);
                pair.up(b"whole");
                let record = seal(&mut pair.raw, &[b'x'; 100]);
                pair.raw.write(&record[..cut]).unwrap();
                pair.raw.shut_down().unwrap();
                pair.far_ends();
                // The other side has its say still, as after every end.
                pair.down(b"goodbye");
                drop(pair.far);
                let end = pair.raw.end().unwrap();
                assert_eq!(end.data, b"");
                bench.counts(pair.leg, &pair.leg.reason("closed"));
            }
        }
    }
}

#[test]
fn a_connection_that_is_reset_within_a_record_is_lost() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            let mut pair = bench.open(leg, *suite);
            let record = seal(&mut pair.raw, &[b'x'; 100]);
            pair.raw.write(&record[..50]).unwrap();
            let socket = socket2::SockRef::from(&pair.raw.socket);
            socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(pair.raw);
            assert_eq!(
                crate::support::raw_tls::rest(&mut pair.far).unwrap(),
                b"",
                "nothing of it"
            );
            bench.counts(pair.leg, &pair.leg.reason("lost"));
        }
    }
}

/// What waits for it is thrown away, and the alert with it; but nothing stands in the middle of that.
#[test]
fn a_peer_that_has_not_read_for_long_hears_no_rubbish_when_its_record_is_a_bad_mac() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in BOTH {
            let mut pair = bench.open(leg, *suite);
            let poured = fill(&mut pair.far);
            let mut record = seal(&mut pair.raw, b"bad");
            record[8] ^= 1;
            pair.raw.write(&record).unwrap();
            bench.counts(pair.leg, &pair.leg.reason("tls"));
            let end = pair.raw.end().unwrap();
            let told = [(FATAL, AlertDescription::BadRecordMac)];
            assert!(
                end.alerts.is_empty() || end.alerts == told,
                "{:?}",
                end.alerts
            );
            assert!(end.data.len() <= poured);
            let expected = pattern(end.data.len());
            assert!(
                end.data == expected,
                "{} bytes came changed",
                end.data.len()
            );
        }
    }
}
