//! The table that a worker has left behind.

use std::{
    cell::Cell,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{fs::fstat, io::pread};

use super::layout::{BYTES, MAGIC, ROWS, RowState, WORDS, WRITING, head, row, word_of};
use crate::{
    facts::{Death, SessionId},
    session::{
        record::{Damaged, Extent, Moving, MovingLeg, Record},
        scratch::INPUT_LEN,
    },
    sys::table::Inherited,
};

/// The table that a worker has left behind, which is read as hostile input.
#[derive(Debug)]
pub struct Left {
    /// Its number.
    pub number: u64,
    /// How its worker ended.
    pub death: Death,
    memory: Inherited,
    /// How many bytes of what waits in sessions may still be read: in all as many as the table has memory, so that
    /// records cannot have the same bytes read again and again.
    budget: Cell<u64>,
}

/// A session that was left behind.
#[derive(Debug)]
pub struct LeftSession {
    /// Its record. Its `unsent` does not hold yet what lies in the scratch space.
    pub record: Record,
    /// What moved in its legs last, the client's first.
    pub legs: [MovingLeg; 2],
    /// How often the record was written.
    pub commits: u64,
    /// Of Unix sockets: how many bytes were written to each; `None` if that was going on when the worker ended.
    pub written: [Option<u64>; 2],
    /// Of Unix sockets: whether what the record counts as taken was taken from the socket for sure.
    pub is_consumed: [bool; 2],
}

/// Returns the [`head::EPOCH`] of a table, whose worker may still write it.
pub fn epoch(file: impl AsFd) -> io::Result<u64> {
    let mut word = [0; size_of::<u64>()];
    let at = (head::EPOCH * word.len()) as u64;
    if pread(file, &mut word, at)? < word.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(u64::from_ne_bytes(word))
}

impl Left {
    /// Maps a table; fails as [`Inherited::map`] does.
    pub fn map(number: u64, death: Death, file: OwnedFd) -> io::Result<Self> {
        let blocks = u64::try_from(fstat(&file)?.st_blocks).unwrap_or(0);
        let memory = Inherited::map(file, WORDS, BYTES)?;
        Ok(Self {
            number,
            death,
            memory,
            // A block of stat(2) has 512 bytes.
            budget: Cell::new(blocks.saturating_mul(512)),
        })
    }

    fn word(&self, index: usize) -> u64 {
        self.memory.word(index).unwrap_or(0)
    }

    /// Returns the origin of the worker whose table it was; 0 if that is not known.
    pub fn origin(&self) -> u64 {
        self.word(head::ORIGIN)
    }

    /// Returns the origin of the worker that has gone on with the sessions; `None` if none has.
    pub fn taker(&self) -> Option<u64> {
        Some(self.word(head::TAKER)).filter(|it| *it != 0)
    }

    /// Notes that the worker with this origin goes on with the sessions. Fails as [`Inherited::set`] does.
    pub fn note_taker(&self, origin: u64) -> io::Result<()> {
        self.memory.set(head::TAKER, origin)
    }

    /// Returns the rows that were used; none if the worker had not begun with the table.
    pub fn rows(&self) -> std::ops::Range<u32> {
        if self.word(head::MAGIC) != MAGIC {
            return 0..0;
        }
        let used = self.word(head::USED).min(ROWS as u64);
        0..u32::try_from(used).unwrap_or(0)
    }

    /// Returns the id of the session that a row has, or had before it ended; `None` if it has none.
    pub fn id(&self, row: u32) -> Option<(SessionId, RowState)> {
        let state = RowState::of_word(self.word(word_of(row, row::STATE)));
        let id = SessionId {
            origin: self.word(word_of(row, row::ORIGIN)),
            number: self.word(word_of(row, row::NUMBER)),
        };
        (state != RowState::Free).then_some((id, state))
    }

    /// Returns the row of the session that the worker worked on when it ended.
    pub fn worked_on(&self) -> Option<u32> {
        u32::try_from(self.word(head::WORKING).checked_sub(1)?).ok()
    }

    /// Returns the table and the row of the record that the worker read when it ended.
    pub fn was_reading(&self) -> Option<(u64, u32)> {
        let row = self.word(head::READING_ROW).checked_sub(1)?;
        let table = self.word(head::READING_TABLE);
        (table != 0).then_some((table, u32::try_from(row).ok()?))
    }

    /// Returns when a byte of the session in a row moved last, to take the busiest over first.
    pub fn moved(&self, state: RowState) -> u64 {
        self.moving(state).map_or(0, |moving| moving.moved)
    }

    fn bytes(&self, place: Extent) -> Result<&[u8], Damaged> {
        let start = usize::try_from(place.at).map_err(|_| Damaged::Length)?;
        let end = start.checked_add(place.length as usize);
        let bytes = end.and_then(|end| self.memory.bytes().get(start..end));
        bytes.ok_or(Damaged::Length)
    }

    /// Returns bytes that wait in a session; fails once more of such bytes were read than the table has memory.
    fn spend(&self, place: Extent) -> Result<&[u8], Damaged> {
        let left = self.budget.get().checked_sub(place.length.into());
        self.budget.set(left.ok_or(Damaged::Length)?);
        self.bytes(place)
    }

    fn moving(&self, state: RowState) -> Result<Moving<'_>, Damaged> {
        let RowState::Live { at, half, second } = state else {
            return Err(Damaged::Value);
        };
        let at = if second { at + u64::from(half) } else { at };
        let length = u32::from(half);
        let bytes = self.bytes(Extent { at, length })?;
        let (length, bytes) = bytes.split_first_chunk().ok_or(Damaged::Short)?;
        let length = usize::from(u16::from_be_bytes(*length));
        Moving::take(bytes.get(..length).ok_or(Damaged::Length)?)
    }

    /// Reads the session in a row; fails if anything in its record is not as a worker writes it.
    pub fn read(&self, row: u32, state: RowState) -> Result<LeftSession, Damaged> {
        let moving = self.moving(state)?;
        let body = self.bytes(moving.body)?;
        let waiting = moving.waiting.map(|place| self.spend(place)).transpose()?;
        let record = Record::of(&moving, body, waiting)?;
        let both = [0, 1];
        Ok(LeftSession {
            written: both.map(|leg| {
                let word = self.word(word_of(row, row::WRITTEN + leg));
                (word & WRITING == 0).then_some(word)
            }),
            is_consumed: both.map(|leg| {
                moving.legs[leg].peeked == 0
                    || self.word(word_of(row, row::CONSUMED + leg)) == moving.commits
            }),
            record,
            legs: moving.legs,
            commits: moving.commits,
        })
    }

    /// Returns the output that lies in the scratch space.
    pub fn output(&self, place: Extent) -> Result<&[u8], Damaged> {
        self.spend(place)
    }

    /// Returns the `read` bytes that the worker had read last and that no record counts. They lie behind the `held`
    /// bytes of a TLS record's head.
    pub fn input(&self, held: usize, read: u64) -> Result<&[u8], Damaged> {
        let read = usize::try_from(read).map_err(|_| Damaged::Length)?;
        let end = held.checked_add(read).filter(|end| *end <= INPUT_LEN);
        let end = end.ok_or(Damaged::Length)?;
        self.memory.bytes().get(held..end).ok_or(Damaged::Short)
    }
}
