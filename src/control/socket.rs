//! Binds the control socket so that no client connects before its owner, its mode and its cookie are right.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{cookie::Cookie, cookie_file};
use crate::sys::folders;

const BACKLOG: i32 = 128;

/// Why the control socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon uses this path.
    #[error(
        "another proxyd answers at {}; stop it with `proxyctl stop`, or set another control_socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something that is no socket has the path.
    #[error(
        "{} exists and is not a socket; remove it, or set another control_socket", .0.display()
    )]
    NotASocket(PathBuf),
    /// Something that is no cookie has the place of the socket's cookie.
    #[error(
        "{} is a {kind} that is not a cookie of proxyd; remove it, or set another control_socket: proxyd \
         writes a file of that name beside its socket",
        path.display()
    )]
    NotACookie {
        /// The place of the cookie.
        path: PathBuf,
        /// What is there.
        kind: &'static str,
    },
    /// The cookie could not be written.
    #[error(
        "cannot write {}, the cookie that proxyctl has to show: {source}; proxyd must be able to make \
         files in the folder of its control_socket",
        path.display()
    )]
    NoCookie {
        /// The cookie's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A step failed.
    #[error("cannot {step} {}: {source}", path.display())]
    Step {
        /// What was tried, as a verb phrase.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

pub(super) trait Named<T> {
    fn named(self, step: &'static str, path: &Path) -> Result<T, BindError>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, step: &'static str, path: &Path) -> Result<T, BindError> {
        self.map_err(|source| BindError::Step {
            step,
            path: path.to_owned(),
            source,
        })
    }
}

/// Binds the control socket at `path`, for this user and, if given, the members of `group`, and writes its
/// `cookie` beside it.
///
/// A missing parent folder is created, a socket that no process listens at is replaced, and anything
/// else in its place is left alone; the same holds for the cookie's file. The listener is non-blocking and
/// closed on exec.
pub fn bind(path: &Path, group: Option<u32>, cookie: &Cookie) -> Result<UnixListener, BindError> {
    create_parent(path)?;
    make_room(path)?;
    let address = SockAddr::unix(path).named("use the control socket's path", path)?;
    let socket = new_socket().named("create the control socket", path)?;
    socket
        .bind(&address)
        .named("bind the control socket", path)?;
    // Until it listens every connect is refused, so there is no moment with the wrong mode.
    let opened = restrict(path, group)
        .and_then(|()| cookie_file::write(path, group, cookie))
        .and_then(|()| {
            socket
                .listen(BACKLOG)
                .named("listen at the control socket", path)
        });
    if opened.is_err() {
        let _ = fs::remove_file(path);
        cookie_file::remove(path, cookie);
    }
    opened.map(|()| socket.into())
}

fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Gives the socket its group before the mode that lets the group in.
fn restrict(path: &Path, group: Option<u32>) -> Result<(), BindError> {
    if group.is_some() {
        chown(path, None, group).named("give its control_group the control socket", path)?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(mode))
        .named("set the mode of the control socket", path)
}

fn create_parent(path: &Path) -> Result<(), BindError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    if parent.as_os_str().is_empty() || parent.exists() {
        return Ok(());
    }
    folders::make(parent, 0o755).named("create the control socket's folder", parent)?;
    // Whatever the umask, or members of the group could not reach the socket.
    fs::set_permissions(parent, Permissions::from_mode(0o755))
        .named("set the mode of the control socket's folder", parent)
}

/// Removes a socket that no process listens at.
fn make_room(path: &Path) -> Result<(), BindError> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.named("look at", path)?.file_type(),
    };
    if !kind.is_socket() {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    match probe(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).named("remove the stale socket", path)
        }
        // A full queue is a sign of life as well.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::InUse(path.to_owned()))
        }
        Err(source) => Err(source).named("see whether a proxyd answers at", path),
        Ok(()) => Err(BindError::InUse(path.to_owned())),
    }
}

fn probe(path: &Path) -> io::Result<()> {
    new_socket()?.connect(&SockAddr::unix(path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn bound(path: &Path, group: Option<u32>) -> Result<UnixListener, BindError> {
        bind(path, group, &Cookie::random().unwrap())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_socket_and_a_missing_folder_get_their_modes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/proxyd.sock");
        let _listener = bound(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
    }

    #[test]
    fn a_group_may_read_and_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let gid = nix::unistd::getegid().as_raw();
        let _listener = bound(&path, Some(gid)).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(fs::metadata(&path).unwrap().gid(), gid);
    }

    #[test]
    fn a_living_daemon_is_left_alone_and_a_dead_ones_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = bound(&path, None).unwrap();
        assert!(matches!(bound(&path, None), Err(BindError::InUse(_))));
        drop(first);
        let _second = bound(&path, None).unwrap();
    }

    #[test]
    fn a_daemon_that_is_refused_leaves_the_cookie_of_the_living_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let own = Cookie::random().unwrap();
        let _first = bind(&path, None, &own).unwrap();
        assert!(bound(&path, None).is_err());
        assert!(cookie_file::holds(&path, &own));
    }

    #[test]
    fn a_socket_without_its_cookie_is_not_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::create_dir(dir.path().join("s.cookie")).unwrap();
        let error = bound(&path, None).unwrap_err();
        assert!(matches!(error, BindError::NotACookie { .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_file_in_its_place_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bound(&path, None), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = bound(&dir.path().join("x".repeat(120)), None).unwrap_err();
        assert!(error.to_string().contains("xxx"), "{error}");
    }
}
