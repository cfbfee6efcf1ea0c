//! How many sessions a listener may still take, over all workers.
//!
//! Workers take places from a semaphore that they share, and give them back to it, without the
//! supervisor. Each worker also counts the places that it holds in a semaphore of its slot. The
//! supervisor reads that when the worker has ended, and gives its places back.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{config::Listener, sys::semaphore::Semaphore};

/// The places of every listener.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<String, Room>);

/// The places of listeners that are not in force yet.
#[derive(Debug, Default)]
pub(super) struct NewPlaces(BTreeMap<String, Room>);

/// The places of one listener.
#[derive(Debug)]
struct Room {
    /// Never used twice.
    number: u64,
    free: Semaphore,
    /// How many places the worker of each slot holds.
    held: Vec<Semaphore>,
    size: u32,
    /// How many places to take away once they are free, after the limit was lowered.
    excess: u32,
}

/// The semaphores that a worker needs to take places of a listener.
#[derive(Debug)]
pub(super) struct Shared {
    /// The number of the listener's places.
    pub(super) room: u64,
    /// The semaphore that all workers take from.
    pub(super) free: Arc<OwnedFd>,
    /// The semaphore that counts the places that this worker holds.
    pub(super) held: Arc<OwnedFd>,
}

impl NewPlaces {
    /// Makes places, for so many slots, for those of `listeners` that are not `known`.
    pub(super) fn make(
        listeners: &[Listener],
        known: &BTreeSet<String>,
        slots: usize,
    ) -> io::Result<Self> {
        let new = listeners.iter().filter(|it| !known.contains(&it.name));
        let rooms = new.map(|listener| {
            let room = Room::new(listener.limits.max_connections, slots)?;
            Ok((listener.name.clone(), room))
        });
        rooms.collect::<io::Result<_>>().map(Self)
    }

    /// Returns what the worker of a slot needs of them, by listener.
    pub(super) fn of_slot(&self, slot: usize) -> Vec<(String, Shared)> {
        of_slot(&self.0, slot)
    }
}

impl Places {
    /// Returns the names of all listeners.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// Returns whether a listener has the places of this number.
    pub(super) fn has(&self, listener: &str, room: u64) -> bool {
        self.0.get(listener).is_some_and(|it| it.number == room)
    }

    /// Puts `new` places in force, and the limits that `listeners` have now.
    pub(super) fn commit(&mut self, new: NewPlaces, listeners: &[Listener]) {
        self.0.extend(new.0);
        self.0
            .retain(|name, _| listeners.iter().any(|listener| listener.name == *name));
        for listener in listeners {
            if let Some(room) = self.0.get_mut(&listener.name) {
                room.resize(listener.limits.max_connections);
            }
        }
    }

    /// Returns what the worker of a slot needs of them, by listener.
    pub(super) fn of_slot(&self, slot: usize) -> Vec<(String, Shared)> {
        of_slot(&self.0, slot)
    }

    /// Takes back the places that a slot's worker held when it ended.
    pub(super) fn take_back(&mut self, slot: usize) {
        for room in self.0.values_mut() {
            // A worker holds one more for a moment, and no more than there ever were.
            let most = u64::from(room.size) + u64::from(room.excess) + 1;
            let held = room.held.get(slot).map_or(0, |held| held.drain(most));
            if held > 0 {
                room.free.give(held);
            }
            room.settle();
        }
    }

    /// Takes away free places that the limit no longer allows.
    pub(super) fn settle(&mut self) {
        for room in self.0.values_mut() {
            room.settle();
        }
    }
}

fn of_slot(rooms: &BTreeMap<String, Room>, slot: usize) -> Vec<(String, Shared)> {
    let rooms = rooms.iter().filter_map(|(name, room)| {
        let shared = Shared {
            room: room.number,
            free: room.free.descriptor(),
            held: room.held.get(slot)?.descriptor(),
        };
        Some((name.clone(), shared))
    });
    rooms.collect()
}

impl Room {
    fn new(size: u32, slots: usize) -> io::Result<Self> {
        // Rooms are made on whichever thread reads the disk.
        static LAST: AtomicU64 = AtomicU64::new(0);
        let held = (0..slots).map(|_| Semaphore::new(0));
        Ok(Self {
            number: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            free: Semaphore::new(size)?,
            held: held.collect::<io::Result<_>>()?,
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
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_that_is_lowered_under_load_holds_once_places_are_free() {
        let mut room = Room::new(3, 1).unwrap();
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
        assert_eq!(room.free.drain(9), 3);
    }

    /// What can happen to the places of one listener, by the slot of the worker.
    #[derive(Debug, Clone)]
    enum Move {
        Take(usize),
        Give(usize),
        Die(usize),
        Resize(u32),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            6 => (0..3_usize).prop_map(Move::Take),
            4 => (0..3_usize).prop_map(Move::Give),
            1 => (0..3_usize).prop_map(Move::Die),
            1 => (0..9_u32).prop_map(Move::Resize),
        ];
        proptest::collection::vec(one, 1..80)
    }

    proptest! {
        #[test]
        fn no_place_is_lost_or_invented(moves in moves()) {
            let room = Room::new(4, 3).unwrap();
            let mut places = Places(BTreeMap::from([("main".to_owned(), room)]));
            let mut held: [VecDeque<()>; 3] = Default::default();
            for step in moves {
                let room = places.0.get_mut("main").unwrap();
                match step {
                    Move::Take(slot) if room.free.take() => {
                        room.held[slot].give(1);
                        held[slot].push_back(());
                    }
                    Move::Give(slot) if held[slot].pop_front().is_some() => {
                        room.held[slot].take();
                        room.free.give(1);
                    }
                    Move::Die(slot) => {
                        held[slot].clear();
                        places.take_back(slot);
                    }
                    Move::Resize(size) => room.resize(size),
                    Move::Take(_) | Move::Give(_) => {}
                }
            }
            places.settle();
            let room = places.0.get_mut("main").unwrap();
            let taken: usize = held.iter().map(VecDeque::len).sum();
            let (taken, size) = (u64::try_from(taken).unwrap(), u64::from(room.size));
            prop_assert_eq!(room.free.drain(99) + taken, size.max(taken));
        }
    }
}
