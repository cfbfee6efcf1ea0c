//! The locked file that keeps a second daemon from starting.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::libc::O_NOFOLLOW;
use rustix::fs::fstat;

use super::refusal::{Refusal, make_folder};
use crate::sys::files;

/// The most bytes that are read of a file that an earlier daemon left.
const SHOWN: u64 = 64;

/// The locked file that keeps a second daemon from starting.
pub(super) struct PidFile {
    path: PathBuf,
    file: Arc<OwnedFd>,
    /// Whether an earlier daemon left the file because it ended without removing it.
    pub(super) predecessor_died: bool,
}

impl PidFile {
    /// Locks the file at `path`; makes it if it is missing.
    pub(super) fn lock(path: &Path) -> Result<Self, Refusal> {
        let about = |error: &dyn std::fmt::Display| format!("pid file {}: {error}", path.display());
        if let Some(folder) = path.parent() {
            make_folder(folder, 0o755).map_err(|error| about(&error))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o644);
        let mut file =
            files::open(path, &mut options, O_NOFOLLOW).map_err(|error| about(&error))?;
        // The number in the file is only shown; the lock decides.
        let before = written(&mut file);
        if let Err(error) = file.try_lock() {
            return Err(match error {
                fs::TryLockError::WouldBlock => already_running(&before, path),
                fs::TryLockError::Error(error) => about(&error),
            });
        }
        // An earlier daemon that was just ending may have removed the file before it released the
        // lock.
        if !has_name(&file, path) {
            return Self::lock(path);
        }
        let written = file
            .set_len(0)
            .and_then(|()| io::Seek::rewind(&mut file))
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| about(&error))?;
        Ok(Self {
            path: path.to_owned(),
            predecessor_died: !before.is_empty(),
            file: Arc::new(file.into()),
        })
    }

    /// Takes the file at `path` that this process has locked already.
    pub(super) fn locked(path: &Path, file: OwnedFd) -> Self {
        Self {
            path: path.to_owned(),
            file: Arc::new(file),
            predecessor_died: false,
        }
    }

    /// Returns the file, whose lock lasts as long as any descriptor of it, and its path.
    pub(super) fn descriptor(&self) -> (Arc<OwnedFd>, PathBuf) {
        (Arc::clone(&self.file), self.path.clone())
    }

    /// Removes the file while it is still locked, so that no other daemon locks a removed file.
    pub(super) fn remove(self) {
        // A file that has taken its name meanwhile belongs to another program. The next start takes over a file that is left.
        if has_name(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
        drop(self.file);
    }
}

/// Returns the refusal of a start because another daemon, whose number is `written` in its pid file, has
/// locked the file.
pub(super) fn already_running(written: &str, path: &Path) -> Refusal {
    format!(
        "already running (pid {written}); {} is locked",
        path.display()
    )
}

/// Returns the number in a pid file as text; an empty one if there is none.
pub(super) fn number(path: &Path) -> String {
    let file = files::open(path, OpenOptions::new().read(true), O_NOFOLLOW);
    file.map_or_else(|_| String::new(), |mut file| written(&mut file))
}

fn written(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.take(SHOWN).read_to_string(&mut text);
    text.trim().to_owned()
}

/// Whether `path` is still the name of `file`.
fn has_name(file: impl AsFd, path: &Path) -> bool {
    match (fstat(file), fs::symlink_metadata(path)) {
        (Ok(file), Ok(named)) => (file.st_dev, file.st_ino) == (named.dev(), named.ino()),
        _ => false,
    }
}
