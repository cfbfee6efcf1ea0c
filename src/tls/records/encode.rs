//! The state of a session as bytes, and back.
//!
//! The bytes have no version of their own; the session's record, in which they stand, has one. All numbers are
//! big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | number of the cipher suite |
//! | 1 | flags: 1 server, 2 peer closed, 4 own end sent, 8 `KeyUpdate` owed |
//! | 4 | warnings, renegotiations, `KeyUpdate` messages, empty records that may still come |
//! | 5 | where the reading of handshake messages is |
//! | 8, 8 | sending: number of the next record, blocks protected |
//! | | TLS 1.3: traffic secret; TLS 1.2: key, nonce of 12 bytes |
//! | | receiving: the same |
//!
//! Key and nonce of TLS 1.3 come from the traffic secret. What comes in is believed only as far as it
//! can be true.

use zeroize::Zeroizing;

use super::{
    key,
    message::{Kind, MAX_BODY, Reading},
    state::{Counters, Half, MAX_SECRET, NONCE_LEN, Role, State, StateError},
    suite::{Suite, Version},
};

/// The most bytes that a state takes.
pub const MAX_LEN: usize = 12 + 2 * (16 + MAX_SECRET);

/// The bytes of what moves in a state: flags, counters and reading as above, and of each direction the number of the
/// next record and the blocks protected.
pub const MOVING_LEN: usize = 1 + 4 + 5 + 2 * 16;

const SERVER: u8 = 1;
const PEER_CLOSED: u8 = 2;
const SENT_CLOSE: u8 = 4;
const ANSWER_OWED: u8 = 8;
const ALL_FLAGS: u8 = SERVER | PEER_CLOSED | SENT_CLOSE | ANSWER_OWED;

impl State {
    /// Appends the state to `out`, at most [`MAX_LEN`] bytes. They are as secret as the session.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.suite.code.to_be_bytes());
        out.push(self.flags());
        out.extend_from_slice(&self.counters.to_bytes());
        out.extend_from_slice(&put_reading(self.reading));
        for half in [&self.sending, &self.receiving] {
            half.put(self.suite, out);
        }
    }

    /// Returns what changes with each record and not with the keys.
    pub fn moving(&self) -> [u8; MOVING_LEN] {
        let mut bytes = [0; MOVING_LEN];
        let (head, numbers) = bytes.split_at_mut(10);
        head[0] = self.flags();
        head[1..5].copy_from_slice(&self.counters.to_bytes());
        head[5..].copy_from_slice(&put_reading(self.reading));
        let [sending, receiving] = [&self.sending, &self.receiving];
        let all = [
            sending.sequence,
            sending.blocks,
            receiving.sequence,
            receiving.blocks,
        ];
        for (space, number) in numbers.chunks_exact_mut(8).zip(all) {
            space.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Returns the state with the keys of this one, and with what [`Self::moving`] of another one returned; fails if
    /// that is no part of a possible state.
    pub fn with_moving(mut self, moving: &[u8; MOVING_LEN]) -> Result<Self, StateError> {
        let mut rest = &moving[..];
        let [flags] = take(&mut rest)?;
        self.set_flags(flags)?;
        self.counters = take_counters(take(&mut rest)?)?;
        self.reading = take_reading(take(&mut rest)?)?;
        for half in [&mut self.sending, &mut self.receiving] {
            half.sequence = u64::from_be_bytes(take(&mut rest)?);
            half.blocks = u64::from_be_bytes(take(&mut rest)?);
        }
        self.check()?;
        Ok(self)
    }

    fn set_flags(&mut self, flags: u8) -> Result<(), StateError> {
        if flags & !ALL_FLAGS != 0 {
            return Err(StateError::Value("flag"));
        }
        self.role = match flags & SERVER {
            0 => Role::Client,
            _ => Role::Server,
        };
        self.peer_closed = flags & PEER_CLOSED != 0;
        self.sent_close = flags & SENT_CLOSE != 0;
        self.answer_owed = flags & ANSWER_OWED != 0;
        Ok(())
    }

    fn flags(&self) -> u8 {
        [
            (SERVER, self.role == Role::Server),
            (PEER_CLOSED, self.peer_closed),
            (SENT_CLOSE, self.sent_close),
            (ANSWER_OWED, self.answer_owed),
        ]
        .into_iter()
        .filter_map(|(flag, is_set)| is_set.then_some(flag))
        .sum()
    }

    /// Reads the state at the front of `bytes`; returns it and how many bytes it took.
    pub fn take(bytes: &[u8]) -> Result<(Self, usize), StateError> {
        let mut rest = bytes;
        let code = u16::from_be_bytes(take(&mut rest)?);
        let suite = Suite::find(code).ok_or(StateError::Suite(code))?;
        let [flags] = take(&mut rest)?;
        let mut state = Self {
            suite,
            role: Role::Client,
            counters: take_counters(take(&mut rest)?)?,
            reading: take_reading(take(&mut rest)?)?,
            sending: Half::take(suite, &mut rest)?,
            receiving: Half::take(suite, &mut rest)?,
            peer_closed: false,
            sent_close: false,
            answer_owed: false,
        };
        state.set_flags(flags)?;
        state.check()?;
        Ok((state, bytes.len() - rest.len()))
    }

    /// Checks that its parts can be true together.
    fn check(&self) -> Result<(), StateError> {
        let is_possible = match self.reading {
            Reading::Between | Reading::Head(..) => true,
            Reading::Body(kind, _) => matches!(
                (kind, self.version(), self.role),
                (Kind::KeyUpdate, Version::Tls13, _)
                    | (Kind::Ticket, Version::Tls13, Role::Client)
                    | (Kind::Renegotiation, Version::Tls12, Role::Server)
            ),
        };
        match self.version() {
            _ if !is_possible => Err(StateError::Value("handshake message")),
            Version::Tls12 if self.answer_owed => Err(StateError::Value("KeyUpdate")),
            _ => Ok(()),
        }
    }
}

impl Half {
    fn put(&self, suite: &Suite, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.blocks.to_be_bytes());
        if let Some(hash) = suite.hash {
            out.extend_from_slice(&self.secret[..hash.secret_len()]);
        } else {
            out.extend_from_slice(&self.key[..suite.aead.key_len()]);
            out.extend_from_slice(&self.iv);
        }
    }

    fn take(suite: &Suite, rest: &mut &[u8]) -> Result<Self, StateError> {
        let sequence = u64::from_be_bytes(take(rest)?);
        let blocks = u64::from_be_bytes(take(rest)?);
        let mut half = if let Some(hash) = suite.hash {
            key::of_secret(suite, hash, split(rest, hash.secret_len())?)?
        } else {
            let mut half = Self::default();
            let key = split(rest, suite.aead.key_len())?;
            half.key[..key.len()].copy_from_slice(key);
            half.iv = *Zeroizing::new(take::<NONCE_LEN>(rest)?);
            half
        };
        half.sequence = sequence;
        half.blocks = blocks;
        Ok(half)
    }
}

