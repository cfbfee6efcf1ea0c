//! The nonces of TLS 1.2 with AES-GCM, of which half stands in each record (RFC 5288 §3).

use std::{collections::HashSet, io::Write as _};

use rustls::{CipherSuite, SupportedCipherSuite, version::TLS12};

use super::bench::{Bench, LEGS};
use crate::support::raw_tls::{APPLICATION_DATA, every_suite};

fn suites() -> Vec<SupportedCipherSuite> {
    let mut suites = every_suite();
    suites.retain(|it| it.version() == &TLS12 && name(it.suite()).contains("_GCM_"));
    assert_eq!(suites.len(), 4);
    suites
}

fn name(suite: CipherSuite) -> String {
    format!("{suite:?}")
}

#[test]
fn a_peer_may_choose_any_explicit_nonces() {
    let bench = Bench::for_every_suite();
    bench.lives(&suites(), |pair| {
        let descending = (0..20).map(|number| u64::MAX - number);
        let scattered = (1_u64..20).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for explicit in descending.chain(scattered) {
            let explicit = explicit.to_be_bytes();
            let tx = &mut pair.raw.tx;
            let record = tx.seal_explicit(APPLICATION_DATA, b"data", explicit);
            pair.raw.write(&record).unwrap();
            pair.far_hears(b"data");
        }
    });
}

#[test]
fn the_daemon_uses_no_explicit_nonce_twice() {
    const RECORDS: usize = 1000;
    let bench = Bench::for_every_suite();
    for leg in LEGS {
        for suite in suites() {
            let mut pair = bench.open(leg, suite);
            let mut seen = HashSet::new();
            for _ in 0..RECORDS {
                pair.far.write_all(b"x").unwrap();
                let record = pair.raw.sealed_record().unwrap().unwrap();
                seen.insert(record[5..13].to_vec());
            }
            assert_eq!(seen.len(), RECORDS);
        }
    }
}
