//! How long a record may be (RFC 8446 §5.1 and §5.2, RFC 5246 §6.2).

use rustls::AlertDescription;

use super::bench::{BOTH, Bench, ONLY_12, ONLY_13};
use crate::support::raw_tls::{APPLICATION_DATA, MAX_PLAIN};

#[test]
fn a_record_may_hold_16_384_bytes() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        for length in [1, 2, MAX_PLAIN - 1, MAX_PLAIN, MAX_PLAIN, 100] {
            pair.up(&vec![b'x'; length]);
        }
    });
}

#[test]
fn a_record_of_16_385_bytes_is_an_overflow() {
    let bench = Bench::new();
    bench.dies(BOTH, AlertDescription::RecordOverflow, |pair| {
        pair.raw.say(&vec![b'x'; MAX_PLAIN + 1]).unwrap();
    });
}

/// The head of a record of this length, and less of it than would be waited for.
fn announced(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    [&[APPLICATION_DATA, 3, 3, high, low][..], &[7; 100]].concat()
}

#[test]
fn a_head_that_announces_more_than_any_record_may_have_is_an_overflow_before_that_has_come() {
    let bench = Bench::new();
    // RFC 8446 §5.2: 256 bytes more than the plaintext; RFC 5246 §6.2.3: 2,048.
    for (suites, most) in [(ONLY_13, 16_384 + 256), (ONLY_12, 16_384 + 2048)] {
        for length in [most + 1, 40_000, u16::MAX] {
            bench.dies(suites, AlertDescription::RecordOverflow, |pair| {
                pair.raw.write(&announced(length)).unwrap();
            });
        }
    }
}
