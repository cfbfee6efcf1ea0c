//! Bytes of TLS on their way to the network.

use rustls::unbuffered::{EncodeError, EncryptError, InsufficientSizeError};

/// Space for bytes on their way out, kept at its size between uses.
#[derive(Debug, Default)]
pub struct Outgoing {
    space: Vec<u8>,
    len: usize,
}

impl Outgoing {
    /// Returns what was put in.
    pub fn filled(&self) -> &[u8] {
        &self.space[..self.len]
    }

    /// Forgets what was put in.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Puts in `bytes` that are no connection's own.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.space[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Puts in `len` bytes that `fill` writes, unless that fails.
    pub(super) fn extend<E>(
        &mut self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.reserve(len);
        fill(&mut self.space[self.len..][..len])?;
        self.len += len;
        Ok(())
    }

    /// Makes space for so many bytes more.
    pub(super) fn reserve(&mut self, more: usize) {
        if self.space.len() < self.len + more {
            self.space.resize(self.len + more, 0);
        }
    }

    /// Calls `write` with free space, once more with enough of it if the first was too small.
    pub(super) fn write<E: SizeNeeded>(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let written = match write(&mut self.space[self.len..]) {
            Ok(written) => written,
            Err(error) => {
                let Some(size) = error.size_needed() else {
                    return Err(error);
                };
                self.reserve(size);
                write(&mut self.space[self.len..])?
            }
        };
        self.len += written;
        Ok(())
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
