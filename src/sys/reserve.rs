//! Descriptors kept back for work that must succeed when no more can be opened.

use std::{io, os::fd::OwnedFd};

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};

/// Descriptors kept back.
#[derive(Debug)]
pub struct Reserve {
    held: Vec<OwnedFd>,
    size: usize,
}

impl Reserve {
    /// Keeps `size` descriptors back, or as many as can be opened.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let mut reserve = Self {
            held: Vec::with_capacity(size),
            size,
        };
        reserve.fill();
        reserve
    }

    /// Calls `attempt`, and if that fails for lack of descriptors, releases those kept back and calls it
    /// once more.
    pub fn lend<T>(&mut self, attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
        self.fill();
        let mut outcome = attempt();
        if outcome.as_ref().is_err_and(is_shortage) {
            self.release();
            outcome = attempt();
        }
        outcome
    }

    /// Releases those kept back.
    pub fn release(&mut self) {
        self.held.clear();
    }

    /// Keeps back what is missing, as far as there is any; returns whether nothing is missing now.
    pub fn fill(&mut self) -> bool {
        while self.held.len() < self.size {
            let Ok(descriptor) = eventfd(0, EventfdFlags::CLOEXEC) else {
                return false;
            };
            self.held.push(descriptor);
        }
        true
    }
}

/// Returns whether an error means that the process, or the system, has no descriptors left (`EMFILE` and `ENFILE` in
/// open(2)).
pub fn is_shortage(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|shortage| code == Some(shortage.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_fails_for_want_of_descriptors_is_made_with_those_kept_back() {
        let mut reserve = Reserve::new(2);
        let tries = Cell::new(0);
        let made = reserve.lend(|| match tries.replace(tries.get() + 1) {
            0 => Err(io::Error::from(Errno::MFILE)),
            _ => Ok(()),
        });
        made.unwrap();
        assert_eq!((tries.get(), reserve.held.len()), (2, 0));
        assert!(reserve.fill());
        assert_eq!(reserve.held.len(), 2);
    }

    #[test]
    fn what_fails_otherwise_is_not_tried_again() {
        let mut reserve = Reserve::new(1);
        let failed: io::Result<()> = reserve.lend(|| Err(io::ErrorKind::NotFound.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
