//! What log lines are written to: a file by its name, or a descriptor that was inherited.

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

/// What log lines are written to.
#[derive(Debug)]
pub struct Place {
    /// The name to open it by again; `None` for what is no file.
    path: Option<PathBuf>,
    file: File,
    /// Whether the last line was cut off in its middle.
    torn: bool,
}

impl Place {
    /// Writes to a descriptor that this process was started with.
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

    /// Appends to the file at `path`, which is made if it is missing.
    ///
    /// `/dev/stdout` and `/dev/stderr` are the descriptors, `/dev/null` is allowed, and what else is
    /// no file is refused by its kind.
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

    /// Opens the file by its name again; `false` if it is none.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        let Some(path) = &self.path else {
            return Ok(false);
        };
        self.file = open(path)?;
        self.torn = false;
        Ok(true)
    }

    /// Writes a whole line, however long that takes.
    ///
    /// A line that failed in its middle, as on a full disk, is ended before the next begins.
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
                // Whoever else has this descriptor may have made it so.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) => {
                    self.torn |= bytes.len() < whole;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Waits until something can be written.
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
