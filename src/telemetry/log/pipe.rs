//! Sends a child process's log lines to the supervisor, through a pipe that may be full.

use std::{
    io::{self, Stderr, Write},
    sync::{Arc, Mutex, PoisonError},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tracing_subscriber::fmt::MakeWriter;

use super::Form;

/// Why the pipe loses lines.
const UNREAD: &str = "the supervisor did not read them in time";

/// A child's log: standard error, which must not block. Clones share it.
///
/// A line that finds no room is lost and counted, and the count is reported before the next line that
/// finds room. A line that was written in part is completed before another begins.
#[derive(Debug, Clone)]
pub struct Pipe(Arc<Mutex<Lines<Stderr>>>);

impl Pipe {
    /// Writes to standard error, and makes that lose lines while the supervisor does not read them, because a
    /// child that waited for the supervisor would make every client wait.
    pub fn stderr(form: Form) -> Self {
        let _ = fcntl(io::stderr(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        Self(Arc::new(Mutex::new(Lines::new(io::stderr(), form))))
    }
}

impl Write for Pipe {
    /// Takes a whole line; never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.write(line);
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
}

impl<W: Write> Lines<W> {
    fn new(writer: W, form: Form) -> Self {
        Self {
            writer,
            form,
            rest: Vec::new(),
            lost: 0,
        }
    }

    fn write(&mut self, line: &[u8]) {
        if self.lost > 0 && self.is_through() {
            let told = self.form.loss(self.lost, UNREAD);
            if self.begin(&told) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.is_through() || !self.begin(line) {
            self.lost += 1;
        }
    }

    /// Writes the rest of the last line; returns whether all of it was written.
    fn is_through(&mut self) -> bool {
        while !self.rest.is_empty() {
            match self.writer.write(&self.rest) {
                Ok(1..) if self.rest.len() == 1 => self.rest.clear(),
                Ok(written @ 1..) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return false,
            }
        }
        true
    }

    /// Writes a line or its beginning, the rest of which follows later; returns `false` if none of it was
    /// written.
    fn begin(&mut self, line: &[u8]) -> bool {
        loop {
            match self.writer.write(line) {
                Ok(0) if !line.is_empty() => return false,
                Ok(written) => {
                    self.rest = line[written..].to_vec();
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A writer that takes the given number of bytes at each write, and would block at 0.
    #[derive(Debug)]
    struct Narrow {
        taken: Vec<u8>,
        room: Vec<usize>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
            let narrow = Narrow { taken: Vec::new(), room };
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
}
