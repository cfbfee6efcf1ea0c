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

    /// Counts down to 0, or by `most`; returns by how much.
    ///
    /// Another process may have set the descriptor to block, which holds for all copies of it, or have
    /// counted up to any number; neither keeps the caller here.
    pub fn drain(&self, most: u64) -> u64 {
        if rustix::io::ioctl_fionbio(&*self.0, true).is_err() {
            return 0;
        }
        let mut taken = 0;
        while taken < most && self.take() {
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
        assert_eq!(one.drain(9), 3);
        assert!(!other.take());
    }

    #[test]
    fn another_process_cannot_keep_the_one_that_drains() {
        let one = Semaphore::new(0).unwrap();
        let other = Semaphore::from(one.descriptor().try_clone().unwrap());
        rustix::io::ioctl_fionbio(&*other.0, false).unwrap();
        assert_eq!(one.drain(9), 0);
        other.give(1 << 40);
        assert_eq!(one.drain(9), 9);
    }
}
