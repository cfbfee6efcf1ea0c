//! What an established session is: plain data, from which any process can go on.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    Fault, key,
    message::Reading,
    suite::{Suite, Version},
};

/// The length of the longest key in bytes.
pub const MAX_KEY: usize = 32;

/// The length of the longest traffic secret in bytes, that of SHA-384.
pub const MAX_SECRET: usize = 48;

/// The length of a nonce in bytes (RFC 8446 §5.3, RFC 5116 §5.1).
pub const NONCE_LEN: usize = 12;

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It asked for the connection.
    Client,
    /// It presented a certificate.
    Server,
}

/// One direction: its key and how far that was used.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Half {
    /// The key; what follows its suite's length is zero.
    pub(super) key: [u8; MAX_KEY],
    /// What the sequence number is combined with into a nonce. Of a peer that sends by AES-GCM in TLS
    /// 1.2, only the first four bytes matter (RFC 5288 §3).
    pub(super) iv: [u8; NONCE_LEN],
    /// The traffic secret that the next key comes from; zero in TLS 1.2.
    pub(super) secret: [u8; MAX_SECRET],
    /// The number of the next record.
    pub(super) sequence: u64,
    /// Blocks of 16 bytes that the key has protected.
    pub(super) blocks: u64,
}

impl Default for Half {
    fn default() -> Self {
        Self {
            key: [0; MAX_KEY],
            iv: [0; NONCE_LEN],
            secret: [0; MAX_SECRET],
            sequence: 0,
            blocks: 0,
        }
    }
}

/// Nothing of it may be shown.
impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half")
            .field("sequence", &self.sequence)
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

/// What one direction of a handshake ended with.
#[derive(Clone, Copy)]
pub struct Secrets<'s> {
    /// The key.
    pub key: &'s [u8],
    /// What sequence numbers are combined with into nonces.
    pub iv: &'s [u8],
    /// The number of the next record.
    pub sequence: u64,
    /// The application traffic secret (RFC 8446 §7.1); empty in TLS 1.2.
    pub traffic_secret: &'s [u8],
}

/// Nothing of it may be shown.
impl fmt::Debug for Secrets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// How often a peer may still do what is allowed and useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Warnings, in the whole session.
    pub(super) warnings: u8,
    /// Requests for new keys in TLS 1.2, in the whole session.
    pub(super) renegotiations: u8,
    /// `KeyUpdate` messages before data must come or go.
    pub(super) key_updates: u8,
    /// Empty records before another must come.
    pub(super) empty_records: u8,
}

impl Counters {
    pub(super) fn to_bytes(self) -> [u8; 4] {
        let Self {
            warnings,
            renegotiations,
            key_updates,
            empty_records,
        } = self;
        [warnings, renegotiations, key_updates, empty_records]
    }

    /// As rustls 0.23 and `BoringSSL` count.
    pub(super) const FULL: Self = Self {
        warnings: 4,
        renegotiations: 1,
        key_updates: 32,
        empty_records: 32,
    };
}

/// An established session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub(super) suite: &'static Suite,
    pub(super) role: Role,
    pub(super) sending: Half,
    pub(super) receiving: Half,
    pub(super) reading: Reading,
    pub(super) counters: Counters,
    /// The peer sends nothing more.
    pub(super) peer_closed: bool,
    /// Nothing more may be sent: `close_notify` or a fatal alert was.
    pub(super) sent_close: bool,
    /// The peer has asked for a `KeyUpdate` that was not sent yet.
    pub(super) answer_owed: bool,
}

/// Why something is no state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It ended too early.
    #[error("the state of a TLS session is cut short")]
    Short,
    /// It names a suite that is not known.
    #[error("the state of a TLS session has the unknown cipher suite {0:#06x}")]
    Suite(u16),
    /// A key, nonce or secret has a length that does not fit the suite.
    #[error("the state of a TLS session has a {0} of the wrong length")]
    Length(&'static str),
    /// The traffic secret is not the one that the key comes from; seen only in builds with debug assertions.
    #[error("the key of a TLS session does not come from its traffic secret")]
    OtherSecret,
    /// A value is impossible.
    #[error("the state of a TLS session has an impossible {0}")]
    Value(&'static str),
    /// The cryptography failed.
    #[error("the cryptography failed")]
    Cryptography,
}

impl From<Fault> for StateError {
    fn from(_: Fault) -> Self {
        Self::Cryptography
    }
}

impl State {
    /// Begins behind a handshake.
    ///
    /// In TLS 1.3, keys and nonces must be those of the traffic secrets, or the first `KeyUpdate` would
    /// end the session. Builds with debug assertions refuse others; other builds believe the caller.
    pub fn new(
        suite: &'static Suite,
        role: Role,
        sending: Secrets<'_>,
        receiving: Secrets<'_>,
    ) -> Result<Self, StateError> {
        Ok(Self {
            suite,
            role,
            sending: half(suite, sending)?,
            receiving: half(suite, receiving)?,
            reading: Reading::Between,
            counters: Counters::FULL,
            peer_closed: false,
            sent_close: false,
            answer_owed: false,
        })
    }

    /// Returns the cipher suite.
    pub fn suite(&self) -> &'static Suite {
        self.suite
    }

    /// Returns the version of TLS.
    pub fn version(&self) -> Version {
        self.suite.version()
    }
}

fn half(suite: &Suite, secrets: Secrets<'_>) -> Result<Half, StateError> {
    let fits = |is, should, what| {
        let fits = (is == should).then_some(());
        fits.ok_or(StateError::Length(what))
    };
    fits(secrets.key.len(), suite.aead.key_len(), "key")?;
    fits(secrets.iv.len(), NONCE_LEN, "nonce")?;
    fits(secrets.traffic_secret.len(), suite.secret_len(), "secret")?;
    let mut half = Half {
        sequence: secrets.sequence,
        // What the handshake has protected is a few records, of less than 1 KiB each or so.
        blocks: secrets.sequence.saturating_mul(64),
        ..Half::default()
    };
    half.key[..secrets.key.len()].copy_from_slice(secrets.key);
    half.iv.copy_from_slice(secrets.iv);
    if let Some(hash) = suite.hash {
        half.secret[..secrets.traffic_secret.len()].copy_from_slice(secrets.traffic_secret);
        // Deriving both keys again takes a twentieth of a handshake. So the secret is believed to be that of
        // the key, as it is where the handshake was shown one record at a time, and checked by tests alone.
        if cfg!(debug_assertions) {
            let derived = key::of_secret(suite, hash, secrets.traffic_secret)?;
            if (derived.key, derived.iv) != (half.key, half.iv) {
                return Err(StateError::OtherSecret);
            }
        }
    }
    Ok(half)
}
