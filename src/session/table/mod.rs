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

use zeroize::Zeroize as _;

use self::{
    arena::Arena,
    layout::{AREAS, BYTES, MAGIC, ROWS, RowState, WORDS, head, row, word_of},
};
pub use self::{
    arena::Block,
    left::{Left, LeftSession, epoch},
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
    file: &'static OwnedFd,
    arena: Arena,
    used: u32,
    free: Vec<u32>,
    /// Rows of sessions that have ended while other tables may have a copy of them.
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

/// A row of this thread's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row(u32);

/// Uses a table from now on: for this thread's scratch space, and for the sessions of the worker with this origin. Fails as
/// [`Own::map`] does.
pub fn begin(file: OwnedFd, origin: u64) -> io::Result<()> {
    let Own { words, bytes, file } = Own::map(file, WORDS, BYTES)?;
    let [input, plain, out] = AREAS;
    let (input_area, rest) = bytes.split_at_mut(input);
    let (plain_area, rest) = rest.split_at_mut(plain);
    let (out_area, blocks) = rest.split_at_mut(out);
    words[head::ORIGIN].store(origin, Ordering::Release);
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
            file,
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
    /// Returns its memory, by which the worker's heir will map it. No copy of the descriptor may be closed in this
    /// process, which would drop the lock on the table.
    pub fn file(&self) -> &'static OwnedFd {
        self.file
    }

    /// Notes that another supervisor is told of the sessions: what the one before has handed out of them is void.
    pub fn begin_epoch(&mut self) {
        self.words[head::EPOCH].fetch_add(1, Ordering::Release);
    }

    /// Takes a row for a session; `None` if there is none left.
    pub fn take_row(&mut self, id: SessionId) -> Option<Row> {
        let number = if let Some(free) = self.free.pop() {
            free
        } else {
            let next = self.used;
            if next as usize >= ROWS {
                return None;
            }
            self.used += 1;
            self.words[head::USED].store(self.used.into(), Ordering::Release);
            next
        };
        let row = Row(number);
        for leg in [0, 1] {
            // The session before may have left the number of a commit.
            self.word(row, row::CONSUMED + leg)
                .store(0, Ordering::Release);
        }
        self.word(row, row::ORIGIN)
            .store(id.origin, Ordering::Release);
        self.word(row, row::NUMBER)
            .store(id.number, Ordering::Release);
        Some(row)
    }

    /// Says what a row holds from now on. A reader that finds this state finds all that was written
    /// before.
    pub fn set(&self, row: Row, state: RowState) {
        self.word(row, row::STATE)
            .store(state.to_word(), Ordering::Release);
        // Blocks that this state no longer needs are wiped only after it is stored.
        compiler_fence(Ordering::SeqCst);
    }

    /// Gives back the row of a session that has ended or is kept no longer.
    pub fn end_row(&mut self, row: Row) {
        if self.takeovers > 0 {
            self.ended.push(row.0);
            self.set(row, RowState::Ended);
        } else {
            self.set(row, RowState::Free);
            self.free.push(row.0);
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
            self.set(Row(number), RowState::Free);
            self.free.push(number);
        }
    }

    /// Returns a word of a row.
    pub fn word(&self, row: Row, word: usize) -> &'static AtomicU64 {
        &self.words[word_of(row.0, word)]
    }

    /// Says which session is worked on, if one is.
    pub fn work_on(&self, row: Option<Row>) {
        let row = row.map_or(0, |row| u64::from(row.0) + 1);
        self.words[head::WORKING].store(row, Ordering::Release);
    }

    /// Says which record of which other table is being read, if one is.
    pub fn read_from(&self, record: Option<(u64, u32)>) {
        let (table, row) = record.map_or((0, 0), |(table, row)| (table, u64::from(row) + 1));
        self.words[head::READING_ROW].store(row, Ordering::Release);
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
