//! A counting semaphore that processes share by its descriptor (eventfd(2), `EFD_SEMAPHORE`).

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::event::{EventfdFlags, eventfd};

/// A counting semaphore that processes share by its descriptor.
#[derive(Debug)]
pub struct Semaphore(Arc<OwnedFd>);

impl Semaphore {
    /// Makes a semaphore that counts from `count`.
    pub fn new(count: u32) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        Ok(Self(Arc::new(eventfd(count, flags)?)))
    }

    /// Counts down by one; `false` if the count is 0.
    pub fn take(&self) -> bool {
        rustix::io::read(&*self.0, &mut [0; 8]).is_ok()
    }

    /// Returns the descriptor by which another process can share the semaphore.
    pub fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0)
    }

    /// Counts up by `number`.
    pub fn give(&self, number: u64) {
        // This fails only beyond 2^64 - 2, which no process counts to.
        let _ = rustix::io::write(&*self.0, &number.to_ne_bytes());
    }

    /// Counts down to 0; returns the count before.
    pub fn drain(&self) -> u64 {
        let mut taken = 0;
        while self.take() {
            taken += 1;
        }
        taken
    }
}

impl From<OwnedFd> for Semaphore {
    fn from(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_the_count() {
        let one = Semaphore::new(2).unwrap();
        let other = Semaphore::from(one.descriptor().try_clone().unwrap());
        assert!(one.take() && other.take());
        assert!(!one.take() && !other.take());
        other.give(3);
        assert_eq!(one.drain(), 3);
        assert!(!other.take());
    }
}
