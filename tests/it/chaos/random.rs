//! Random numbers from a seed, so that a run can make the same choices again.

use std::{ops::Range, time::Duration};

/// A source of random numbers: splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns the source for a seed and a part of the run, such as a lane.
    pub(crate) fn new(seed: u64, part: &str) -> Self {
        let mut random = Self(seed);
        for byte in part.bytes() {
            random.0 = random.next() ^ u64::from(byte);
        }
        random
    }

    /// Returns the next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number less than `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// Returns `true` in half of the cases.
    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Returns one of several.
    pub(crate) fn pick<'all, T>(&mut self, all: &'all [T]) -> &'all T {
        &all[self.below(all.len())]
    }

    /// Returns a duration within a range of milliseconds.
    pub(crate) fn millis(&mut self, range: Range<usize>) -> Duration {
        let millis = range.start + self.below(range.end - range.start);
        Duration::from_millis(millis.try_into().unwrap())
    }

    /// Puts things into a random order.
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_choices_and_parts_differ() {
    let choices = |seed, part| {
        let mut random = Random::new(seed, part);
        [(); 8].map(|()| random.next())
    };
    assert_eq!(choices(1, "files"), choices(1, "files"));
    assert_ne!(choices(1, "files"), choices(2, "files"));
    assert_ne!(choices(1, "files"), choices(1, "workers"));
}

#[test]
fn a_shuffle_loses_nothing() {
    let in_order: Vec<usize> = (0..20).collect();
    let mut things = in_order.clone();
    Random::new(3, "").shuffle(&mut things);
    assert_ne!(things, in_order);
    things.sort_unstable();
    assert_eq!(things, in_order);
}
