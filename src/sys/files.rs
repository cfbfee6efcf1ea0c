//! Opens files that an operator named, and never waits at a path that is not a regular file.
//!
//! Opening a FIFO waits for its other end (fifo(7)), and opening a device may change the device's state.
//! So the kind is checked before opening, and checked again on what was opened.

use std::{
    fs::{self, File, FileType, Metadata, OpenOptions},
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Component, Path, PathBuf},
};

use nix::libc::{O_NOCTTY, O_NONBLOCK};

/// The most symbolic links that are followed to find out where a path leads (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Returns the name of a kind other than a regular file; `None` for a regular file.
#[must_use]
pub fn unfit(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("folder")
    } else if kind.is_fifo() {
        Some("FIFO")
    } else if kind.is_socket() {
        Some("socket")
    } else if kind.is_symlink() {
        Some("symbolic link")
    } else {
        Some("device")
    }
}

/// Fails if `about` is not of a regular file.
pub fn demand_file(about: &Metadata) -> io::Result<()> {
    match unfit(about.file_type()) {
        None => Ok(()),
        Some(kind) => Err(io::Error::other(format!("it is a {kind}, not a file"))),
    }
}

/// Fails if there is anything but a regular file at `path`, or behind a symbolic link there.
pub fn demand_file_or_nothing(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(about) => demand_file(&about),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Opens a regular file as `options` say; fails for anything else, names its kind, and never waits.
///
/// `flags` are further flags of open(2).
pub fn open(path: &Path, options: &mut OpenOptions, flags: i32) -> io::Result<File> {
    demand_file_or_nothing(path)?;
    let file = options
        .custom_flags(O_NONBLOCK | O_NOCTTY | flags)
        .open(path)?;
    demand_file(&file.metadata()?)?;
    Ok(file)
}

/// Reads a whole regular file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path, OpenOptions::new().read(true), 0)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!(
            "it holds more than {limit} bytes, the most that is read"
        )));
    }
    Ok(bytes)
}

/// The kind of file at a path, for a program that only appends to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A regular file, or no file yet.
    File,
    /// The null device.
    Null,
    /// A standard descriptor of this process.
    Descriptor(Standard),
}

/// A descriptor that every process starts with and may write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Standard {
    fn numbered(number: &str) -> Option<Self> {
        match number {
            "1" => Some(Self::Output),
            "2" => Some(Self::Error),
            _ => None,
        }
    }

    /// Returns a copy of the descriptor.
    pub fn duplicate(self) -> io::Result<OwnedFd> {
        self.with(|fd| fd.try_clone_to_owned())
    }

    /// Calls `look` with the descriptor.
    pub fn with<T>(self, look: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Output => look(io::stdout().as_fd()),
            Self::Error => look(io::stderr().as_fd()),
        }
    }
}

impl Output {
    /// Returns the kind of file at `path`; fails for a kind that cannot be appended to.
    pub fn of(path: &Path) -> io::Result<Self> {
        // The paths of descriptors come first: opening one would open the pipe or file behind it, and a
        // socket cannot be opened at all.
        if let Some(standard) = standard(path) {
            return Ok(Self::Descriptor(standard));
        }
        match fs::metadata(path) {
            Ok(about) if is_null(&about) => Ok(Self::Null),
            Ok(about) => demand_file(&about).map(|()| Self::File),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::File),
            Err(error) => Err(error),
        }
    }
}

/// Whether this is `/dev/null`, under any name (null(4): character device 1, 3).
fn is_null(about: &Metadata) -> bool {
    let device = about.rdev();
    about.file_type().is_char_device()
        && (rustix::fs::major(device), rustix::fs::minor(device)) == (1, 3)
}

/// Returns the standard descriptor that a path means, through symbolic links; `None` if it means none.
#[must_use]
pub fn standard(path: &Path) -> Option<Standard> {
    let mut path = clean(path);
    for _ in 0..MAX_LINKS {
        let text = path.to_str()?;
        if text == "/dev/stdout" {
            return Some(Standard::Output);
        }
        if text == "/dev/stderr" {
            return Some(Standard::Error);
        }
        for folder in ["/dev/fd/", "/proc/self/fd/"] {
            if let Some(number) = text.strip_prefix(folder) {
                return Standard::numbered(number);
            }
        }
        let target = fs::read_link(&path).ok()?;
        path = clean(&path.parent()?.join(target));
    }
    None
}

/// Removes `.` and `..` from a path.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = clean.pop(),
            part => clean.push(part),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn refusal(path: &Path) -> String {
        read(path, 64).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_file_is_refused_by_its_kind_and_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink(at("fifo"), at("link")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (path, kind) in [
            (at("fifo"), "a FIFO"),
            (at("link"), "a FIFO"),
            (at("socket"), "a socket"),
            (folder.path().to_owned(), "a folder"),
            ("/dev/zero".into(), "a device"),
        ] {
            let told = refusal(&path);
            assert!(told.contains(kind), "{}: {told}", path.display());
            assert!(Output::of(&path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_read_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [b'x'; 64]).unwrap();
        assert_eq!(read(&path, 64).unwrap().len(), 64);
        fs::write(&path, [b'x'; 65]).unwrap();
        assert!(refusal(&path).contains("more than 64"));
        assert_eq!(
            read(&folder.path().join("none"), 64).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn standard_descriptors_and_the_null_device_are_known_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        for (target, output) in [
            ("/dev/stdout", Output::Descriptor(Standard::Output)),
            ("/dev/stderr", Output::Descriptor(Standard::Error)),
            ("/dev/fd/2", Output::Descriptor(Standard::Error)),
            ("/proc/self/fd/1", Output::Descriptor(Standard::Output)),
            ("/dev/null", Output::Null),
            ("absent", Output::File),
        ] {
            symlink(target, &link).unwrap();
            assert_eq!(Output::of(&link).unwrap(), output, "{target}");
            fs::remove_file(&link).unwrap();
        }
    }
}
