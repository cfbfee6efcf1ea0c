//! Blocks of a table's bytes: taken for sessions, and given back.
//!
//! Which blocks are free is known to the worker alone; a worker that takes sessions over copies them into its own table.

use std::collections::HashMap;

use zeroize::Zeroize as _;

use super::layout::{BLOCKS, BYTES};
use crate::{session::record::Extent, sys::table::give_back};

/// Small blocks have a multiple of so many bytes.
const STEP: usize = 64;

/// The most bytes of a small block; the size of a larger one is a power of two.
const SMALL: usize = 2048;

/// From so many bytes on, the memory of a free block goes back to the system.
const LARGE: usize = 16 << 10;

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where it begins, in bytes from where blocks do.
    pub(super) at: usize,
    /// How many bytes were asked for.
    pub(super) length: usize,
}

impl Block {
    /// Returns where `length` bytes of it lie that begin at `offset`.
    pub fn place(self, offset: usize, length: usize) -> Extent {
        Extent {
            at: (BLOCKS + self.at + offset) as u64,
            length: u32::try_from(length).unwrap_or(0),
        }
    }
}

/// Which blocks are free.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// Where no block was taken yet.
    end: usize,
    /// Where free blocks begin, by size.
    free: HashMap<usize, Vec<usize>>,
}

fn size_of(length: usize) -> usize {
    if length <= SMALL {
        length.max(1).next_multiple_of(STEP)
    } else {
        length.next_power_of_two()
    }
}

impl Arena {
    /// Takes a block; `None` if there is no room.
    pub(super) fn take(&mut self, length: usize) -> Option<Block> {
        let size = size_of(length);
        if let Some(at) = self.free.get_mut(&size).and_then(Vec::pop) {
            return Some(Block { at, length });
        }
        let at = self.end;
        let end = at.checked_add(size).filter(|end| *end <= BYTES - BLOCKS)?;
        self.end = end;
        Some(Block { at, length })
    }

    /// Gives a block back, and wipes it.
    pub(super) fn give(&mut self, block: Block, bytes: &mut [u8]) {
        let size = size_of(block.length);
        if let Some(memory) = bytes.get_mut(block.at..block.at + size) {
            if size >= LARGE {
                give_back(memory);
            } else {
                memory[..block.length].zeroize();
            }
        }
        self.free.entry(size).or_default().push(block.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_wiped_and_taken_again_by_what_has_its_size() {
        let mut arena = Arena::default();
        let mut bytes = vec![0; 4096];
        let first = arena.take(100).unwrap();
        bytes[first.at..][..100].fill(7);
        let second = arena.take(100).unwrap();
        assert!(second.at >= first.at + 100);
        arena.give(first, &mut bytes);
        assert!(bytes.iter().all(|it| *it == 0));
        assert_eq!(arena.take(70).unwrap().at, first.at);
        assert_ne!(arena.take(200).unwrap().at, first.at);
    }

    #[test]
    fn there_is_an_end() {
        let mut arena = Arena::default();
        assert_eq!(arena.take(BYTES), None);
        assert!(arena.take(1).is_some());
    }
}
