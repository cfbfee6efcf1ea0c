//! The table of a worker: memory that outlives it, in which its sessions are noted.
//!
//! The supervisor makes the memory and never reads it. The worker maps it and alone writes it; a worker that takes its
//! sessions over maps it once the kernel has said that the first one has ended, and reads it as hostile input.

mod arena;
pub mod layout;
mod left;

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicU64, Ordering, compiler_fence},
};

use self::{
    arena::Arena,
    layout::{AREAS, BYTES, MAGIC, SLOTS, State, WORDS, head, slot, word_of},
};
use zeroize::Zeroize as _;

pub use self::{
    arena::Block,
    left::{Left, LeftSession},
};
use super::{
    record::MOST_MOVING,
    scratch::{Areas, with_scratch},
};
use crate::{
    facts::SessionId,
    protocol::{watch::Watch as _, watcher::Watcher},
    sys::table::Own,
};

thread_local! {
    static TABLE: RefCell<Option<Table>> = const { RefCell::new(None) };
}

/// A worker's own table.
#[derive(Debug)]
pub struct Table {
    words: &'static [AtomicU64],
    bytes: &'static mut [u8],
    arena: Arena,
    used: u32,
    free: Vec<u32>,
    /// Slots of sessions that have ended while other tables may have a copy of them.
    ended: Vec<u32>,
    /// How many takeovers have begun whose end the supervisor was not told yet.
    takeovers: u32,
    /// Space in which parts of records are put together.
    pub(super) spaces: Spaces,
}

/// Space in which parts of records are put together, wiped after each use.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    pub(super) moving: Vec<u8>,
    pub(super) watcher: Vec<u8>,
}

/// A slot of this thread's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// Uses a table from now on: for this thread's scratch space, and for its sessions. Fails as [`Own::map`] does.
pub fn begin(file: OwnedFd) -> io::Result<()> {
    let Own { words, bytes } = Own::map(file, WORDS, BYTES)?;
    let [input, plain, out] = AREAS;
    let (input_area, rest) = bytes.split_at_mut(input);
    let (plain_area, rest) = rest.split_at_mut(plain);
    let (out_area, blocks) = rest.split_at_mut(out);
    words[head::MAGIC].store(MAGIC, Ordering::Release);
    with_scratch(|scratch| {
        scratch.lie_in(Areas {
            input: input_area,
            plain: plain_area,
            out: out_area,
            places: [0, input, input + plain],
        });
    });
    TABLE.with_borrow_mut(|table| {
        *table = Some(Table {
            words,
            bytes: blocks,
            arena: Arena::default(),
            used: 0,
            free: Vec::new(),
            ended: Vec::new(),
            takeovers: 0,
            spaces: Spaces {
                moving: Vec::with_capacity(MOST_MOVING),
                watcher: Vec::with_capacity(Watcher::MAX_ENCODED),
            },
        });
    });
    Ok(())
}

/// Calls `act` with this thread's table; `None` if it has none.
pub fn with_table<R>(act: impl FnOnce(&mut Table) -> R) -> Option<R> {
    TABLE.with_borrow_mut(|table| table.as_mut().map(act))
}

impl Table {
    /// Takes a slot for a session; `None` if there is none left.
    pub fn take_slot(&mut self, id: SessionId) -> Option<Slot> {
        let number = if let Some(free) = self.free.pop() {
            free
        } else {
            let next = self.used;
            if next as usize >= SLOTS {
                return None;
            }
            self.used += 1;
            self.words[head::USED].store(self.used.into(), Ordering::Release);
            next
        };
        let slot = Slot(number);
        for leg in [0, 1] {
            // The session before may have left the number of a commit.
            self.word(slot, slot::CONSUMED + leg)
                .store(0, Ordering::Release);
        }
        self.word(slot, slot::ORIGIN)
            .store(id.origin, Ordering::Release);
        self.word(slot, slot::NUMBER)
            .store(id.number, Ordering::Release);
        Some(slot)
    }

    /// Says what a slot holds from now on. A reader that finds this state finds all that was written
    /// before.
    pub fn set(&self, slot: Slot, state: State) {
        self.word(slot, slot::STATE)
            .store(state.to_word(), Ordering::Release);
        // Blocks that this state no longer needs are wiped only after it is stored.
        compiler_fence(Ordering::SeqCst);
    }

    /// Gives back the slot of a session that has ended or is kept no longer.
    pub fn end_slot(&mut self, slot: Slot) {
        if self.takeovers > 0 {
            self.ended.push(slot.0);
            self.set(slot, State::Ended);
        } else {
            self.set(slot, State::Free);
            self.free.push(slot.0);
        }
    }

    /// Remembers from now on which sessions have ended, because tables that are being taken over may have copies of
    /// them.
    pub fn remember_ends(&mut self) {
        self.takeovers += 1;
    }

    /// Ends what one call of [`Self::remember_ends`] began. After the last one the sessions that have ended are
    /// forgotten, because no other table counts any more.
    pub fn forget_ends(&mut self) {
        self.takeovers = self.takeovers.saturating_sub(1);
        if self.takeovers > 0 {
            return;
        }
        for number in std::mem::take(&mut self.ended) {
            self.set(Slot(number), State::Free);
            self.free.push(number);
        }
    }

    /// Returns a word of a slot.
    pub fn word(&self, slot: Slot, word: usize) -> &'static AtomicU64 {
        &self.words[word_of(slot.0, word)]
    }

    /// Says which session is worked on, if one is.
    pub fn work_on(&self, slot: Option<Slot>) {
        let slot = slot.map_or(0, |slot| u64::from(slot.0) + 1);
        self.words[head::WORKING].store(slot, Ordering::Release);
    }

    /// Says which record of which other table is being read, if one is.
    pub fn read_from(&self, record: Option<(u64, u32)>) {
        let (table, slot) = record.map_or((0, 0), |(table, slot)| (table, u64::from(slot) + 1));
        self.words[head::READING_SLOT].store(slot, Ordering::Release);
        self.words[head::READING_TABLE].store(table, Ordering::Release);
    }

    /// Takes a block of bytes; `None` if there is no room.
    pub fn take(&mut self, length: usize) -> Option<Block> {
        self.arena.take(length)
    }

    /// Gives a block back, and wipes it.
    pub fn give(&mut self, block: Block) {
        self.arena.give(block, self.bytes);
    }

    /// Wipes what lies in a block behind its first `offset` bytes.
    pub fn wipe(&mut self, block: Block, offset: usize) {
        if let Some(bytes) = self
            .bytes
            .get_mut(block.at + offset..block.at + block.length)
        {
            bytes.zeroize();
        }
    }

    /// Writes into a block, `offset` bytes from its beginning.
    pub fn write(&mut self, block: Block, offset: usize, bytes: &[u8]) {
        let start = block.at + offset;
        if let Some(space) = self.bytes.get_mut(start..start + bytes.len()) {
            space.copy_from_slice(bytes);
        }
    }
}
