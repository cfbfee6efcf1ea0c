//! A listener's places for sessions, shared with the other workers.

use std::sync::Arc;

use crate::sys::semaphore::Semaphore;

/// A listener's places, and how many of them this worker holds.
#[derive(Debug)]
pub struct Places {
    free: Semaphore,
    held: Semaphore,
}

/// A place for one session, given back when this is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// Takes places from `free`, and counts in `held` those that this worker has.
    pub fn new(free: Semaphore, held: Semaphore) -> Self {
        Self { free, held }
    }

    /// Takes a place; `None` if all are taken.
    ///
    /// The worker counts itself as the holder before it is one, and until it no longer is: should
    /// it die in between, a place is given back too often rather than lost.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        self.held.give(1);
        if self.free.take() {
            return Some(Place(Arc::clone(self)));
        }
        self.held.take();
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free.give(1);
        self.0.held.take();
    }
}
