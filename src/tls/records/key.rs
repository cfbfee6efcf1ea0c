//! Keys: how they are derived, renewed and made into ciphers.

use aws_lc_rs::{
    aead::{LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use zeroize::Zeroizing;

use super::{
    Fault,
    state::{Half, MAX_KEY, MAX_SECRET, NONCE_LEN},
    suite::{Hash, Suite},
};

/// How many bytes to derive.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Fills `out` by `HKDF-Expand-Label` with an empty context (RFC 8446 §7.1).
fn expand_label(hash: Hash, secret: &[u8], label: &[u8], out: &mut [u8]) -> Result<(), Fault> {
    const PREFIX: &[u8] = b"tls13 ";
    let short = |length: usize| u8::try_from(length).map_err(|_| Fault::Cryptography);
    let info = [
        &[0, short(out.len())?, short(PREFIX.len() + label.len())?],
        PREFIX,
        label,
        &[0],
    ];
    let secret = hkdf::Prk::new_less_safe(hash.hkdf(), secret);
    secret
        .expand(&info, Length(out.len()))
        .and_then(|it| it.fill(out))
        .map_err(|_| Fault::Cryptography)
}

/// Returns key and nonce of a traffic secret (RFC 8446 §7.3).
pub fn of_secret(suite: &Suite, hash: Hash, secret: &[u8]) -> Result<Half, Fault> {
    let mut half = Half::default();
    half.secret[..secret.len()].copy_from_slice(secret);
    expand_label(hash, secret, b"key", &mut half.key[..suite.aead.key_len()])?;
    expand_label(hash, secret, b"iv", &mut half.iv)?;
    Ok(half)
}

impl Half {
    /// Goes on with the next traffic secret (RFC 8446 §7.2). TLS 1.2 has none.
    pub(super) fn renew(&mut self, suite: &Suite) -> Result<(), Fault> {
        let hash = suite.hash.ok_or(Fault::Cryptography)?;
        let length = hash.secret_len();
        let mut next = Zeroizing::new([0; MAX_SECRET]);
        let next = &mut next[..length];
        expand_label(hash, &self.secret[..length], b"traffic upd", next)?;
        *self = of_secret(suite, hash, next)?;
        Ok(())
    }

    /// Returns the cipher with this key.
    pub(super) fn cipher(&self, suite: &Suite) -> Result<LessSafeKey, Fault> {
        const { assert!(MAX_KEY == 32, "the longest key of a suite") };
        let key = &self.key[..suite.aead.key_len()];
        let key = UnboundKey::new(suite.aead.algorithm(), key);
        key.map(LessSafeKey::new).map_err(|_| Fault::Cryptography)
    }

    /// Returns the nonce of the next record (RFC 8446 §5.3, RFC 7905 §2).
    ///
    /// AES-GCM in TLS 1.2 leaves its eight explicit bytes to the sender (RFC 5288 §3); they are made
    /// in the same way, as rustls made those of the handshake.
    pub(super) fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// Notes that a record was protected.
    pub(super) fn count(&mut self, blocks: u64) {
        self.sequence += 1;
        self.blocks = self.blocks.saturating_add(blocks);
    }
}

/// Returns a nonce as the cipher takes it.
///
/// It is never used twice with a key: sequence numbers only grow, and a key begins with its own.
pub(super) fn unique(nonce: [u8; NONCE_LEN]) -> Nonce {
    Nonce::assume_unique_for_key(nonce)
}
