//! Padding of TLS 1.3 (RFC 8446 §5.4).

use rustls::AlertDescription;

use super::bench::{Bench, ONLY_13};
use crate::support::raw_tls::{ALERT, APPLICATION_DATA, HANDSHAKE, MAX_PLAIN};

#[test]
fn padding_of_any_length_is_taken_off() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        for padding in [1, 2, 15, 16, 17, 255, 256, 1000, MAX_PLAIN - 3] {
            let record = pair.raw.tx.seal_padded(APPLICATION_DATA, b"abc", padding);
            pair.raw.write(&record).unwrap();
            pair.far_hears(b"abc");
        }
    });
}

#[test]
fn zeros_at_the_end_of_the_content_are_no_padding() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        let record = pair.raw.tx.seal_padded(APPLICATION_DATA, b"abc\0\0\0", 5);
        pair.raw.write(&record).unwrap();
        pair.far_hears(b"abc\0\0\0");
        pair.up(&[0; 100]);
    });
}

#[test]
fn content_and_padding_may_fill_a_record() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        for content in [1, 100, MAX_PLAIN - 1, MAX_PLAIN] {
            let content = vec![b'x'; content];
            let padding = MAX_PLAIN - content.len();
            let tx = &mut pair.raw.tx;
            let record = tx.seal_padded(APPLICATION_DATA, &content, padding);
            pair.raw.write(&record).unwrap();
            pair.far_hears(&content);
        }
    });
}

#[test]
fn one_zero_more_than_a_record_may_hold_is_an_overflow() {
    let bench = Bench::new();
    for content in [0, 1, 100, MAX_PLAIN] {
        bench.dies(ONLY_13, AlertDescription::RecordOverflow, |pair| {
            let content = vec![b'x'; content];
            let padding = MAX_PLAIN + 1 - content.len();
            let tx = &mut pair.raw.tx;
            let record = tx.seal_padded(APPLICATION_DATA, &content, padding);
            pair.raw.write(&record).unwrap();
        });
    }
}

#[test]
fn a_record_of_nothing_but_zeros_is_refused() {
    let bench = Bench::new();
    for length in [1, 100, MAX_PLAIN, MAX_PLAIN + 1] {
        bench.dies(ONLY_13, AlertDescription::UnexpectedMessage, |pair| {
            let inner = vec![0; length];
            let record = pair.raw.tx.seal_inner(APPLICATION_DATA, &inner);
            pair.raw.write(&record).unwrap();
        });
    }
}

/// Not even the type is there.
#[test]
fn a_record_of_nothing_at_all_is_refused() {
    let bench = Bench::new();
    bench.dies(ONLY_13, AlertDescription::UnexpectedMessage, |pair| {
        let record = pair.raw.tx.seal_inner(APPLICATION_DATA, b"");
        pair.raw.write(&record).unwrap();
    });
}

#[test]
fn padding_alone_does_not_make_an_empty_message_one() {
    let bench = Bench::new();
    for kind in [ALERT, HANDSHAKE] {
        bench.dies(ONLY_13, AlertDescription::UnexpectedMessage, |pair| {
            let record = pair.raw.tx.seal_padded(kind, b"", 100);
            pair.raw.write(&record).unwrap();
        });
    }
}

#[test]
fn an_end_may_be_padded() {
    let bench = Bench::new();
    for leg in super::bench::LEGS {
        let mut pair = bench.open(leg, ONLY_13[0]);
        let record = pair.raw.tx.seal_padded(ALERT, &[1, 0], 1000);
        pair.raw.write(&record).unwrap();
        bench.ends_well(pair);
    }
}
