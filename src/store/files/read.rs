//! Reading a file that an operator named: bounded, never hanging, and clear about what is wrong.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use zeroize::Zeroizing;

use super::promise;
use crate::sys::files::unfit;

/// The largest certificate or key file that is read.
pub(crate) const IDENTITY_LIMIT: u64 = 1 << 20;
/// The largest file of authorities or revocation lists that is read.
pub(crate) const BUNDLE_LIMIT: u64 = 16 << 20;

/// A file's content, wiped from memory when dropped because it may hold a key.
pub(crate) struct Content {
    /// The bytes, never empty.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// The permission bits.
    pub(crate) mode: u32,
    /// The id of the user who owns the file.
    pub(crate) owner: u32,
    /// The id of the group that the file belongs to.
    pub(crate) group: u32,
    /// What the file system said of the file before it was read.
    pub(crate) stamp: Stamp,
    /// Whether the stamp changes with each write: see [`promise`].
    pub(crate) keeps_times: bool,
}

/// What the file system says of a file's content without reading it.
///
/// Every write changes the time of the last status change, which no program can set. Only a write in
/// the same tick of the file system's clock as the one before leaves it as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Asks the file system about the file that a path leads to.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|about| Self::from(&about))
    }

    /// Returns whether the last change is older than `age` at `then`.
    pub(crate) fn is_older(&self, age: Duration, then: SystemTime) -> bool {
        let (seconds, nanos) = self.changed;
        let changed = u64::try_from(seconds)
            .ok()
            .zip(u32::try_from(nanos).ok())
            .map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
        changed.is_some_and(|changed| changed + age <= then)
    }
}

impl From<&fs::Metadata> for Stamp {
    fn from(about: &fs::Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

#[cfg(test)]
impl Content {
    /// Makes what a private file with these bytes would give.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            mode: 0o600,
            owner: 0,
            group: 0,
            stamp: Stamp {
                device: 0,
                inode: 0,
                size: 0,
                modified: (0, 0),
                changed: (0, 0),
            },
            keeps_times: true,
        }
    }
}

/// The bytes may be a key; only their number is shown.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("bytes", &self.bytes.len())
            .field("mode", &self.mode)
            .field("owner", &self.owner)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    #[error("there is no such file")]
    Missing,
    #[error("there is no such file: {} does not exist", .0.display())]
    MissingPart(PathBuf),
    #[error("it is a symbolic link to {}, which does not exist", .0.display())]
    Dangling(PathBuf),
    #[error("permission denied: user {uid} may not read it")]
    Denied { uid: u32 },
    #[error("user {uid} may not enter the folder {}", folder.display())]
    DeniedPart { uid: u32, folder: PathBuf },
    #[error("it is a {0}, not a file")]
    NotAFile(&'static str),
    #[error("it is empty")]
    Empty,
    #[error("it holds more than {} MiB, the most that is read", limit >> 20)]
    TooLarge { limit: u64 },
    #[error("it cannot be read: {0}")]
    Io(#[source] io::Error),
}

/// Reads a whole regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Content, FileFault> {
    let file = open(path).map_err(|error| explain(path, error))?;
    let about = file.metadata().map_err(FileFault::Io)?;
    if let Some(kind) = unfit(about.file_type()) {
        return Err(FileFault::NotAFile(kind));
    }
    if about.len() > limit {
        return Err(FileFault::TooLarge { limit });
    }
    let keeps_times = promise::holds_for(&file);
    Ok(Content {
        bytes: read_at_most(file, about.len(), limit)?,
        keeps_times,
        mode: about.mode() & 0o7777,
        owner: about.uid(),
        group: about.gid(),
        stamp: Stamp::from(&about),
    })
}

/// Opens without waiting: a FIFO without a writer would block the daemon for ever.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK | O_NOCTTY)
        .open(path)
}

fn read_at_most(file: File, expected: u64, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    // Room for all of it from the start: a vector that grows leaves copies of the key behind.
    let room = usize::try_from(expected + 1).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(FileFault::Io)?;
    match bytes.len() as u64 {
        0 => Err(FileFault::Empty),
        len if len > limit => Err(FileFault::TooLarge { limit }),
        _ => Ok(bytes),
    }
}

