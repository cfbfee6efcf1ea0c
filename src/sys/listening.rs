//! Finds out whether a process listens at a Unix socket, even if the socket's file was removed.

use std::{fs, path::Path};

/// The flag of a socket that accepts connections in `/proc/net/unix` (`__SO_ACCEPTCON`).
const ACCEPTS: &str = "00010000";

/// Whether a process in this network namespace listens at a Unix socket that was bound to `path`.
///
/// The kernel keeps the path even if the file was removed.
#[must_use]
pub fn is_listened_at(path: &Path) -> bool {
    let sockets = fs::read("/proc/net/unix").unwrap_or_default();
    let sockets = String::from_utf8_lossy(&sockets);
    sockets
        .lines()
        .any(|line| listens_at(line).is_some_and(|it| Path::new(it) == path))
}

/// Returns the path of a listening socket from its line (`proc_net(5)`).
fn listens_at(line: &str) -> Option<&str> {
    let (before, path) = line.split_at_checked(line.find(" /")? + 1)?;
    (before.split_whitespace().nth(3) == Some(ACCEPTS)).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_is_found_after_its_file_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a socket");
        assert!(!is_listened_at(&path));
        let listener = UnixListener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(is_listened_at(&path));
        drop(listener);
        assert!(!is_listened_at(&path));
    }
}
