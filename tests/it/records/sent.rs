//! The records that the daemon makes: their lengths, and what their heads say.

use std::{io::Write as _, thread};

use super::bench::{Bench, LEGS, Leg};
use crate::support::raw_tls::{APPLICATION_DATA, MAX_PLAIN, Record, every_suite};

/// Reads records until so much data has come.
fn records(pair: &mut super::bench::Pair, length: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let mut left = length;
    while left > 0 {
        let record = pair.raw.record().unwrap().unwrap();
        assert_eq!((record.kind, record.padding), (APPLICATION_DATA, 0));
        assert!(!record.content.is_empty());
        left -= record.content.len();
        records.push(record);
    }
    records
}

#[test]
fn a_small_write_makes_one_record_with_nothing_superfluous_in_every_suite() {
    let bench = Bench::for_every_suite();
    for leg in LEGS {
        for suite in every_suite() {
            let mut pair = bench.open(leg, suite);
            let name = format!("{:?}", suite.suite());
            // Head and tag, and the type inside or the explicit part of the nonce.
            let beside = match (pair.raw.is_tls13(), name.contains("CHACHA20")) {
                (true, _) => 5 + 1 + 16,
                (false, true) => 5 + 16,
                (false, false) => 5 + 8 + 16,
            };
            for length in [1, 2, 100, 1000, MAX_PLAIN] {
                pair.far.write_all(&vec![b'x'; length]).unwrap();
                let [record] = &records(&mut pair, length)[..] else {
                    panic!("{length} bytes came in several records");
                };
                assert_eq!(record.length, length + beside);
            }
        }
    }
}

#[test]
fn heads_say_application_data_and_tls_1_2() {
    let bench = Bench::new();
    for leg in LEGS {
        for suite in super::bench::BOTH {
            let mut pair = bench.open(leg, *suite);
            pair.far.write_all(b"hello").unwrap();
            let record = pair.raw.sealed_record().unwrap().unwrap();
            assert_eq!(record[..3], [APPLICATION_DATA, 3, 3]);
        }
    }
}

#[test]
fn a_lot_of_data_fills_records_and_none_is_longer_than_it_may_be() {
    const ALL: usize = 16 << 20;
    let bench = Bench::new();
    for leg in [Leg::Client, Leg::Backend] {
        for suite in super::bench::BOTH {
            let mut pair = bench.open(leg, *suite);
            let mut far = pair.far.try_clone().unwrap();
            let writer = thread::spawn(move || far.write_all(&vec![b'x'; ALL]).unwrap());
            let records = records(&mut pair, ALL);
            writer.join().unwrap();
            let longest = records.iter().map(|it| it.content.len()).max();
            assert_eq!(longest, Some(MAX_PLAIN));
            // Reads of a socket are of whole records as long as there is enough to read.
            let full = records.iter().filter(|it| it.content.len() == MAX_PLAIN);
            let full = full.count() * MAX_PLAIN;
            assert!(
                full > ALL * 3 / 4,
                "only {full} of {ALL} bytes in full records"
            );
        }
    }
}
