//! Changes of keys by the thousand, while data flows, and by a peer that does not read.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::AlertDescription;

use super::bench::{Bench, LEGS, ONLY_13, Pair};
use crate::support::{
    PATIENCE, process,
    raw_tls::{MAX_PLAIN, UPDATE, UPDATE_BOTH},
};

/// How many changes may follow each other without data between them.
const ALLOWED: usize = 32;

const MIB: usize = 1 << 20;

#[test]
fn a_few_requests_in_a_row_are_answered_by_one_change_or_more_before_the_next_data() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        for _ in 0..ALLOWED {
            pair.raw.update(UPDATE_BOTH).unwrap();
        }
        pair.up(b"with new keys");
        pair.down(b"with new keys too");
        assert!((1..=ALLOWED).contains(&pair.raw.updates));
    });
}

#[test]
fn a_thousand_requests_with_data_between_them_are_heeded() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        for _ in 0..1000 {
            pair.raw.update(UPDATE_BOTH).unwrap();
            pair.up(b"x");
        }
        pair.down(b"y");
        assert!((1..=1000).contains(&pair.raw.updates));
    });
}

/// So does a client that only takes, such as a dump or a replica, and whose library wants new keys for it.
#[test]
fn a_peer_that_only_reads_may_ask_for_new_keys_again_and_again() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        for number in 1..=100 {
            pair.raw.update(UPDATE_BOTH).unwrap();
            // What comes first may have been sealed before the request was read.
            while pair.raw.updates < number {
                pair.down(b"more");
            }
        }
    });
}

#[test]
fn a_thousand_requests_with_nothing_between_them_end_the_session() {
    let bench = Bench::new();
    for leg in LEGS {
        let mut pair = bench.open(leg, ONLY_13[0]);
        let requests: Vec<u8> = (0..1000)
            .flat_map(|_| pair.raw.tx.seal_update(UPDATE_BOTH))
            .collect();
        pair.raw.write(&requests).unwrap();
        let unexpected = AlertDescription::UnexpectedMessage;
        bench.is_ended(pair, &[unexpected]);
    }
}

/// Returns bytes that differ at each place within a long way.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    let mut bytes = (0..=250).collect::<Vec<u8>>().repeat(length / 251 + 1);
    bytes.truncate(length);
    bytes
}

/// Reads so many bytes of the pattern in a thread of its own.
fn hear_pattern(socket: &TcpStream, length: usize) -> JoinHandle<()> {
    let mut socket = socket.try_clone().unwrap();
    thread::spawn(move || {
        let mut heard = vec![0; length];
        socket.read_exact(&mut heard).unwrap();
        assert!(heard == pattern(length), "{length} bytes came changed");
    })
}

/// Sends so many bytes of the pattern in a thread of its own.
fn say_pattern(socket: &TcpStream, length: usize) -> JoinHandle<()> {
    let mut socket = socket.try_clone().unwrap();
    thread::spawn(move || socket.write_all(&pattern(length)).unwrap())
}

#[test]
fn keys_change_on_both_sides_while_data_floods_both_ways() {
    const ALL: usize = 8 * MIB;
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        let threads = [hear_pattern(&pair.far, ALL), say_pattern(&pair.far, ALL)];
        let mut reading = pair.raw.reading_half().unwrap();
        let read = thread::spawn(move || {
            let heard = reading.hear_data(ALL).unwrap();
            assert!(heard == pattern(ALL), "the flood came changed");
            (reading.updates, reading.rx)
        });
        let mut updates = 0;
        for (number, content) in pattern(ALL).chunks(MAX_PLAIN).enumerate() {
            pair.raw.say(content).unwrap();
            if number % 4 == 0 {
                let message = if number % 8 == 0 { UPDATE_BOTH } else { UPDATE };
                pair.raw.update(message).unwrap();
                updates += usize::from(message == UPDATE_BOTH);
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let (heard, rx) = read.join().unwrap();
        pair.raw.rx = rx;
        // The last of what the daemon said may have gone before the first request was read.
        assert!(heard <= updates, "{heard} of {updates}");
    });
}

/// Writes to a connection until the other end takes no more; returns how much it took.
pub(super) fn fill(socket: &mut TcpStream) -> usize {
    let block = pattern(251 * 1000);
    let mut poured = 0;
    let stuck = Duration::from_millis(500);
    socket.set_write_timeout(Some(stuck)).unwrap();
    loop {
        match socket.write(&block[poured % 251..]) {
            Ok(written) => poured += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    poured
}

/// Returns how much memory a worker uses, in bytes.
fn memory(bench: &Bench) -> usize {
    let worker = bench.daemon().workers()[0];
    let line = process::status_line(worker, "VmRSS").unwrap();
    let kib: usize = line.split(' ').next().unwrap().parse().unwrap();
    kib * 1024
}

/// Asks for new keys so often, with a byte after each request, while the daemon can send nothing.
fn ask_without_reading(bench: &Bench, pair: &mut Pair, requests: usize) {
    let poured = fill(&mut pair.far);
    let before = memory(bench);
    for _ in 0..requests {
        pair.raw.update(UPDATE_BOTH).unwrap();
        pair.up(b"x");
    }
    let grown = memory(bench).saturating_sub(before);
    assert!(grown < MIB, "{grown} bytes for {requests} requests");
    let heard = pair.raw.hear_data(poured).unwrap();
    assert!(heard == pattern(poured), "{poured} bytes came changed");
}

#[test]
fn a_peer_that_does_not_read_is_owed_one_change_of_keys_however_many_it_asks_for() {
    let bench = Bench::new();
    bench.lives(ONLY_13, |pair| {
        ask_without_reading(&bench, pair, 5000);
        pair.down(b"y");
        // A few may have been sent before the daemon could send nothing more.
        assert!((1..=50).contains(&pair.raw.updates), "{}", pair.raw.updates);
    });
}