fn explain(path: &Path, error: io::Error) -> FileFault {
    match error.kind() {
        io::ErrorKind::NotFound => missing(path),
        io::ErrorKind::PermissionDenied => denied(path),
        _ if is_socket(path) => FileFault::NotAFile("socket"),
        _ => FileFault::Io(error),
    }
}

fn missing(path: &Path) -> FileFault {
    if let Ok(target) = fs::read_link(path) {
        return FileFault::Dangling(target);
    }
    outermost(path)
        .find(|part| *part != path && !part.exists())
        .map_or(FileFault::Missing, |part| {
            FileFault::MissingPart(part.to_owned())
        })
}

fn denied(path: &Path) -> FileFault {
    let uid = nix::unistd::geteuid().as_raw();
    // Of a folder that may not be entered, not even what lies in it can be asked.
    let closed = outermost(path).find(|part| {
        matches!(part.metadata(), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
    });
    match closed.and_then(Path::parent) {
        Some(folder) => FileFault::DeniedPart {
            uid,
            folder: folder.to_owned(),
        },
        None => FileFault::Denied { uid },
    }
}

fn is_socket(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|about| about.file_type().is_socket())
}

/// Returns the path's ancestors and itself, the shortest first.
fn outermost(path: &Path) -> impl Iterator<Item = &Path> {
    let mut parts: Vec<_> = path
        .ancestors()
        .filter(|part| !part.as_os_str().is_empty())
        .collect();
    parts.reverse();
    parts.into_iter()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{PermissionsExt, symlink},
        os::unix::net::UnixListener,
        time::Instant,
    };

    use super::*;

    fn reason(path: &Path) -> String {
        read(path, 64).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let content = read(&path, 7).unwrap();
        assert_eq!(content.bytes.as_slice(), b"content");
        assert_eq!(content.mode, 0o640);
        assert_eq!(content.owner, nix::unistd::geteuid().as_raw());
        assert_eq!(content.group, path.metadata().unwrap().gid());
    }

    #[test]
    fn a_stamp_is_another_after_each_write_and_old_only_with_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path).unwrap();
        assert_eq!(read(&path, 64).unwrap().stamp, first);
        fs::write(dir.path().join("other"), "one").unwrap();
        fs::rename(dir.path().join("other"), &path).unwrap();
        assert_ne!(Stamp::of(&path).unwrap(), first);
        let now = SystemTime::now();
        assert!(!first.is_older(Duration::from_secs(60), now));
        assert!(first.is_older(Duration::from_secs(60), now + Duration::from_secs(120)));
    }

    #[test]
    fn what_is_no_readable_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("empty"), "").unwrap();
        fs::write(at("large"), [b'x'; 65]).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let table = [
            ("absent", "there is no such file"),
            ("absent/deep/file", "absent does not exist"),
            ("dangling", "a symbolic link to"),
            ("empty", "it is empty"),
            ("large", "it holds more than"),
            (".", "it is a folder"),
            ("socket", "it is a socket"),
            ("empty/below", "it cannot be read: Not a directory"),
        ];
        for (name, expected) in table {
            let reason = reason(&at(name));
            assert!(reason.contains(expected), "{name}: {reason}");
        }
    }

    #[test]
    fn a_fifo_does_not_hang_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let start = Instant::now();
        assert_eq!(reason(&path), "it is a FIFO, not a file");
        assert!(start.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_device_is_refused() {
        assert_eq!(reason(Path::new("/dev/zero")), "it is a device, not a file");
    }

    #[test]
    fn who_may_not_read_is_told_where_the_way_ends() {
        let uid = nix::unistd::geteuid();
        if uid.is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("closed");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("file"), "x").unwrap();
        fs::set_permissions(folder.join("file"), fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(
            reason(&folder.join("file")),
            format!("permission denied: user {uid} may not read it")
        );
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
        let expected = format!("may not enter the folder {}", folder.display());
        assert!(reason(&folder.join("file")).contains(&expected));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
}
