//! The layout of a table: where its words and bytes lie.
//!
//! A table begins with words, each of which is written at once, so that its reader finds either the value before or
//! the one after. Behind a head of [`HEAD`] words each row has [`ROW`] of them. Then come bytes: the scratch space of the
//! worker, and the blocks of sessions.

use crate::session::scratch::INPUT_LEN;

/// Words of the head.
pub const HEAD: usize = 512;

/// Words of a row.
pub const ROW: usize = 8;

/// How many sessions a table can hold.
pub const ROWS: usize = 1 << 18;

/// The words of a table.
pub const WORDS: usize = HEAD + ROWS * ROW;

/// Which words of the head say what.
pub mod head {
    /// [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// The row of the session that is worked on, from 1; 0 for none.
    pub const WORKING: usize = 1;
    /// How many rows were ever used.
    pub const USED: usize = 2;
    /// The number of the table of which a record is being read; 0 for none.
    pub const READING_TABLE: usize = 3;
    /// The row of that record, from 1.
    pub const READING_ROW: usize = 4;
    /// How many supervisors the worker has told of its sessions that had not started it.
    pub const EPOCH: usize = 5;
    /// The origin of the worker whose table it is; 0 if it was not told.
    pub const ORIGIN: usize = 6;
    /// The origin of the worker that goes on with the sessions, written by that worker; 0 for none.
    pub const TAKER: usize = 7;
}

/// Which words of a row say what.
pub mod row {
    /// What the row holds ([`super::RowState`]).
    pub const STATE: usize = 0;
    /// Of a Unix socket of the client's leg: how many bytes were written to it, with [`super::WRITING`] while some
    /// are; the next word is the backend's.
    pub const WRITTEN: usize = 1;
    /// Of the same: the number of the commit whose bytes were taken from the socket; the next word is the backend's.
    pub const CONSUMED: usize = 3;
    /// The first half of the session's id.
    pub const ORIGIN: usize = 5;
    /// The second half.
    pub const NUMBER: usize = 6;
}

/// What the first word of every table is: its layout, in a version.
pub const MAGIC: u64 = 0x7072_6f78_7974_0001;

/// Set in a count of written bytes while more are being written.
pub const WRITING: u64 = 1 << 63;

/// Bytes of the area for what was read.
const INPUT: usize = 256 << 10;
/// Bytes of the area for what was opened.
const PLAIN: usize = 1 << 20;
/// Bytes of the area for what was made.
const OUT: usize = 4 << 20;

/// The lengths of the areas of the scratch space, which come first among the bytes.
pub const AREAS: [usize; 3] = [INPUT, PLAIN, OUT];

/// Where blocks begin.
pub const BLOCKS: usize = INPUT + PLAIN + OUT;

/// The bytes behind the words, 8 GiB: memory that is never touched costs nothing.
pub const BYTES: usize = 8 << 30;

/// The length of a table's memory in bytes.
pub const LENGTH: u64 = (WORDS * 8 + BYTES) as u64;

const _: () = assert!(INPUT >= INPUT_LEN);

/// What a row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// Nothing.
    Free,
    /// A session that has ended or is kept no longer; copies of it in older tables do not count either.
    Ended,
    /// A session: where its block lies, how long each half of its record may be, and which half counts.
    Live {
        /// The block, in bytes from where the bytes begin.
        at: u64,
        /// The most bytes of a half.
        half: u16,
        /// Whether the second half counts.
        second: bool,
    },
}

const LIVE: u64 = 1 << 63;
const ENDED: u64 = 1 << 62;
const SECOND: u64 = 1 << 61;
const HALF: u32 = 40;
const AT: u64 = (1 << HALF) - 1;

impl RowState {
    /// Returns the state as a word.
    pub fn to_word(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Ended => ENDED,
            Self::Live { at, half, second } => {
                let second = if second { SECOND } else { 0 };
                LIVE | second | u64::from(half) << HALF | (at & AT)
            }
        }
    }

    /// Returns the state that a word says.
    pub fn of_word(word: u64) -> Self {
        if word & LIVE != 0 {
            return Self::Live {
                at: word & AT,
                half: u16::try_from((word >> HALF) & 0xffff).unwrap_or(0),
                second: word & SECOND != 0,
            };
        }
        match word & ENDED {
            0 => Self::Free,
            _ => Self::Ended,
        }
    }
}

/// Returns where a word of a row is among all words.
pub fn word_of(row: u32, word: usize) -> usize {
    HEAD + row as usize * ROW + word
}