fn put_reading(reading: Reading) -> [u8; 5] {
    let body = |kind, missing: u32| {
        let [a, b, c, d] = missing.to_be_bytes();
        [kind, a, b, c, d]
    };
    match reading {
        Reading::Between => [0; 5],
        Reading::Head([a, b, c], have) => [have, a, b, c, 0],
        Reading::Body(Kind::KeyUpdate, missing) => body(4, missing),
        Reading::Body(Kind::Ticket, missing) => body(5, missing),
        Reading::Body(Kind::Renegotiation, missing) => body(6, missing),
    }
}

fn take_reading([tag, a, b, c, d]: [u8; 5]) -> Result<Reading, StateError> {
    let missing = u32::from_be_bytes([a, b, c, d]);
    let body = |kind, longest| match missing {
        1.. if missing <= longest => Ok(Reading::Body(kind, missing)),
        _ => Err(StateError::Value("handshake message")),
    };
    match tag {
        0 if missing == 0 => Ok(Reading::Between),
        1..=3 if d == 0 => Ok(Reading::Head([a, b, c], tag)),
        4 => body(Kind::KeyUpdate, 1),
        5 => body(Kind::Ticket, MAX_BODY),
        6 => body(Kind::Renegotiation, MAX_BODY),
        _ => Err(StateError::Value("handshake message")),
    }
}

fn take_counters(bytes: [u8; 4]) -> Result<Counters, StateError> {
    let [warnings, renegotiations, key_updates, empty_records] = bytes;
    let full = Counters::FULL;
    let is_possible = warnings <= full.warnings
        && renegotiations <= full.renegotiations
        && key_updates <= full.key_updates
        && empty_records <= full.empty_records;
    if !is_possible {
        return Err(StateError::Value("counter"));
    }
    Ok(Counters {
        warnings,
        renegotiations,
        key_updates,
        empty_records,
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StateError> {
    let (taken, behind) = rest.split_first_chunk().ok_or(StateError::Short)?;
    *rest = behind;
    Ok(*taken)
}

fn split<'b>(rest: &mut &'b [u8], length: usize) -> Result<&'b [u8], StateError> {
    let (taken, behind) = rest.split_at_checked(length).ok_or(StateError::Short)?;
    *rest = behind;
    Ok(taken)
}
