//! A folder of Unix sockets that keep packets apart (unix(7), `SOCK_SEQPACKET`), which only its owner may use.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, statat, unlinkat,
    },
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    },
    process::geteuid,
};

/// How many may wait at a socket.
const BACKLOG: i32 = 4;

/// The mode of the folder.
const MODE: Mode = Mode::RWXU;

/// The folder, which is not replaced by another one of its name while this is open.
#[derive(Debug)]
pub struct Doors {
    folder: OwnedFd,
    path: PathBuf,
}

impl Doors {
    /// Opens the folder at `path`. Fails with [`io::ErrorKind::NotFound`] if there is none, and if it is a link or
    /// another user could have put something into it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty())?;
        let about = fstat(&folder)?;
        if about.st_uid != geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("it belongs to user {}", about.st_uid),
            ));
        }
        if Mode::from_raw_mode(about.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            fchmod(&folder, MODE)?;
        }
        Ok(Self {
            folder,
            path: path.to_owned(),
        })
    }

    /// Opens the folder at `path`, which is made if it is missing; not so those above it.
    pub fn make(path: &Path) -> io::Result<Self> {
        match mkdirat(CWD, path, MODE) {
            Ok(()) | Err(Errno::EXIST) => Self::open(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a socket of this name that listens and does not block. What has the name already is removed.
    pub fn bind(&self, name: &str) -> io::Result<OwnedFd> {
        match unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let socket = socket()?;
        bind(&socket, &self.address(name)?)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    }

    /// Connects to the socket of this name; what is returned does not block. Fails with
    /// [`io::ErrorKind::ConnectionRefused`] if no process listens there, and with [`io::ErrorKind::WouldBlock`] if too many
    /// wait there.
    pub fn connect(&self, name: &str) -> io::Result<OwnedFd> {
        let socket = socket()?;
        connect(&socket, &self.address(name)?)?;
        Ok(socket)
    }

    /// Removes the socket of this name; a file that is none stays. Returns whether it is gone.
    pub fn remove(&self, name: &str) -> bool {
        match statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) if FileType::from_raw_mode(about.st_mode) == FileType::Socket => {
                unlinkat(&self.folder, name, AtFlags::empty()).is_ok()
            }
            Ok(_) => false,
            Err(error) => error == Errno::NOENT,
        }
    }

    /// Removes the folder, if nothing is in it.
    pub fn remove_folder(self) {
        let _ = unlinkat(CWD, &self.path, AtFlags::REMOVEDIR);
    }

    /// Returns the names in the folder, `most` at most.
    pub fn names(&self, most: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if let Some(name) = name.to_str().filter(|it| ![".", ".."].contains(it)) {
                names.push(name.to_owned());
            }
            if names.len() >= most {
                break;
            }
        }
        Ok(names)
    }

    /// Returns the address of a socket. An address has no room for a long path (`sun_path` in unix(7)), but for that of the
    /// folder's descriptor.
    fn address(&self, name: &str) -> io::Result<SocketAddrUnix> {
        let path = self.path.join(name);
        let address = SocketAddrUnix::new(path).or_else(|_| {
            let folder = self.folder.as_raw_fd();
            SocketAddrUnix::new(format!("/proc/self/fd/{folder}/{name}"))
        });
        Ok(address?)
    }
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("x.sock.doors");
        (above, path)
    }

    #[test]
    fn a_socket_is_reached_by_its_name_until_no_process_listens() {
        let (_above, path) = folder();
        let doors = Doors::make(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let door = doors.bind("17").unwrap();
        doors.connect("17").unwrap();
        assert_eq!(doors.names(9).unwrap(), ["17"]);
        drop(door);
        let refused = doors.connect("17").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            doors.connect("18").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(doors.remove("17") && doors.remove("17"));
        doors.remove_folder();
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_no_address_holds_is_reached_by_the_folder() {
        let (above, _) = folder();
        let path = above.path().join("x".repeat(200));
        let doors = Doors::make(&path).unwrap();
        let _door = doors.bind("17").unwrap();
        Doors::open(&path).unwrap().connect("17").unwrap();
        assert!(path.join("17").exists());
    }

    #[test]
    fn too_many_that_wait_at_a_socket_hold_no_one_up() {
        let (_above, path) = folder();
        let doors = Doors::make(&path).unwrap();
        let _door = doors.bind("17").unwrap();
        let mut all = Vec::new();
        let error = loop {
            match doors.connect("17") {
                Ok(socket) => all.push(socket),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_folder_that_is_a_link_is_not_opened_and_one_that_others_may_use_is_closed_to_them() {
        let (above, path) = folder();
        std::os::unix::fs::symlink(above.path(), &path).unwrap();
        Doors::make(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        Doors::open(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let (_above, path) = folder();
        let doors = Doors::make(&path).unwrap();
        fs::write(path.join("17"), "x").unwrap();
        assert!(!doors.remove("17"));
        let refused = doors.connect("17").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        doors.remove_folder();
        assert!(path.join("17").exists());
    }
}
