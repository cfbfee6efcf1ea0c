//! A listener's places for sessions, shared with the other workers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::sys::semaphore::Semaphore;

/// To how many clients at a time this worker explains that there is no place. Further clients are turned
/// away without a word, so that a flood of them does not use up descriptors.
const MOST_TOLD: usize = 64;

/// A listener's places, and how many of them this worker holds.
#[derive(Debug)]
pub struct Places {
    /// The number by which the supervisor tells them from others.
    pub room: u64,
    free: Semaphore,
    held: Semaphore,
    told: AtomicUsize,
}

/// A guard that is held while a client is told that there is no place.
#[derive(Debug)]
pub struct Telling(Arc<Places>);

/// A place for one session, given back when this is dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Places {
    /// Takes places from `free`, and counts in `held` those that this worker has.
    pub fn new(room: u64, free: Semaphore, held: Semaphore) -> Self {
        Self {
            room,
            free,
            held,
            told: AtomicUsize::new(0),
        }
    }

    /// Begins to tell a client that there is no place; `None` if too many are being told.
    pub fn tell(self: &Arc<Self>) -> Option<Telling> {
        let before = self.told.fetch_add(1, Ordering::Relaxed);
        // Dropped at once if there are too many.
        let telling = Telling(Arc::clone(self));
        Some(telling).filter(|_| before < MOST_TOLD)
    }

    /// Takes a place; `None` if all are taken.
    ///
    /// The worker counts a place as held before it takes the place, and until it has given the place
    /// back: if the worker dies in between, a place is given back once too often rather than lost.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        self.held.give(1);
        if self.free.take() {
            return Some(Place(Arc::clone(self)));
        }
        self.held.take();
        None
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.told.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.free.give(1);
        self.0.held.take();
    }
}
