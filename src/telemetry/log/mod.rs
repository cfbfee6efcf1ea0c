//! Log lines: their form, and their way to the log, on which no caller ever waits.

mod backlog;
mod form;
mod pipe;
mod place;
mod writer;

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

pub(crate) use self::form::leads_to_journal;
pub use self::{form::Form, pipe::Pipe, place::Place};
use self::{form::JournalLines, writer::Shared};
use crate::config::LogLevel;

/// How long the process waits at its end for lines that are not written yet.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// The supervisor's log. Clones share it.
///
/// A thread of its own writes the lines. No method waits for the thread: a line that finds no room in
/// its queue is lost and counted, and the log says so once it can be written again.
#[derive(Debug, Clone)]
pub struct Sink {
    shared: Arc<Shared>,
    form: Form,
}

impl Sink {
    /// Starts the thread that writes to `place`.
    pub fn new(place: Place, form: Form) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        writer::start(Arc::clone(&shared), place, form)?;
        Ok(Self { shared, form })
    }

    /// Reopens a log file by its name, after an operator has renamed it; the log says whether that
    /// succeeded. A log that is not a file stays as it is.
    pub fn reopen(&self) {
        self.shared.reopen();
    }

    /// Takes a line from another process, which has formatted it.
    pub fn write_line(&self, line: &str) {
        let line = match self.form {
            Form::Journal => form::with_priority(line),
            Form::Text | Form::Json => line.into(),
        };
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.shared.push(bytes);
    }

    /// Returns the form of lines.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns how many lines were lost since the start.
    pub fn lost(&self) -> u64 {
        self.shared.lost()
    }

    /// Returns a guard that waits, when it is dropped, until all lines are written, but at most two
    /// seconds.
    pub fn flush_at_end(&self) -> Flush {
        Flush(Arc::clone(&self.shared))
    }
}

/// Waits when it is dropped until all lines are written.
#[derive(Debug)]
pub struct Flush(Arc<Shared>);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.wait_idle(FLUSH_PATIENCE);
    }
}

impl Write for Sink {
    /// Takes a whole line; never fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shared.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Sends this process's log lines to `sink` from now on, each line in one write.
pub fn start<W>(sink: W, level: LogLevel, form: Form)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter(level))
        .with_target(false)
        // A line that cannot be written is lost, without a report on standard error: that would panic if
        // standard error is what fails, and end the daemon, or a worker's sessions.
        .log_internal_errors(false)
        .with_writer(sink);
    let started = match form {
        Form::Text => builder.try_init(),
        Form::Json => builder.json().flatten_event(true).try_init(),
        Form::Journal => builder
            .with_ansi(false)
            .event_format(JournalLines)
            .try_init(),
    };
    // A second start in one process keeps the settings of the first.
    drop(started);
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
