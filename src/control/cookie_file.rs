//! The daemon's side of the cookie's file: beside the socket, for the same user and group.
//!
//! All of this blocks, on a disk that may be slow.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use nix::libc::O_NOFOLLOW;

use super::{
    cookie::{self, Cookie},
    socket::{BindError, Named as _},
};
use crate::sys::files;

/// Writes the cookie beside `socket`, for this user and, if given, the members of `group`.
///
/// It appears under its name as a whole and with its mode, in the place of a cookie that an earlier daemon
/// left. Anything else in its place is left alone, and is an error.
pub(crate) fn write(socket: &Path, group: Option<u32>, cookie: &Cookie) -> Result<(), BindError> {
    let path = cookie::path(socket);
    check_place(socket)?;
    let temporary = temporary(&path);
    let written = fill(&temporary, group, cookie).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(|source| BindError::NoCookie { path, source })
}

/// Fails if something that is no cookie has the place of the cookie of `socket`.
pub(crate) fn check_place(socket: &Path) -> Result<(), BindError> {
    let path = cookie::path(socket);
    let kind = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.named("look at", &path)?.file_type(),
    };
    if let Some(kind) = files::unfit(kind) {
        return Err(BindError::NotACookie { path, kind });
    }
    let text =
        cookie::contents(&path).named("read the cookie that an earlier daemon left at", &path)?;
    // A machine that lost power may leave an empty file.
    if text.is_empty() || Cookie::parse(&text).is_some() {
        return Ok(());
    }
    Err(BindError::NotACookie { path, kind: "file" })
}

/// Returns whether the file beside `socket` holds this cookie.
pub(crate) fn holds(socket: &Path, own: &Cookie) -> bool {
    cookie::read(&cookie::path(socket)).is_ok_and(|written| own.is(&written))
}

/// Removes the file beside `socket` if it holds this cookie.
pub(crate) fn remove(socket: &Path, own: &Cookie) {
    if holds(socket, own) {
        // The next start takes over a file that is left.
        let _ = fs::remove_file(cookie::path(socket));
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes the file, and puts the cookie in it when only those who may read it can.
fn fill(path: &Path, group: Option<u32>, cookie: &Cookie) -> io::Result<()> {
    // A start that was cut short may have left one.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(O_NOFOLLOW)
        .mode(0o600)
        .open(path)?;
    restrict(&file, group)?;
    file.write_all(cookie.text().as_bytes())
}

/// Gives the file its group before the mode that lets the group read.
fn restrict(file: &File, group: Option<u32>) -> io::Result<()> {
    if group.is_some() {
        fchown(file, None, group)?;
    }
    let mode = if group.is_some() { 0o640 } else { 0o600 };
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf, Cookie) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        (dir, socket, Cookie::random().unwrap())
    }

    #[test]
    fn it_is_for_its_owner_alone_or_for_the_group_as_well() {
        let (_dir, socket, own) = place();
        let gid = nix::unistd::getegid().as_raw();
        for (group, mode) in [(None, 0o600), (Some(gid), 0o640)] {
            write(&socket, group, &own).unwrap();
            let about = fs::metadata(cookie::path(&socket)).unwrap();
            assert_eq!((about.mode() & 0o777, about.gid()), (mode, gid));
            assert!(holds(&socket, &own));
        }
    }

    #[test]
    fn a_cookie_that_was_left_is_replaced_even_half_made_and_nothing_else_stays() {
        let (dir, socket, own) = place();
        let path = cookie::path(&socket);
        fs::write(&path, "").unwrap();
        fs::write(temporary(&path), "half").unwrap();
        write(&socket, None, &Cookie::random().unwrap()).unwrap();
        write(&socket, None, &own).unwrap();
        assert!(holds(&socket, &own));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_cookie_is_named_and_left_alone() {
        let (dir, socket, own) = place();
        let (path, precious) = (cookie::path(&socket), dir.path().join("precious"));
        fs::write(&precious, "precious").unwrap();
        let refused = |kind: &str| {
            let told = write(&socket, None, &own).unwrap_err().to_string();
            assert!(told.contains(kind) && told.contains("s.cookie"), "{told}");
            remove(&socket, &own);
        };
        symlink(&precious, &path).unwrap();
        refused("symbolic link");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        refused("folder");
        fs::remove_dir(&path).unwrap();
        fs::rename(&precious, &path).unwrap();
        refused("file");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_link_in_the_way_of_the_new_file_is_not_followed() {
        let (dir, socket, own) = place();
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, temporary(&cookie::path(&socket))).unwrap();
        write(&socket, None, &own).unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert!(holds(&socket, &own));
    }

    #[test]
    fn only_the_own_cookie_is_removed() {
        let (_dir, socket, own) = place();
        write(&socket, None, &own).unwrap();
        remove(&socket, &Cookie::random().unwrap());
        assert!(holds(&socket, &own));
        remove(&socket, &own);
        assert!(!cookie::path(&socket).exists());
    }
}
