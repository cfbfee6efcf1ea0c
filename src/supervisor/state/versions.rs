//! What a supervisor leaves, in each version that a program beside it may read.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | what it is |
//! | 2 | in how many versions it is there |
//! | 2, 8 | of each: the version, and how long its text is |
//! | | the texts, in the same order |
//!
//! Numbers are in network order. A supervisor may die at any moment, and the next one may be of the release before or of
//! the one behind; so a program writes its own version and the one before it, and reads the newer one of those two
//! that is there. Releases that are further apart have none in common, and say so.

use std::{
    fmt,
    io::{self, Write as _},
    ops::{Range, RangeInclusive},
};

use crate::protocol::bytes::Reader;

/// The newest version that this program writes and reads; raised when parts change their meaning. A part that is added
/// leaves it.
pub(super) const VERSION: u16 = if cfg!(feature = "next") { 2 } else { 1 };

/// The oldest version that it writes and reads.
const OLDEST: u16 = if VERSION > 1 { VERSION - 1 } else { 1 };

/// In how many versions this program writes what it leaves.
const COUNT: usize = if VERSION > OLDEST { 2 } else { 1 };

/// Bytes in front of the texts that this program writes.
const HEAD: usize = 8 + 2 + COUNT * 10;

/// What stands in front of a text of version 2, which no release writes: so that it is another one than version 1.
const MARK: &[u8] = b"2";

/// Why what was left is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::supervisor) enum Unread {
    /// It is something else.
    #[error("it is something else")]
    Other,
    /// It is in no version that this program reads.
    #[error(
        "it is written in version {}, and this program reads version {}: releases go on for each other that follow each \
         other, so start one between the two first",
        Versions(.theirs),
        Versions(.ours)
    )]
    Versions {
        /// The lowest and the highest version that are there.
        theirs: RangeInclusive<u16>,
        /// Those that this program reads.
        ours: RangeInclusive<u16>,
    },
    /// It ends too early.
    #[error("it is cut short")]
    Short,
    /// It is not what its version says.
    #[error("it is damaged")]
    Damaged,
}

/// Versions as a sentence names them.
struct Versions<'v>(&'v RangeInclusive<u16>);

impl fmt::Display for Versions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lowest, highest) = (self.0.start(), self.0.end());
        if lowest == highest {
            write!(f, "{lowest}")
        } else {
            write!(f, "{lowest} to {highest}")
        }
    }
}

