//! Log lines: one place they go to, that can be opened anew.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogLevel};

/// Where log lines go. Clones share the place.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Mutex<Place>>);

#[derive(Debug)]
enum Place {
    Stderr,
    File { path: PathBuf, file: File },
}

impl Sink {
    /// Writes to standard error.
    pub fn stderr() -> Self {
        Self(Arc::new(Mutex::new(Place::Stderr)))
    }

    /// Appends to the file at `path`, which is made if it is missing.
    pub fn file(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self(Arc::new(Mutex::new(Place::File { path, file }))))
    }

    /// Opens the file by its name again, after somebody renamed it; nothing for standard error.
    pub fn reopen(&self) -> io::Result<()> {
        if let Place::File { path, file } = &mut *self.lock() {
            *file = open(path)?;
        }
        Ok(())
    }

    /// Writes a line that is formatted already. What cannot be written is lost: there is nowhere
    /// to say so.
    pub fn write_line(&self, line: &str) {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let _ = self.clone().write_all(&bytes);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.lock() {
            Place::Stderr => io::stderr().write(bytes),
            Place::File { file, .. } => file.write(bytes),
        }
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

/// Sends this process's log lines to `sink` from now on.
pub fn start(sink: Sink, level: LogLevel, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter(level))
        .with_target(false)
        // A line that cannot be written is lost. Telling standard error so panics when that is
        // what is gone, and would take the daemon, or a worker's sessions, along.
        .log_internal_errors(false)
        .with_writer(sink);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // A second start in one process keeps the first's settings.
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
