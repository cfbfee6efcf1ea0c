//! The part of `caching_sha2_password` that is done on behalf of a client.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::protocol::mysql::greeting::Scramble;

/// A password as a client sends it over TLS: the characters and a NUL. Overwritten when dropped,
/// never shown.
#[derive(Clone, Eq, PartialEq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Password(Vec<u8>);

impl Password {
    pub(super) fn new(payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(payload.len() + 1);
        bytes.extend_from_slice(payload);
        // Servers read up to the NUL; a client that forgot it gets it here.
        if payload.last() != Some(&0) {
            bytes.push(0);
        }
        Self(bytes)
    }

    /// Returns the password as it was made.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the password, NUL included, mixed with the scramble: the message to encrypt under
    /// the server's key.
    ///
    /// Source: "Caching SHA-2 information" in the MySQL source documentation, "complete
    /// authentication".
    pub(super) fn mixed_with(&self, scramble: &Scramble) -> Zeroizing<Vec<u8>> {
        let mut mixed = Zeroizing::new(self.0.clone());
        for (byte, random) in mixed.iter_mut().zip(scramble.iter().cycle()) {
            *byte ^= random;
        }
        mixed
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nul_is_mixed_too() {
        let scramble = [0x20; 20];
        assert_eq!(
            *Password::new(b"Ab\0").mixed_with(&scramble),
            [0x61, 0x42, 0x20]
        );
        assert_eq!(
            *Password::new(b"Ab").mixed_with(&scramble),
            [0x61, 0x42, 0x20]
        );
        assert_eq!(*Password::new(b"").mixed_with(&scramble), [0x20]);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Password::new(b"secret\0")), "Password(..)");
    }

    proptest! {
        #[test]
        fn mixing_twice_gives_the_password_back(password in "[^\0]{0,80}", scramble: Scramble) {
            let mixed = Password::new(password.as_bytes()).mixed_with(&scramble);
            let random = scramble.iter().cycle();
            let mut back: Vec<u8> = mixed.iter().zip(random).map(|(a, b)| a ^ b).collect();
            prop_assert_eq!(back.pop(), Some(0));
            prop_assert_eq!(back, password.into_bytes());
        }
    }
}
