//! Finds out which sockets listen, and whose they are; all but [`knock`] and [`answers`] without connecting to them.
//!
//! The lists are those below `/proc/self`: systemd's `ProcSubset=pid` hides `/proc/net`.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use socket2::{Domain, SockAddr, Socket, Type};

/// The flag of a socket that accepts connections in `/proc/self/net/unix` (`__SO_ACCEPTCON`).
const ACCEPTS: &str = "00010000";

/// The state of a listening socket in `/proc/self/net/tcp` (`TCP_LISTEN`).
const LISTENS: &str = "0A";

/// Whether a process in this network namespace listens at a Unix socket that was bound to `path`.
///
/// The kernel keeps the path even if the file was removed.
#[must_use]
pub fn is_listened_at(path: &Path) -> bool {
    at_path(path).is_ok_and(|sockets| !sockets.is_empty())
}

/// Returns the numbers of the sockets that listen at a Unix socket of this `path`, by whatever name of its
/// folder they were bound to it; among them those whose file was removed.
///
/// Fails where the kernel's list cannot be read.
pub fn at_path(path: &Path) -> io::Result<BTreeSet<u64>> {
    let sockets = fs::read("/proc/self/net/unix")?;
    let sockets = String::from_utf8_lossy(&sockets);
    let wanted = folder(path);
    let bound = sockets.lines().filter_map(listening);
    Ok(bound
        .filter(|(bound, _)| {
            let bound = Path::new(bound);
            let named = bound.file_name() == path.file_name();
            bound == path || (named && wanted.is_some() && folder(bound) == wanted)
        })
        .map(|(_, socket)| socket)
        .collect())
}

/// Connects to the socket that the file at `path` leads to, and closes the connection at once. Does not wait.
///
/// Fails as connect(2) does: with [`io::ErrorKind::WouldBlock`] where the queue of the process that listens is full.
pub fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Whether a process listens at the socket that the file at `path` leads to; found out by a connection that
/// is closed at once. Does not wait for a process whose queue is full.
pub fn answers(path: &Path) -> bool {
    let is_unserved = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
        )
    };
    !knock(path).is_err_and(|error| is_unserved(&error))
}

/// Returns the device and inode of the folder that a path is in.
fn folder(path: &Path) -> Option<(u64, u64)> {
    let about = fs::metadata(path.parent()?).ok()?;
    Some((about.dev(), about.ino()))
}

/// Returns the path and the number of a listening socket from its line (`proc_net(5)`).
fn listening(line: &str) -> Option<(&str, u64)> {
    let (before, path) = line.split_at_checked(line.find(" /")? + 1)?;
    let mut words = before.split_whitespace();
    (words.nth(3) == Some(ACCEPTS)).then_some(())?;
    Some((path, words.nth(2)?.parse().ok()?))
}

/// Returns the addresses at which TCP sockets of this network namespace listen with this port, and the
/// numbers of these sockets.
///
/// Fails where the kernel's list cannot be read.
pub fn at_port(port: u16) -> io::Result<Vec<(IpAddr, u64)>> {
    let mut all = Vec::new();
    for list in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        match fs::read_to_string(list) {
            Ok(sockets) => all.extend(sockets.lines().filter_map(|line| listens(line, port))),
            // A kernel without IPv6 has no second list.
            Err(error) if error.kind() == io::ErrorKind::NotFound && list.ends_with('6') => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Returns the address and the number of a socket that listens with this port, from its line
/// (`proc_net(5)`).
fn listens(line: &str, wanted: u16) -> Option<(IpAddr, u64)> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    (port == wanted && words.nth(1) == Some(LISTENS)).then_some(())?;
    Some((address_of(address)?, words.nth(5)?.parse().ok()?))
}

/// Returns an address from its hexadecimal digits, whose groups of four bytes are in the machine's order.
fn address_of(digits: &str) -> Option<IpAddr> {
    let group = |at: usize| {
        let group = digits.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(group, 16).ok()?.to_ne_bytes())
    };
    if digits.len() == 8 {
        return Some(Ipv4Addr::from(group(0)?).into());
    }
    let mut bytes = [0; 16];
    for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&group(at)?);
    }
    Some(Ipv6Addr::from(bytes).into())
}

/// Returns the numbers of the sockets that a process has open; `None` is this process.
///
/// Fails if the process belongs to another user, or has ended.
pub fn sockets_of(process: Option<u32>) -> io::Result<BTreeSet<u64>> {
    let name = process.map_or_else(|| "self".to_owned(), |process| process.to_string());
    let open = fs::read_dir(format!("/proc/{name}/fd"))?;
    let number = |entry: io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        let number = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        number.parse().ok()
    };
    Ok(open.filter_map(number).collect())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener};

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

    #[test]
    fn a_listener_is_known_by_other_names_of_its_folder_and_as_ours() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("link")).unwrap();
        let _listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let found = at_path(&folder.path().join("link/socket")).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found.is_subset(&sockets_of(None).unwrap()));
        assert!(!found.is_subset(&sockets_of(Some(1)).unwrap_or_default()));
    }

    #[test]
    fn a_port_that_is_listened_at_is_found_with_its_address() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let bound = listener.local_addr().unwrap();
            let found = at_port(bound.port()).unwrap();
            let (_, socket) = found.iter().find(|(ip, _)| *ip == bound.ip()).unwrap();
            assert!(sockets_of(None).unwrap().contains(socket));
        }
    }
}
