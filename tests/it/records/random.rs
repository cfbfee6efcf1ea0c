//! Sessions of all that is allowed, at random, in every suite: whatever comes before what, the bytes
//! come whole and the daemon goes on.

use rustls::AlertDescription;

use super::bench::{Bench, LEGS, Leg, Pair};
use crate::support::raw_tls::{
    APPLICATION_DATA, HANDSHAKE, MAX_PLAIN, UPDATE, UPDATE_BOTH, every_suite,
};

/// Steps of a session.
const STEPS: usize = 200;

/// Numbers that are as good as random and the same in each run (xorshift64).
struct Random(u64);

impl Random {
    /// Returns a number below another.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit).unwrap();
        usize::try_from(self.0 % limit).unwrap()
    }

    /// Returns a length up to this; short ones come more often.
    fn length(&mut self, most: usize) -> usize {
        match self.below(4) {
            0 => self.below(most) + 1,
            1 => most,
            _ => self.below(most.min(50)) + 1,
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let start = self.0;
        let byte = |at: usize| {
            start
                .rotate_left(u32::try_from(at % 61).unwrap())
                .to_le_bytes()[0]
        };
        (0..length).map(byte).collect()
    }
}

/// What was sealed and not sent yet, and what of it has to come out on the other side.
#[derive(Default)]
struct Waiting {
    sealed: Vec<u8>,
    plain: Vec<u8>,
    /// Empty records since the last that was not, of which only some may follow each other.
    empty: usize,
    /// Changes of keys since the last data.
    updates: usize,
}

impl Waiting {
    /// Adds one thing that a peer may do.
    fn step(&mut self, random: &mut Random, pair: &mut Pair) {
        let is_tls13 = pair.raw.is_tls13();
        let tx = &mut pair.raw.tx;
        match random.below(10) {
            0 if self.empty < 32 => {
                self.empty += 1;
                self.sealed.extend(tx.seal(APPLICATION_DATA, b""));
            }
            1 | 2 if is_tls13 && self.updates < 32 => {
                self.updates += 1;
                self.empty = 0;
                let asks = random.below(2) == 0;
                let message = if asks { UPDATE_BOTH } else { UPDATE };
                if random.below(3) == 0 {
                    let (first, second) = message.split_at(1 + random.below(4));
                    self.sealed.extend(tx.seal(HANDSHAKE, first));
                    self.sealed.extend(tx.seal_update(second));
                } else {
                    self.sealed.extend(tx.seal_update(message));
                }
            }
            3 if is_tls13 && pair.leg == Leg::Backend => {
                self.empty = 0;
                let ticket = ticket(random.length(2000));
                for fragment in ticket.chunks(random.length(ticket.len())) {
                    self.sealed.extend(tx.seal(HANDSHAKE, fragment));
                }
            }
            4 | 5 if is_tls13 => {
                let content = data(random, self);
                let padding = random.below(MAX_PLAIN + 1 - content.len());
                let record = tx.seal_padded(APPLICATION_DATA, &content, padding);
                self.sealed.extend(record);
            }
            6 if !is_tls13 => {
                let content = data(random, self);
                // Sequence numbers count up from 0, so that these are none of them.
                let explicit = !tx.sequence;
                let explicit = explicit.to_be_bytes();
                let record = tx.seal_explicit(APPLICATION_DATA, &content, explicit);
                self.sealed.extend(record);
            }
            _ => {
                let content = data(random, self);
                self.sealed.extend(tx.seal(APPLICATION_DATA, &content));
            }
        }
    }

    /// Sends it in pieces of random lengths, and sees what comes out.
    fn send(&mut self, random: &mut Random, pair: &mut Pair) {
        let mut rest = &self.sealed[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(random.length(rest.len()));
            pair.raw.write(piece).unwrap();
            rest = behind;
        }
        pair.far_hears(&self.plain);
        self.sealed.clear();
        self.plain.clear();
    }
}

fn data(random: &mut Random, waiting: &mut Waiting) -> Vec<u8> {
    let length = random.length(MAX_PLAIN);
    let content = random.bytes(length);
    waiting.plain.extend(&content);
    (waiting.empty, waiting.updates) = (0, 0);
    content
}

/// Returns a message with a ticket of this length (RFC 8446 §4.6.1).
fn ticket(length: usize) -> Vec<u8> {
    let ticket = vec![b't'; length];
    let head = [&[0, 0, 2, 0][..], &[1, 2, 3, 4], &[1, 0]].concat();
    let length = u16::try_from(length).unwrap().to_be_bytes();
    let body = [&head[..], &length, &ticket, &[0, 0]].concat();
    let [high, low] = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[4, 0, high, low][..], &body].concat()
}

fn talk(random: &mut Random, pair: &mut Pair) {
    let mut waiting = Waiting::default();
    for _ in 0..STEPS {
        waiting.step(random, pair);
        if random.below(3) == 0 {
            waiting.send(random, pair);
        }
        if random.below(4) == 0 {
            let words = random.length(3 * MAX_PLAIN);
            pair.down(&random.bytes(words));
        }
    }
    waiting.send(random, pair);
}

#[test]
fn whatever_is_allowed_may_come_in_any_order_in_every_suite() {
    let bench = Bench::for_every_suite();
    let mut random = Random(0x2026_1128);
    for leg in LEGS {
        for suite in every_suite() {
            let mut pair = bench.open(leg, suite);
            talk(&mut random, &mut pair);
            bench.finish(pair);
        }
    }
}

#[test]
fn a_bad_record_ends_a_session_wherever_it_stands() {
    let bench = Bench::for_every_suite();
    let mut random = Random(0x1128_2026);
    for leg in LEGS {
        for suite in every_suite() {
            let mut pair = bench.open(leg, suite);
            talk(&mut random, &mut pair);
            let length = random.length(MAX_PLAIN);
            let mut record = pair.raw.tx.seal(APPLICATION_DATA, &random.bytes(length));
            let at = 5 + random.below(record.len() - 5);
            record[at] ^= 1 << random.below(8);
            pair.raw.write(&record).unwrap();
            bench.is_ended(pair, &[AlertDescription::BadRecordMac]);
        }
    }
}
