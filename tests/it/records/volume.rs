//! A lot of bytes both ways at once, in records of random lengths, in every suite.

use std::{
    io::{Read as _, Write as _},
    thread,
};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::SupportedCipherSuite;

use super::bench::{Bench, LEGS};
use crate::support::{
    pki::hex,
    raw_tls::{APPLICATION_DATA, MAX_PLAIN, RawTls, every_suite},
};

const ALL: usize = 64 << 20;

/// Numbers that are as good as random and the same in each run (xorshift64).
struct Lengths(u64);

impl Lengths {
    /// Returns the next length, of which a third is short and some are as long as a record may be.
    fn next(&mut self) -> usize {
        for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left {
                self.0 << shift
            } else {
                self.0 >> shift
            };
        }
        let most = match self.0 % 3 {
            0 => 100,
            1 => MAX_PLAIN,
            _ => 2 * MAX_PLAIN,
        };
        let most = u64::try_from(most).unwrap();
        let length = usize::try_from(1 + (self.0 >> 8) % most).unwrap();
        length.min(MAX_PLAIN)
    }
}

fn block() -> Vec<u8> {
    (0..=250).cycle().take(MAX_PLAIN + 1000).collect()
}

/// Calls `write` with pieces of random lengths of a stream; returns its digest.
fn pour(seed: u64, mut write: impl FnMut(&[u8])) -> String {
    let (mut lengths, mut digest) = (Lengths(seed), Context::new(&SHA256));
    let (block, mut left) = (block(), ALL);
    while left > 0 {
        let length = lengths.next().min(left);
        let piece = &block[left % 1000..][..length];
        write(piece);
        digest.update(piece);
        left -= length;
    }
    hex(digest.finish().as_ref())
}

/// Calls `read` until all has come; returns its digest.
fn take(mut read: impl FnMut() -> Vec<u8>) -> String {
    let (mut digest, mut left) = (Context::new(&SHA256), ALL);
    while left > 0 {
        let piece = read();
        digest.update(&piece);
        left -= piece.len();
    }
    hex(digest.finish().as_ref())
}

/// Moves the bytes of a session both ways at once, on each leg.
fn come_whole(name: &str) {
    let suites: Vec<SupportedCipherSuite> = every_suite()
        .into_iter()
        .filter(|suite| format!("{:?}", suite.suite()).contains(name))
        .collect();
    assert_eq!(suites.len(), 1, "{name}");
    let bench = Bench::for_every_suite();
    for leg in LEGS {
        let mut pair = bench.open(leg, suites[0]);
        let mut reading: RawTls = pair.raw.reading_half().unwrap();
        let (mut far_in, mut far_out) =
            (pair.far.try_clone().unwrap(), pair.far.try_clone().unwrap());
        let down = thread::spawn(move || pour(1, |piece| far_out.write_all(piece).unwrap()));
        let up = thread::spawn(move || {
            let mut space = vec![0; 65_536];
            take(|| {
                let read = far_in.read(&mut space).unwrap();
                assert_ne!(read, 0, "it ended early");
                space[..read].to_vec()
            })
        });
        let came_down = thread::spawn(move || {
            let digest = take(|| {
                let record = reading.record().unwrap().expect("more records");
                assert_eq!(record.kind, APPLICATION_DATA);
                record.content
            });
            (digest, reading.rx)
        });
        let sent_up = pour(2, |piece| pair.raw.say(piece).unwrap());
        assert_eq!(sent_up, up.join().unwrap());
        let (came_down, rx) = came_down.join().unwrap();
        assert_eq!(down.join().unwrap(), came_down);
        pair.raw.rx = rx;
        bench.finish(pair);
    }
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_3_aes_128_gcm() {
    come_whole("TLS13_AES_128_GCM");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_3_aes_256_gcm() {
    come_whole("TLS13_AES_256_GCM");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_3_chacha20_poly1305() {
    come_whole("TLS13_CHACHA20");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_2_ecdsa_aes_128_gcm() {
    come_whole("ECDSA_WITH_AES_128_GCM");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_2_ecdsa_aes_256_gcm() {
    come_whole("ECDSA_WITH_AES_256_GCM");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_2_ecdsa_chacha20_poly1305() {
    come_whole("ECDSA_WITH_CHACHA20");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_2_rsa_aes_128_gcm() {
    come_whole("RSA_WITH_AES_128_GCM");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_2_rsa_aes_256_gcm() {
    come_whole("RSA_WITH_AES_256_GCM");
}

#[test]
fn sixty_four_mebibytes_come_whole_both_ways_over_tls_1_2_rsa_chacha20_poly1305() {
    come_whole("RSA_WITH_CHACHA20");
}
