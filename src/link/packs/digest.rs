//! Tables by digest.

use std::hash::{BuildHasherDefault, Hasher};

/// SHA-256 over a chain and key.
pub(super) type Digest = [u8; 32];

/// Hashes digests by their first bytes: they are uniform already, so that a hash of thousands of them
/// for each load would be a waste.
pub(super) type ByDigest = BuildHasherDefault<First>;

/// The first bytes of what is hashed.
#[derive(Default)]
pub(super) struct First(u64);

impl Hasher for First {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
