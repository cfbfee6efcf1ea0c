//! Bytes that may be a password.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that come in pieces, overwritten when they are dropped and wherever they grow out of; never shown.
#[derive(Clone, Default, Eq, PartialEq)]
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Appends bytes. It takes no more than twice the memory that it needs.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let length = self.0.len() + bytes.len();
        if length > self.0.capacity() {
            // A vector that grows by itself leaves its old memory as it is.
            let room = length.max(self.0.capacity().saturating_mul(2));
            let mut grown = Zeroizing::new(Vec::with_capacity(room));
            grown.extend_from_slice(&self.0);
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

/// Only the length is shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_and_not_shown() {
        let mut secret = Secret::default();
        for piece in [&b"cor"[..], b"", b"rect ", b"horse"] {
            secret.extend(piece);
        }
        assert_eq!(secret.bytes(), b"correct horse");
        assert_eq!(format!("{secret:?}"), "Secret(13 bytes)");
    }
}
