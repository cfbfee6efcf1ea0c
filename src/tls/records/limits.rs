//! How much one key may protect.
//!
//! The more blocks of 16 bytes AES-GCM has protected with one key, the more an attacker may learn: the
//! advantage grows with their square. RFC 8446 §5.5 lets a key protect 2^24.5 full records, which are
//! 2^34.5 blocks, for an advantage of 2^-57 (Luykx and Paterson, "Limits on Authenticated Encryption
//! Use in TLS").
//!
//! - TLS 1.3 renews a key before that, at 2^34 blocks (256 GiB), by a `KeyUpdate` (§4.6.3).
//! - TLS 1.2 cannot, and a limit like that would end replication and dumps within a day. There a
//!   key may protect 2^43 blocks (128 TiB), more than 10 Gbit/s bring in a day. That is 2^8.5 times as much,
//!   so the advantage is 2^17 times as large: 2^-40 when scaled from RFC 8446's figure, and 2^-43 by the
//!   bound (s + q + 1)² / 2^129 of draft-irtf-cfrg-aead-limits, section 5.1.
//! - ChaCha20-Poly1305 has no such limit; only the sequence number must not begin again.
//!
//! Each record counts two blocks more, as in that bound: one for what the tag covers beside the content
//! and one for the tag. So many small records count too.

use std::fmt;

use super::{
    Fault,
    state::{Half, State},
    suite::Version,
};

/// How much a key may protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Blocks of 16 bytes after which a sending key of TLS 1.3 with AES-GCM is renewed.
    pub renewed: u64,
    /// Blocks of 16 bytes after which a key of TLS 1.2 with AES-GCM must not be used any more.
    pub lasting: u64,
    /// Records after which no key is used any more; one of TLS 1.3 is renewed then.
    pub records: u64,
}

/// The limits of sessions.
///
/// Sequence numbers end a little before 2^64, so that an alert still has one (RFC 8446 §5.3).
pub const DEFAULT: Limits = Limits {
    renewed: 1 << 34,
    lasting: 1 << 43,
    records: u64::MAX - 0xffff,
};

/// One of the two keys of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The key that protects what is sent to the peer.
    Sending,
    /// The key that protects what the peer sends.
    Receiving,
}

/// What a key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// So many blocks of 16 bytes.
    Blocks(u64),
    /// So many records.
    Records(u64),
}

/// How far a key that cannot be renewed is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wear {
    /// Which key.
    pub key: Key,
    /// What it has protected.
    pub spent: Spent,
    /// What it may protect, in the same unit.
    pub limit: u64,
}

impl fmt::Display for Wear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.key {
            Key::Sending => "sending",
            Key::Receiving => "receiving",
        };
        match self.spent {
            Spent::Blocks(blocks) => {
                let gib = |blocks: u64| blocks >> 26;
                let limit = gib(self.limit);
                write!(f, "for {key}, after {} of {limit} GiB", gib(blocks))
            }
            Spent::Records(records) => {
                write!(f, "for {key}, after {records} of {} records", self.limit)
            }
        }
    }
}

/// Returns how many blocks a record with so many bytes of content counts.
pub(super) fn blocks(content: usize) -> u64 {
    (content.div_ceil(16) + 2) as u64
}

impl Limits {
    /// Returns whether a sending key has to be renewed before it protects so many blocks more; an error
    /// if that is needed and impossible.
    pub(super) fn before_sealing(&self, state: &State, more: u64) -> Result<bool, Fault> {
        let half = &state.sending;
        match state.version() {
            Version::Tls13 => {
                let blocks =
                    state.suite.aead.is_gcm() && half.blocks.saturating_add(more) > self.renewed;
                // A key that has protected nothing yet is as good as the next one.
                Ok(half.sequence > 0 && (blocks || half.sequence >= self.records))
            }
            Version::Tls12 => self.lasts(state, Key::Sending, more).map(|()| false),
        }
    }

    /// Returns an error if the peer's key must not have protected so many blocks more.
    pub(super) fn before_opening(&self, state: &State, more: u64) -> Result<(), Fault> {
        self.lasts(state, Key::Receiving, more)
    }

    fn lasts(&self, state: &State, key: Key, more: u64) -> Result<(), Fault> {
        let half = half(state, key);
        let spent = if half.sequence >= self.records {
            Spent::Records(half.sequence)
        } else if is_lasting(state) && half.blocks.saturating_add(more) > self.lasting {
            Spent::Blocks(half.blocks)
        } else {
            return Ok(());
        };
        Err(Fault::KeysExhausted(self.wear(key, spent)))
    }

    fn wear(&self, key: Key, spent: Spent) -> Wear {
        let limit = match spent {
            Spent::Blocks(_) => self.lasting,
            Spent::Records(_) => self.records,
        };
        Wear { key, spent, limit }
    }

    /// Returns which lasting key has protected three quarters of what it may.
    pub(super) fn near(&self, state: &State) -> Option<Wear> {
        let three_quarters = |limit: u64| limit - limit / 4;
        [Key::Sending, Key::Receiving].into_iter().find_map(|key| {
            let half = half(state, key);
            // A sending key of TLS 1.3 is renewed in time.
            let is_renewed = key == Key::Sending && !matches!(state.version(), Version::Tls12);
            if is_lasting(state) && half.blocks >= three_quarters(self.lasting) {
                Some(self.wear(key, Spent::Blocks(half.blocks)))
            } else if !is_renewed && half.sequence >= three_quarters(self.records) {
                Some(self.wear(key, Spent::Records(half.sequence)))
            } else {
                None
            }
        })
    }
}

fn half(state: &State, key: Key) -> &Half {
    match key {
        Key::Sending => &state.sending,
        Key::Receiving => &state.receiving,
    }
}

/// Returns whether a session's keys wear out and cannot be renewed.
fn is_lasting(state: &State) -> bool {
    state.version() == Version::Tls12 && state.suite.aead.is_gcm()
}
