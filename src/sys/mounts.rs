//! Single files that are mounted over: renames outside, by which most tools replace a file, never
//! reach them.

use std::{fs, io, os::unix::ffi::OsStringExt as _, path::Path, path::PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Footing {
    /// A file in a folder, where a rename can replace it.
    InFolder,
    /// A file that is a mount of its own.
    Mounted,
    /// The same, and the name that was mounted no longer is that file's.
    Gone,
}

/// Returns whether this process may see a file that is a mount of its own.
///
/// Cheap, so that callers need not ask about each of thousands of files where none can be one.
pub(crate) fn may_be_files() -> bool {
    // Without an answer, the files themselves have to be asked.
    fs::read("/proc/self/mountinfo").is_ok_and(|text| lists_file(&text, is_folder))
}

/// Looks for a mount of a part of a file system that is no folder, `proc_pid_mountinfo(5)`.
fn lists_file(mountinfo: &[u8], is_folder: impl Fn(&Path) -> bool) -> bool {
    mountinfo.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (Some(root), Some(place)) = (fields.next(), fields.next()) else {
            return false;
        };
        let kind = fields.skip_while(|it| *it != b"-").nth(1).unwrap_or(b"");
        // A dead server must not block the caller.
        let may_hang =
            kind.starts_with(b"nfs") || kind.starts_with(b"fuse") || REMOTE.contains(&kind);
        root != b"/" && !OF_CONTAINERS.contains(&place) && (may_hang || !is_folder(&path(place)))
    })
}

const REMOTE: [&[u8]; 5] = [b"cifs", b"smb3", b"9p", b"ceph", b"autofs"];

/// Files that container runtimes mount into every container.
const OF_CONTAINERS: [&[u8]; 3] = [b"/etc/hosts", b"/etc/hostname", b"/etc/resolv.conf"];

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_dir())
}

/// Reads a path with its blanks and backslashes written in octal.
fn path(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        rest = after;
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let octal = octal.and_then(|it| std::str::from_utf8(it).ok());
        let byte = octal.and_then(|it| u8::from_str_radix(it, 8).ok());
        if byte.is_some() {
            rest = &after[3..];
        }
        bytes.push(byte.unwrap_or(*first));
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Asks what a path leads to.
///
/// A kernel older than 5.8 does not tell of mounts; there, only a name that is gone is seen.
pub(crate) fn footing(path: &Path) -> io::Result<Footing> {
    let about = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    let is_told = about
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT);
    let is_mounted = about.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    let is_file = u32::from(about.stx_mode) & nix::libc::S_IFMT == nix::libc::S_IFREG;
    Ok(
        match (is_file && (is_mounted || !is_told), about.stx_nlink) {
            (true, 0) => Footing::Gone,
            (true, _) if is_mounted => Footing::Mounted,
            _ => Footing::InFolder,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "22 28 0:21 / /proc rw,nosuid shared:13 - proc proc rw\n\
        28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
        30 28 254:1 /@home /home rw - btrfs /dev/vda1 rw\n\
        31 28 254:1 /var/lib/docker/x/hosts /etc/hosts rw - ext4 /dev/vda1 rw\n";

    #[test]
    fn a_mount_of_a_part_that_is_no_folder_may_be_a_file() {
        let is_folder = |path: &Path| path == Path::new("/home");
        assert!(!lists_file(PLAIN.as_bytes(), is_folder));
        let more = |line: &str| format!("{PLAIN}{line}\n");
        let file = more("40 28 254:1 /secret//deleted /certs/my\\040key rw - ext4 /dev/vda1 rw");
        let seen = |path: &Path| path == Path::new("/home") || path == Path::new("/certs/my key");
        assert!(lists_file(file.as_bytes(), is_folder));
        assert!(!lists_file(file.as_bytes(), seen));
        let remote = more("40 28 0:44 /export/x /mnt rw shared:3 - nfs4 host:/export rw");
        let never = |path: &Path| {
            assert_ne!(path, Path::new("/mnt"), "it may hang");
            true
        };
        assert!(lists_file(remote.as_bytes(), never));
        assert!(!lists_file(b"", is_folder) && !lists_file(b"1 2 3\n\n", is_folder));
    }

    #[test]
    fn what_lies_in_a_folder_is_no_mount() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(footing(file.path()).unwrap(), Footing::InFolder);
        // The root of a file system is a mount, but no file.
        assert_eq!(footing(Path::new("/")).unwrap(), Footing::InFolder);
        assert!(footing(Path::new("/absent")).is_err());
    }
}
