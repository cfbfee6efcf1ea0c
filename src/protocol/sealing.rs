//! What a protocol wants encrypted under a peer's RSA key, and why that may fail.
//!
//! The protocol says what, and its driver does it: this room holds no cryptography.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

/// A message to encrypt with RSA, OAEP padding with SHA-1 (RFC 8017 §7.1).
#[derive(Clone, Eq, PartialEq)]
pub struct Sealing {
    /// The public key as the peer sent it: PEM, to be distrusted like anything from a wire.
    pub key: Vec<u8>,
    /// What to encrypt.
    pub message: Zeroizing<Vec<u8>>,
}

/// Neither part is shown.
impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing(..)")
    }
}

/// Why nothing could be encrypted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SealError {
    /// The key is no RSA public key in PEM, or of a size that is not safe.
    #[error("its RSA key cannot be used")]
    Key,
    /// The message is longer than the key can take.
    #[error("the password is too long for its RSA key")]
    TooLong,
}
