//! Space for bytes of TLS on their way: sealed ones to the network, opened ones to the relay.

use rustls::unbuffered::{EncodeError, EncryptError, InsufficientSizeError};

/// Space for bytes, kept at its size between uses.
///
/// The caller may give it memory, such as memory that outlives the process. What does not fit into that lies in memory
/// of the space's own ([`Self::has_left`]).
#[derive(Debug, Default)]
pub struct Space {
    given: Option<&'static mut [u8]>,
    own: Vec<u8>,
    len: usize,
    has_left: bool,
}

impl Space {
    /// Makes space in this memory.
    pub fn within(given: &'static mut [u8]) -> Self {
        Self {
            given: Some(given),
            ..Self::default()
        }
    }

    /// Returns what was put in.
    pub fn filled(&self) -> &[u8] {
        &self.all()[..self.len]
    }

    /// Returns how many bytes were put in.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether what was put in did not fit into the memory that was given, if any was, and lies elsewhere.
    pub fn has_left(&self) -> bool {
        self.has_left
    }

    /// Forgets what was put in.
    pub fn clear(&mut self) {
        self.len = 0;
        self.has_left = false;
    }

    /// Puts in `bytes`.
    pub fn put(&mut self, bytes: &[u8]) {
        self.grow(bytes.len()).copy_from_slice(bytes);
    }

    /// Puts in `len` bytes that `fill` writes, unless that fails.
    pub(super) fn extend<E>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.len;
        let filled = fill(self.grow(len));
        if filled.is_err() {
            self.len = before;
        }
        filled
    }

    /// Makes space for so many bytes more.
    pub(super) fn reserve(&mut self, more: usize) {
        let needed = self.len + more;
        if needed <= self.all().len() {
            return;
        }
        if let (Some(given), false) = (&self.given, self.has_left) {
            self.own.clear();
            self.own.extend_from_slice(&given[..self.len]);
            self.has_left = true;
        }
        if self.own.len() < needed {
            self.own.resize(needed, 0);
        }
    }

    /// Calls `write` with free space, once more with enough of it if the first was too small.
    pub(super) fn write<E: SizeNeeded>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let len = self.len;
        let written = match write(&mut self.all_mut()[len..]) {
            Ok(written) => written,
            Err(error) => {
                let Some(size) = error.size_needed() else {
                    return Err(error);
                };
                self.reserve(size);
                write(&mut self.all_mut()[len..])?
            }
        };
        self.len += written;
        Ok(())
    }

    fn all(&self) -> &[u8] {
        match &self.given {
            Some(given) if !self.has_left => given,
            _ => &self.own,
        }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        match &mut self.given {
            Some(given) if !self.has_left => given,
            _ => &mut self.own,
        }
    }
}

/// What opened records are appended to.
pub trait Plaintext {
    /// Returns how many bytes there are.
    fn length(&self) -> usize;

    /// Appends so many bytes, whose values do not matter; returns them.
    fn grow(&mut self, more: usize) -> &mut [u8];

    /// Returns the bytes from `start` on.
    fn since(&self, start: usize) -> &[u8];

    /// Drops the bytes from `end` on.
    fn cut(&mut self, end: usize);
}

impl Plaintext for Space {
    fn length(&self) -> usize {
        self.len
    }

    fn grow(&mut self, more: usize) -> &mut [u8] {
        self.reserve(more);
        let start = self.len;
        self.len += more;
        &mut self.all_mut()[start..][..more]
    }

    fn since(&self, start: usize) -> &[u8] {
        &self.filled()[start..]
    }

    fn cut(&mut self, end: usize) {
        self.len = self.len.min(end);
    }
}

impl Plaintext for Vec<u8> {
    fn length(&self) -> usize {
        self.len()
    }

    fn grow(&mut self, more: usize) -> &mut [u8] {
        let start = self.len();
        self.resize(start + more, 0);
        &mut self[start..]
    }

    fn since(&self, start: usize) -> &[u8] {
        &self[start..]
    }

    fn cut(&mut self, end: usize) {
        self.truncate(end);
    }
}

/// An error that may say how much space would have been enough.
pub(super) trait SizeNeeded {
    fn size_needed(&self) -> Option<usize>;
}

impl SizeNeeded for EncodeError {
    fn size_needed(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl SizeNeeded for EncryptError {
    fn size_needed(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::EncryptExhausted => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_given_memory_lies_elsewhere_until_all_is_forgotten() {
        let mut space = Space::within(Box::leak(Box::new([0; 4])));
        space.put(b"abc");
        assert!(!space.has_left());
        space.put(b"def");
        assert_eq!((space.filled(), space.has_left()), (&b"abcdef"[..], true));
        space.clear();
        space.put(b"gh");
        assert_eq!((space.filled(), space.has_left()), (&b"gh"[..], false));
    }
}
