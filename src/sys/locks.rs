//! Finds out who holds the lock on a file, without touching the lock.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Returns the id of the process that has locked the file at `path` by flock(2); `None` if none has, or
/// there is no file.
///
/// A process of another process id namespace is not seen. Fails where `/proc/locks` cannot be read.
pub fn holder(path: &Path) -> io::Result<Option<u32>> {
    let about = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        about => about?,
    };
    let locks = fs::read_to_string("/proc/locks")?;
    // Some file systems show programs another device than the kernel uses; the number that a daemon wrote
    // into the file then stands for the device.
    let written = fs::read_to_string(path).unwrap_or_default();
    let (device, written) = (device(about.dev()), written.trim().parse().ok());
    let held = locks.lines().filter_map(Lock::parse);
    let mut held = held.filter(|lock| lock.inode == about.ino());
    Ok(held
        .find(|lock| lock.device == device || Some(lock.pid) == written)
        .map(|lock| lock.pid))
}

/// A lock by flock(2) (`proc_locks(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Lock<'a> {
    pid: u32,
    device: &'a str,
    inode: u64,
}

impl<'a> Lock<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace().skip_while(|word| *word != "FLOCK");
        let pid = words.nth(3)?.parse().ok()?;
        let (device, inode) = words.next()?.rsplit_once(':')?;
        Some(Self {
            pid,
            device,
            inode: inode.parse().ok()?,
        })
    }
}

/// Returns a device as `/proc/locks` writes it.
fn device(number: u64) -> String {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    format!("{major:02x}:{minor:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_from_its_line() {
        let lock = Lock::parse("7: FLOCK  ADVISORY  WRITE 4711 fe:0a:246951 0 EOF");
        let expected = Lock {
            pid: 4711,
            device: "fe:0a",
            inode: 246_951,
        };
        assert_eq!(lock, Some(expected));
        for other in ["7: POSIX  ADVISORY  WRITE 1 fe:00:1 0 EOF", "7: FLOCK", ""] {
            assert_eq!(Lock::parse(other), None, "{other}");
        }
    }

    #[test]
    fn whoever_holds_a_lock_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        assert_eq!(holder(&path).unwrap(), None);
        let file = fs::File::create(&path).unwrap();
        assert_eq!(holder(&path).unwrap(), None);
        file.lock().unwrap();
        fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(holder(&path).unwrap(), Some(std::process::id()));
    }
}
