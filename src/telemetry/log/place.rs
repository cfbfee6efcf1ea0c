//! The place that log lines are written to: a file by its name, or an inherited descriptor.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use crate::sys::files::{self, Output, Standard};

/// The place that log lines are written to.
#[derive(Debug)]
pub struct Place {
    /// The name to reopen a file by; `None` for a descriptor.
    path: Option<PathBuf>,
    file: File,
    /// Whether the last line was written only in part.
    torn: bool,
}

impl Place {
    /// Makes a place of a descriptor that this process was started with.
    pub fn standard(standard: Standard) -> io::Result<Self> {
        Ok(Self {
            path: None,
            file: standard.duplicate()?.into(),
            torn: false,
        })
    }

    #[cfg(test)]
    pub(super) fn of(file: File) -> Self {
        Self {
            path: None,
            file,
            torn: false,
        }
    }

    /// Makes a place that appends to the file at `path`, which is made if it is missing.
    ///
    /// `/dev/stdout` and `/dev/stderr` mean the descriptors, and `/dev/null` is allowed. Any other path
    /// that is not a regular file is refused, with its kind.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Output::Descriptor(standard) = Output::of(path)? {
            return Self::standard(standard);
        }
        Ok(Self {
            path: Some(path.to_owned()),
            file: open(path)?,
            torn: false,
        })
    }

    /// Reopens the file by its name; returns `false` if the place is not a file.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        self.file = open(path)?;
        self.torn = false;
        Ok(true)
    }

    /// Writes a whole line, for as long as that takes.
    ///
    /// If a line was written only in part, as on a full disk, a line break comes before the next one.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write(b"\n")?;
            self.torn = false;
        }
        self.write(line)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let whole = bytes.len();
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process that shares this descriptor may have made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) => {
                    self.torn |= bytes.len() < whole;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Waits until the descriptor can be written to.
    fn wait(&self) -> io::Result<()> {
        let mut fds = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::OUT)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Opens a log file, or the null device.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    match Output::of(path)? {
        Output::Null => options.open(path),
        Output::File | Output::Descriptor(_) => files::open(path, &mut options, 0),
    }
}
