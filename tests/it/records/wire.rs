//! Records in pieces and in heaps.

use super::bench::{BOTH, Bench, Pair};
use crate::support::raw_tls::{APPLICATION_DATA, MAX_PLAIN};

/// Returns bytes that follow each other, so that none is lost, doubled or moved unseen.
fn counted(length: usize) -> Vec<u8> {
    let mut bytes = (0..=250).collect::<Vec<u8>>().repeat(length / 251 + 1);
    bytes.truncate(length);
    bytes
}

fn seal_each(pair: &mut Pair, contents: &[&[u8]]) -> Vec<u8> {
    let seal = |content: &&[u8]| pair.raw.tx.seal(APPLICATION_DATA, content);
    contents.iter().flat_map(seal).collect()
}

#[test]
fn records_may_come_byte_by_byte() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        let records = seal_each(pair, &[b"a", b"bcd", b"", b"efghi"]);
        for byte in records {
            pair.raw.write(&[byte]).unwrap();
        }
        pair.far_hears(b"abcdefghi");
    });
}

/// Each piece is read before the next is sent, as the answers show.
#[test]
fn a_record_may_be_torn_anywhere() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        let length = seal_each(pair, &[b"torn"]).len();
        // The first was never sent.
        pair.raw.tx.sequence -= 1;
        for at in 1..length {
            let record = seal_each(pair, &[b"torn"]);
            pair.raw.write(&record[..at]).unwrap();
            pair.down(b"read");
            pair.raw.write(&record[at..]).unwrap();
            pair.far_hears(b"torn");
        }
    });
}

#[test]
fn the_tail_of_a_record_may_come_with_the_head_of_the_next() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        let expected = counted(40 * 999);
        let contents: Vec<_> = expected.chunks(999).collect();
        let records = seal_each(pair, &contents);
        for piece in records.chunks(700) {
            pair.raw.write(piece).unwrap();
        }
        pair.far_hears(&expected);
    });
}

#[test]
fn two_hundred_records_may_come_in_one_segment() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        let expected = counted(200 * 50);
        let contents: Vec<_> = expected.chunks(50).collect();
        let records = seal_each(pair, &contents);
        // The most that a segment over the loopback takes (its MTU is 65,536).
        assert!(records.len() < 65_000);
        pair.raw.write(&records).unwrap();
        pair.far_hears(&expected);
    });
}

#[test]
fn fifty_thousand_records_of_one_byte_come_whole() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        let expected = counted(50_000);
        for heap in expected.chunks(1000) {
            let contents: Vec<_> = heap.chunks(1).collect();
            let records = seal_each(pair, &contents);
            pair.raw.write(&records).unwrap();
            pair.far_hears(heap);
        }
    });
}

#[test]
fn records_of_every_length_up_to_a_thousand_and_around_the_most_come_whole() {
    let bench = Bench::new();
    bench.lives(BOTH, |pair| {
        let all = counted(MAX_PLAIN);
        for length in (1..1000).chain(MAX_PLAIN - 20..=MAX_PLAIN) {
            pair.raw.say(&all[..length]).unwrap();
            pair.far_hears(&all[..length]);
        }
    });
}
