//! The thread that writes log lines, and alone waits for the disk or for the reader of a pipe.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{error, info};

use super::{
    Form, Place,
    backlog::{Backlog, Entry},
};

/// How often to try again to write to a log, or to reopen it, after that has failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Why lines find no room in the backlog.
const SLOW: &str = "the log was not read or written fast enough";

/// The state that the writing thread and its callers share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Signals that there is a step to take.
    work: Condvar,
    /// Signals that all lines are written.
    idle: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    /// Whether the thread is at work on the step that it took last.
    busy: bool,
}

impl Shared {
    /// Takes a line, or counts it as lost.
    pub(super) fn push(&self, line: Vec<u8>) {
        if !self.lock().backlog.push(line) {
            self.lose();
        }
        self.work.notify_one();
    }

    /// Queues reopening the file, after the lines before.
    pub(super) fn reopen(&self) {
        self.lock().backlog.reopen();
        self.work.notify_one();
    }

    /// Returns how many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written, but no longer than `patience`.
    pub(super) fn wait_idle(&self, patience: Duration) {
        let waits = |state: &mut State| state.busy || !state.backlog.is_empty();
        // Lines that are not written by then are lost with the process.
        drop(self.idle.wait_timeout_while(self.lock(), patience, waits));
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the next step; returns `None` after `patience`, if one is given.
    fn next(&self, patience: Option<Duration>) -> Option<Entry> {
        let mut state = self.lock();
        state.busy = false;
        let is_idle = |state: &mut State| state.backlog.is_empty();
        if is_idle(&mut state) {
            self.idle.notify_all();
        }
        let mut state = match patience {
            None => self
                .work
                .wait_while(state, is_idle)
                .unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.work.wait_timeout_while(state, patience, is_idle);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.busy = true;
        state.backlog.pop()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread. It ends with the process.
pub(super) fn start(shared: Arc<Shared>, place: Place, form: Form) -> io::Result<()> {
    let mut writer = Writer {
        shared,
        place,
        form,
        owed: Owed::default(),
    };
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.run())
        .map(drop)
}

/// What the thread still has to make up for.
#[derive(Debug, Default)]
struct Owed {
    /// How many lines found no room and are not reported yet.
    slow: u64,
    /// How many lines could not be written, and why not.
    failed: Option<(u64, String)>,
    /// When to try again to reopen the file, if that has failed.
    reopen: Option<Instant>,
}

struct Writer {
    shared: Arc<Shared>,
    place: Place,
    form: Form,
    owed: Owed,
}

impl Writer {
    fn run(&mut self) {
        loop {
            match self.shared.next(self.owed.patience()) {
                Some(Entry::Line(line)) => self.write(&line),
                Some(Entry::Lost(number)) => self.owed.slow += number,
                Some(Entry::Reopen) => self.reopen(),
                None => {}
            }
            self.try_again();
            // If this report cannot be written now, it is tried with the next line, or after a while.
            let _ = self.settle();
        }
    }

    /// Tries again to reopen the file, if that has failed and is due.
    fn try_again(&mut self) {
        let due = |at: &mut Instant| *at <= Instant::now();
        if self.owed.reopen.take_if(due).is_some() {
            match self.place.reopen() {
                Ok(_) => info!("log file reopened"),
                Err(_) => self.owed.reopen = Some(Instant::now() + RETRY_INTERVAL),
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        if let Err(error) = self.settle().and_then(|()| self.place.write_line(line)) {
            self.shared.lose();
            self.owed.fail(&error);
        }
    }

    /// Reports lost lines in the log.
    fn settle(&mut self) -> io::Result<()> {
        if let Some((number, why)) = &self.owed.failed {
            let why = format!("the log could not be written: {why}");
            self.place.write_line(&self.form.loss(*number, &why))?;
            self.owed.failed = None;
        }
        if self.owed.slow > 0 {
            self.place
                .write_line(&self.form.loss(self.owed.slow, SLOW))?;
            self.owed.slow = 0;
        }
        Ok(())
    }

    fn reopen(&mut self) {
        self.owed.reopen = None;
        match self.place.reopen() {
            Ok(true) => info!("log file reopened"),
            Ok(false) => info!("the log is not a file; there is nothing to reopen"),
            Err(error) => {
                self.owed.reopen = Some(Instant::now() + RETRY_INTERVAL);
                error!(
                    %error,
                    "the log file cannot be reopened; the old one is still written to, and reopening \
                     is tried again every second"
                );
            }
        }
    }
}

impl Owed {
    /// Returns how long to wait for the next line before losses are reported without one.
    fn patience(&self) -> Option<Duration> {
        let owes = self.slow > 0 || self.failed.is_some() || self.reopen.is_some();
        owes.then_some(RETRY_INTERVAL)
    }

    fn fail(&mut self, error: &io::Error) {
        let (number, why) = self.failed.get_or_insert_default();
        *number += 1;
        *why = error.to_string();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::telemetry::log::{Sink, backlog::MAX_LINES};

    /// Returns how many lines the whole lines of a log say were lost.
    fn told(text: &[u8]) -> u64 {
        let text = String::from_utf8_lossy(text);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let numbers = whole
            .lines()
            .filter_map(|line| line.split_once("lost_lines="));
        numbers
            .map(|(_, number)| number.trim().parse::<u64>().unwrap())
            .sum()
    }

    #[test]
    fn a_reader_that_does_not_read_stops_no_writer_and_hears_of_it() {
        let (mut reader, writer) = io::pipe().unwrap();
        let place = Place::of(std::os::fd::OwnedFd::from(writer).into());
        let sink = Sink::new(place, Form::Text).unwrap();
        let began = Instant::now();
        let given = u64::try_from(MAX_LINES).unwrap() * 2;
        for number in 0..given {
            sink.write_line(&format!("line {number} {}", "x".repeat(60)));
        }
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(sink.lost() > 0);
        let lost = sink.lost();
        let mut text = Vec::new();
        let mut space = [0; 4096];
        while told(&text) < lost {
            let read = reader.read(&mut space).unwrap();
            text.extend_from_slice(&space[..read]);
        }
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("line "))
                .count() as u64,
            given - lost
        );
    }
}
