//! Reading a file that an operator named: bounded, never hanging, and clear about what is wrong.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::libc::{O_NOCTTY, O_NONBLOCK};
use zeroize::Zeroizing;

/// The largest certificate or key file that is read.
pub(super) const IDENTITY_LIMIT: u64 = 1 << 20;
/// The largest file of authorities or revocation lists that is read.
pub(super) const BUNDLE_LIMIT: u64 = 16 << 20;

/// A file's content, wiped from memory when dropped because it may hold a key.
pub(super) struct Content {
    /// The bytes, never empty.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// The permission bits.
    pub(super) mode: u32,
    /// The id of the user who owns the file.
    pub(super) owner: u32,
    /// The id of the group that the file belongs to.
    pub(super) group: u32,
}

/// The bytes may be a key; only their number is shown.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("bytes", &self.bytes.len())
            .field("mode", &self.mode)
            .field("owner", &self.owner)
            .field("group", &self.group)
            .finish()
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
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
pub(super) fn read(path: &Path, limit: u64) -> Result<Content, FileFault> {
    let file = open(path).map_err(|error| explain(path, error))?;
    let about = file.metadata().map_err(FileFault::Io)?;
    if let Some(kind) = unfit(&about) {
        return Err(FileFault::NotAFile(kind));
    }
    if about.len() > limit {
        return Err(FileFault::TooLarge { limit });
    }
    Ok(Content {
        bytes: read_at_most(file, about.len(), limit)?,
        mode: about.mode() & 0o7777,
        owner: about.uid(),
        group: about.gid(),
    })
}

/// Opens without waiting: a FIFO that nobody writes to would hold the daemon for ever.
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

fn unfit(about: &fs::Metadata) -> Option<&'static str> {
    let kind = about.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("folder")
    } else if kind.is_fifo() {
        Some("FIFO")
    } else {
        Some("device")
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
