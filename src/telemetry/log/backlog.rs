//! The bounded queue of lines to write, with notes of lost lines at their places. Pure.

use std::collections::VecDeque;

/// The most bytes that wait.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The most lines that wait.
pub(super) const MAX_LINES: usize = 4096;

/// A step for the writer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Write this line.
    Line(Vec<u8>),
    /// Report that so many lines were lost here for lack of room.
    Lost(u64),
    /// Open the file by its name again.
    Reopen,
}

/// The steps that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    bytes: usize,
    lines: usize,
    reopens: bool,
}

impl Backlog {
    /// Takes a line; returns whether there was room. A lost line is noted at its place.
    pub(super) fn push(&mut self, line: Vec<u8>) -> bool {
        if self.lines < MAX_LINES && self.bytes + line.len() <= MAX_BYTES {
            self.lines += 1;
            self.bytes += line.len();
            self.entries.push_back(Entry::Line(line));
            return true;
        }
        if let Some(Entry::Lost(number)) = self.entries.back_mut() {
            *number += 1;
        } else {
            self.entries.push_back(Entry::Lost(1));
        }
        false
    }

    /// Queues opening the file again after the lines before; does nothing if that is queued already.
    pub(super) fn reopen(&mut self) {
        if !self.reopens {
            self.reopens = true;
            self.entries.push_back(Entry::Reopen);
        }
    }

    /// Returns the next step.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front();
        match &entry {
            Some(Entry::Line(line)) => {
                self.lines -= 1;
                self.bytes -= line.len();
            }
            Some(Entry::Reopen) => self.reopens = false,
            Some(Entry::Lost(_)) | None => {}
        }
        entry
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Reopen,
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..MAX_BYTES / 4).prop_map(Step::Push),
            1 => Just(Step::Reopen),
            2 => Just(Step::Pop),
        ]
    }

    proptest! {
        #[test]
        fn no_line_is_forgotten_and_no_bound_is_passed(steps in prop::collection::vec(step(), 0..200)) {
            let mut backlog = Backlog::default();
            let (mut given, mut written, mut lost, mut refused) = (0, 0, 0, 0);
            let mut count = |entry| match entry {
                Some(Entry::Line(_)) => written += 1,
                Some(Entry::Lost(number)) => lost += number,
                Some(Entry::Reopen) | None => {}
            };
            for step in steps {
                match step {
                    Step::Push(length) => {
                        given += 1;
                        refused += u64::from(!backlog.push(vec![b'x'; length]));
                    }
                    Step::Reopen => backlog.reopen(),
                    Step::Pop => count(backlog.pop()),
                }
                prop_assert!(backlog.bytes <= MAX_BYTES && backlog.lines <= MAX_LINES);
                prop_assert!(backlog.entries.len() <= 2 * backlog.lines + 3);
            }
            while !backlog.is_empty() {
                count(backlog.pop());
            }
            prop_assert_eq!(lost, refused);
            prop_assert_eq!(written + lost, given);
            prop_assert_eq!((backlog.bytes, backlog.lines), (0, 0));
        }
    }

    #[test]
    fn what_was_lost_is_told_where_it_was_lost() {
        let mut backlog = Backlog::default();
        for _ in 0..MAX_LINES {
            assert!(backlog.push(b"early".to_vec()));
        }
        assert!(!backlog.push(b"lost".to_vec()));
        assert!(!backlog.push(b"lost".to_vec()));
        assert_eq!(backlog.pop(), Some(Entry::Line(b"early".to_vec())));
        assert!(backlog.push(b"late".to_vec()));
        for _ in 1..MAX_LINES {
            assert_eq!(backlog.pop(), Some(Entry::Line(b"early".to_vec())));
        }
        assert_eq!(backlog.pop(), Some(Entry::Lost(2)));
        assert_eq!(backlog.pop(), Some(Entry::Line(b"late".to_vec())));
        assert_eq!(backlog.pop(), None);
    }
}
