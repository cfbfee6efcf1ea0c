//! How many sessions a listener may still take, over all workers.
//!
//! Workers take and give places by themselves, from a semaphore that they share. Beside it each
//! worker keeps count of what it holds, where the supervisor can see it, so that the places of a
//! worker that died come back.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use crate::{config::Listener, sys::semaphore::Semaphore};

/// The places of every listener.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<String, Room>);

/// The places of one listener.
#[derive(Debug)]
struct Room {
    free: Semaphore,
    size: u32,
    /// Places to take away once they are free, after the limit was lowered.
    excess: u32,
}

/// What a worker holds of a listener's places.
#[derive(Debug)]
pub(super) struct Held {
    listener: String,
    count: Semaphore,
}

impl Places {
    /// Makes room for `listeners` as their limits are now.
    pub(super) fn configure(&mut self, listeners: &[Listener]) -> io::Result<()> {
        self.0
            .retain(|name, _| listeners.iter().any(|listener| listener.name == *name));
        for listener in listeners {
            let size = listener.limits.max_connections;
            match self.0.get_mut(&listener.name) {
                Some(room) => room.resize(size),
                None => {
                    self.0.insert(listener.name.clone(), Room::new(size)?);
                }
            }
        }
        Ok(())
    }

    /// Returns the names of all listeners.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Returns what a worker needs to take places of a listener: the semaphore, and its own count.
    pub(super) fn issue(&self, listener: &str) -> io::Result<Option<(OwnedFd, OwnedFd, Held)>> {
        let Some(room) = self.0.get(listener) else {
            return Ok(None);
        };
        let count = Semaphore::new(0)?;
        Ok(Some((
            room.free.as_fd().try_clone_to_owned()?,
            count.as_fd().try_clone_to_owned()?,
            Held {
                listener: listener.to_owned(),
                count,
            },
        )))
    }

    /// Takes back what a worker held that has ended.
    pub(super) fn take_back(&mut self, held: &Held) {
        if let Some(room) = self.0.get_mut(&held.listener) {
            room.free.give(held.count.drain());
            room.settle();
        }
    }

    /// Takes away places that are free now and no longer allowed.
    pub(super) fn settle(&mut self) {
        for room in self.0.values_mut() {
            room.settle();
        }
    }
}

impl Held {
    /// Returns the listener whose places are held.
    pub(super) fn listener(&self) -> &str {
        &self.listener
    }
}

impl Room {
    fn new(size: u32) -> io::Result<Self> {
        Ok(Self {
            free: Semaphore::new(size)?,
            size,
            excess: 0,
        })
    }

    fn resize(&mut self, size: u32) {
        let before = std::mem::replace(&mut self.size, size);
        self.excess += before.saturating_sub(size);
        let more = size.saturating_sub(before);
        let forgiven = more.min(self.excess);
        self.excess -= forgiven;
        self.free.give(u64::from(more - forgiven));
        self.settle();
    }

    fn settle(&mut self) {
        while self.excess > 0 && self.free.take() {
            self.excess -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_lowered_under_load_holds_once_places_are_free() {
        let mut room = Room::new(3).unwrap();
        assert!(room.free.take() && room.free.take());
        room.resize(1);
        assert!(!room.free.take());
        room.free.give(1);
        room.settle();
        assert!(!room.free.take());
        room.free.give(1);
        room.settle();
        assert!(room.free.take());
        room.free.give(1);
        room.resize(3);
        assert_eq!(room.free.drain(), 3);
    }
}