/// Writes something at the beginning of `room`, in each version; returns how many bytes it takes. Fails when there is not
/// enough room. `write` writes a text, and leaves no copy of it elsewhere.
pub(super) fn write(
    kind: [u8; 8],
    room: &mut [u8],
    mut write: impl FnMut(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<usize> {
    let (head, texts) = room
        .split_at_mut_checked(HEAD)
        .ok_or(io::ErrorKind::WriteZero)?;
    let all = texts.len();
    let mut rest = texts;
    let mut lengths = [0; COUNT];
    for (length, version) in lengths.iter_mut().zip(OLDEST..) {
        let before = rest.len();
        rest.write_all(mark(version))?;
        write(&mut rest)?;
        *length = before - rest.len();
    }
    head.copy_from_slice(&head_of(kind, lengths));
    Ok(HEAD + all - rest.len())
}

/// Returns the same of a text that holds no secrets.
pub(super) fn written(kind: [u8; 8], text: &[u8]) -> Vec<u8> {
    let mut lengths = [text.len(); COUNT];
    for (length, version) in lengths.iter_mut().zip(OLDEST..) {
        *length += mark(version).len();
    }
    let mut all = head_of(kind, lengths);
    for version in OLDEST..=VERSION {
        all.extend_from_slice(mark(version));
        all.extend_from_slice(text);
    }
    all
}

/// Finds the text of the newest version that this program reads, and where all of them end.
pub(super) fn find(kind: [u8; 8], bytes: &[u8]) -> Result<(Range<usize>, usize), Unread> {
    let (version, text, end) = find_among(kind, bytes, OLDEST..=VERSION)?;
    let mark = mark(version);
    if bytes[text.clone()].starts_with(mark) {
        Ok((text.start + mark.len()..text.end, end))
    } else {
        Err(Unread::Damaged)
    }
}

fn find_among(
    kind: [u8; 8],
    bytes: &[u8],
    ours: RangeInclusive<u16>,
) -> Result<(u16, Range<usize>, usize), Unread> {
    let mut reader = Reader::new(bytes);
    if reader.array() != Some(kind) {
        return Err(Unread::Other);
    }
    let count = reader.u16_be().ok_or(Unread::Short)?;
    let mut versions = Vec::new();
    for _ in 0..count {
        let version = reader.u16_be().ok_or(Unread::Short)?;
        let length = reader.array().map(u64::from_be_bytes);
        let length = length.and_then(|it| usize::try_from(it).ok());
        versions.push((version, length.ok_or(Unread::Short)?));
    }
    let mut at = bytes.len() - reader.rest().len();
    let mut found = None;
    for (version, length) in &versions {
        let end = at.checked_add(*length).filter(|it| *it <= bytes.len());
        let text = at..end.ok_or(Unread::Short)?;
        at = text.end;
        let is_newer = |it: &(u16, Range<usize>)| it.0 < *version;
        if ours.contains(version) && found.as_ref().is_none_or(is_newer) {
            found = Some((*version, text));
        }
    }
    let named = || versions.iter().map(|(version, _)| *version);
    let theirs = named().min().unwrap_or(0)..=named().max().unwrap_or(0);
    let (version, text) = found.ok_or(Unread::Versions { theirs, ours })?;
    Ok((version, text, at))
}

fn head_of(kind: [u8; 8], lengths: [usize; COUNT]) -> Vec<u8> {
    let mut head = kind.to_vec();
    let count = VERSION - OLDEST + 1;
    head.extend_from_slice(&count.to_be_bytes());
    for (version, length) in (OLDEST..).zip(lengths) {
        head.extend_from_slice(&version.to_be_bytes());
        head.extend_from_slice(&(length as u64).to_be_bytes());
    }
    head
}

/// Returns what a text of a version begins with.
fn mark(version: u16) -> &'static [u8] {
    if version >= 2 { MARK } else { b"" }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: [u8; 8] = *b"PRXTEST\0";

    /// What a program leaves that writes these versions.
    fn left_by(versions: RangeInclusive<u16>) -> Vec<u8> {
        let mut bytes = KIND.to_vec();
        bytes.extend((versions.end() - versions.start() + 1).to_be_bytes());
        for version in versions.clone() {
            bytes.extend(version.to_be_bytes());
            bytes.extend(2_u64.to_be_bytes());
        }
        versions.for_each(|version| bytes.extend(version.to_be_bytes()));
        bytes
    }

    fn read_by(ours: RangeInclusive<u16>, bytes: &[u8]) -> Result<u16, Unread> {
        let (version, text, end) = find_among(KIND, bytes, ours)?;
        assert_eq!(bytes[text], version.to_be_bytes());
        assert_eq!(end, bytes.len());
        Ok(version)
    }

    #[test]
    fn releases_that_follow_each_other_read_what_the_other_has_left() {
        assert_eq!(read_by(1..=1, &left_by(1..=2)), Ok(1));
        assert_eq!(read_by(1..=2, &left_by(1..=1)), Ok(1));
        assert_eq!(read_by(2..=3, &left_by(1..=2)), Ok(2));
        assert_eq!(read_by(1..=2, &left_by(2..=3)), Ok(2));
        assert_eq!(read_by(2..=3, &left_by(2..=3)), Ok(3));
    }

    #[test]
    fn releases_that_do_not_follow_each_other_say_so_and_what_to_do() {
        let refused = |ours, theirs| read_by(ours, &left_by(theirs)).unwrap_err().to_string();
        assert_eq!(
            refused(1..=1, 2..=3),
            "it is written in version 2 to 3, and this program reads version 1: releases go on for each other that \
             follow each other, so start one between the two first"
        );
        let older = refused(2..=3, 1..=1);
        assert!(
            older.contains("written in version 1, and this program reads version 2 to 3"),
            "{older}"
        );
    }

    #[test]
    fn what_this_program_writes_is_read_by_it_and_has_the_version_before() {
        let mut room = [0; 200];
        let length = write(KIND, &mut room, |it| it.write_all(b"text")).unwrap();
        let bytes = &room[..length];
        assert_eq!(bytes, written(KIND, b"text"));
        let (text, end) = find(KIND, bytes).unwrap();
        assert_eq!((&bytes[text], end), (&b"text"[..], length));
        let (version, text, _) = find_among(KIND, bytes, 1..=OLDEST).unwrap();
        assert_eq!((version, &bytes[text]), (OLDEST, &b"text"[..]));
        for less in 0..length {
            write(KIND, &mut room[..less], |it| it.write_all(b"text")).unwrap_err();
        }
    }

    #[test]
    fn what_is_something_else_or_cut_short_is_told_so() {
        let good = written(KIND, b"text");
        assert_eq!(find(*b"another\0", &good), Err(Unread::Other));
        for end in 0..8 {
            assert_eq!(find(KIND, &good[..end]), Err(Unread::Other));
        }
        for end in 8..good.len() {
            assert_eq!(find(KIND, &good[..end]), Err(Unread::Short));
        }
        let none = [&KIND[..], &[0, 0]].concat();
        assert!(matches!(find(KIND, &none), Err(Unread::Versions { .. })));
        let mut long = good;
        long[12..20].fill(0xff);
        assert_eq!(find(KIND, &long), Err(Unread::Short));
    }
}
