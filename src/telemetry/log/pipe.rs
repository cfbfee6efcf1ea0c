//! Sends a child process's log lines to the supervisor, through a pipe that may be full or have no reader.

use std::{
    fs::File,
    io::{self, Stderr, Write},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tracing_subscriber::fmt::MakeWriter;

use super::{
    Form,
    backlog::{Backlog, Entry},
};

/// Why the pipe loses lines.
const UNREAD: &str = "the supervisor did not read them in time";

/// A child's log: standard error or another pipe, which must not block. Clones share it.
///
/// A line that finds no room is lost and counted, and the count is reported before the next line that
/// finds room. A line that was written in part is completed before another begins. While no process reads, a bounded
/// number of lines waits for one that will.
#[derive(Debug, Clone)]
pub struct Pipe(Arc<Mutex<Lines<Output>>>);

/// Where lines go.
#[derive(Debug)]
enum Output {
    Stderr(Stderr),
    Other(File),
}

impl Pipe {
    /// Writes to standard error, and makes that lose lines while the supervisor does not read them, because a
    /// child that waited for the supervisor would make every client wait.
    pub fn stderr(form: Form) -> Self {
        let _ = fcntl(io::stderr(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        let output = Output::Stderr(io::stderr());
        Self(Arc::new(Mutex::new(Lines::new(output, form))))
    }

    /// Writes to this pipe, which must not block.
    #[cfg(test)]
    pub(crate) fn to(pipe: OwnedFd, form: Form) -> Self {
        let output = Output::Other(File::from(pipe));
        Self(Arc::new(Mutex::new(Lines::new(output, form))))
    }

    /// Writes to this pipe from now on, first the lines that have waited for a reader. Refuses a pipe that would block.
    pub fn lead_to(&self, pipe: OwnedFd) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(&pipe)?;
        if !flags.contains(rustix::fs::OFlags::NONBLOCK) {
            return Err(io::Error::other("writing to it would block"));
        }
        self.lock().lead_to(Output::Other(File::from(pipe)));
        Ok(())
    }

    /// Writes more of the lines that have waited for a reader, as far as there is room.
    pub fn go_on(&self) {
        self.lock().write_waiting();
    }

    /// Locks the lines, which a child's one thread uses, so this never waits.
    fn lock(&self) -> MutexGuard<'_, Lines<Output>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr(stderr) => stderr.write(bytes),
            Self::Other(pipe) => pipe.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Pipe {
    /// Takes a whole line; never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lock().write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Pipe {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Sends lines through a writer that takes all, a part or none of what it is given.
#[derive(Debug)]
struct Lines<W> {
    writer: W,
    form: Form,
    /// The rest of a line that was written in part.
    rest: Vec<u8>,
    lost: u64,
    /// Whether no process reads.
    is_unread: bool,
    /// The line that goes before those that wait.
    next: Option<Vec<u8>>,
    /// Lines that wait for a reader, or behind others that have.
    waiting: Backlog,
}

/// How far a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// As a whole, or its rest follows.
    Begun,
    /// Not at all, for lack of room.
    NoRoom,
    /// Not at all, because no process reads.
    Unread,
}

impl<W: Write> Lines<W> {
    fn new(writer: W, form: Form) -> Self {
        Self {
            writer,
            form,
            rest: Vec::new(),
            lost: 0,
            is_unread: false,
            next: None,
            waiting: Backlog::default(),
        }
    }

    fn lead_to(&mut self, writer: W) {
        self.writer = writer;
        // No reader would know what it is the rest of.
        if !std::mem::take(&mut self.rest).is_empty() {
            self.lost += 1;
        }
        self.is_unread = false;
        self.write_waiting();
    }

    fn write(&mut self, line: &[u8]) {
        self.write_waiting();
        if self.is_unread || self.next.is_some() || !self.waiting.is_empty() {
            // One that finds no room is counted there.
            self.waiting.push(line.to_vec());
            return;
        }
        match self.write_now(line) {
            Written::Begun => {}
            Written::NoRoom => self.lost += 1,
            Written::Unread => drop(self.waiting.push(line.to_vec())),
        }
    }

    /// Writes lines that have waited, as far as there is room.
    fn write_waiting(&mut self) {
        while !self.is_unread
            && let Some(next) = self.take_next()
        {
            if self.write_now(&next) != Written::Begun {
                self.next = Some(next);
                return;
            }
        }
    }

    fn take_next(&mut self) -> Option<Vec<u8>> {
        let next = self.next.take();
        next.or_else(|| match self.waiting.pop()? {
            Entry::Line(line) => Some(line),
            Entry::Lost(number) => Some(self.form.loss(number, UNREAD)),
            Entry::Reopen => None,
        })
    }

    /// Writes a line, after what is to be told of lost ones.
    fn write_now(&mut self, line: &[u8]) -> Written {
        match self.finish() {
            Written::Begun => {}
            refused => return refused,
        }
        if self.lost > 0 {
            let told = self.form.loss(self.lost, UNREAD);
            match self.begin(&told) {
                Written::Begun => self.lost = 0,
                refused => return refused,
            }
        }
        match self.finish() {
            Written::Begun => self.begin(line),
            refused => refused,
        }
    }

    /// Writes the rest of the last line.
    fn finish(&mut self) -> Written {
        while !self.rest.is_empty() {
            match self.writer.write(&self.rest) {
                Ok(written @ 1..) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Written::NoRoom,
                Err(error) => return self.refused(&error),
            }
        }
        // What it has used is not kept for the next one.
        self.rest = Vec::new();
        Written::Begun
    }

    /// Writes a line or its beginning, the rest of which follows later.
    fn begin(&mut self, line: &[u8]) -> Written {
        loop {
            match self.writer.write(line) {
                Ok(0) if !line.is_empty() => return Written::NoRoom,
                Ok(written) => {
                    self.rest = line[written..].to_vec();
                    return Written::Begun;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.refused(&error),
            }
        }
    }

    fn refused(&mut self, error: &io::Error) -> Written {
        self.is_unread = error.kind() == io::ErrorKind::BrokenPipe;
        if self.is_unread {
            Written::Unread
        } else {
            Written::NoRoom
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::backlog::MAX_LINES, *};

    /// A writer that takes the given number of bytes at each write, and would block at 0.
    #[derive(Debug)]
    struct Narrow {
        taken: Vec<u8>,
        room: Vec<usize>,
        is_unread: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_unread {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            match self.room.pop().unwrap_or(usize::MAX).min(bytes.len()) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                room => {
                    self.taken.extend_from_slice(&bytes[..room]);
                    Ok(room)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn lines_stay_whole_and_lost_ones_are_told(
            room in prop::collection::vec(prop_oneof![Just(0), 1..40_usize], 0..60),
            number in 1..40_u64,
        ) {
            let narrow = Narrow { taken: Vec::new(), room, is_unread: false };
            let mut lines = Lines::new(narrow, Form::Text);
            for line in 0..number {
                lines.write(format!("line {line}\n").as_bytes());
            }
            // There is room for all by now.
            lines.writer.room.clear();
            lines.write(b"the end\n");
            let text = String::from_utf8(lines.writer.taken).unwrap();
            let mut arrived = 0;
            let mut lost = 0;
            for line in text.lines() {
                match line.rsplit_once("lost_lines=") {
                    Some((_, told)) => lost += told.parse::<u64>().unwrap(),
                    None if line == "the end" => {}
                    None => {
                        prop_assert!(line.strip_prefix("line ").is_some_and(|it| it.parse::<u64>().is_ok()), "{}", line);
                        arrived += 1;
                    }
                }
            }
            prop_assert_eq!(arrived + lost, number);
            prop_assert!(text.ends_with("the end\n"));
        }
    }

    fn narrow(room: Vec<usize>) -> Narrow {
        Narrow {
            taken: Vec::new(),
            room,
            is_unread: false,
        }
    }

    #[test]
    fn lines_wait_for_a_reader_in_their_order() {
        let mut lines = Lines::new(narrow(vec![]), Form::Text);
        lines.write(b"read\n");
        lines.writer.is_unread = true;
        lines.write(b"one\n");
        lines.write(b"two\n");
        // There is room for the first alone.
        lines.lead_to(narrow(vec![0, 4]));
        assert_eq!(lines.writer.taken, b"one\n");
        lines.write(b"three\n");
        assert_eq!(lines.writer.taken, b"one\ntwo\nthree\n");
    }

    #[test]
    fn the_rest_of_a_line_that_was_read_in_part_is_not_sent_to_the_next_reader() {
        let mut lines = Lines::new(narrow(vec![0, 2]), Form::Text);
        lines.write(b"half\n");
        lines.writer.is_unread = true;
        lines.write(b"whole\n");
        lines.lead_to(narrow(vec![]));
        let text = String::from_utf8(lines.writer.taken).unwrap();
        let read: Vec<_> = text.lines().collect();
        assert!(read[0].contains("lost_lines=1"), "{text}");
        assert_eq!(read[1..], ["whole"]);
    }

    #[test]
    fn so_many_lines_wait_and_no_more() {
        let mut lines = Lines::new(narrow(vec![]), Form::Text);
        lines.writer.is_unread = true;
        for _ in 0..MAX_LINES + 10 {
            lines.write(b"line\n");
        }
        lines.lead_to(narrow(vec![]));
        let text = String::from_utf8(lines.writer.taken).unwrap();
        assert_eq!(text.lines().filter(|it| *it == "line").count(), MAX_LINES);
        assert!(text.contains("lost_lines=10"), "{text}");
    }
}
