//! Finds a program by its path and looks at every folder and symbolic link on the way, so that what was looked at is
//! what is opened (`openat(2)` with `O_NOFOLLOW`).

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};

/// As many symbolic links as the kernel follows (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// Something on the way to a program, or the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its path, without symbolic links above it.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its permission bits, with those of set-id and sticky files: as `chmod(1)` takes them.
    pub mode: u32,
}

/// What is on the way to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// The file that the path leads to.
    File,
    /// Something else at the end of the path, such as a device.
    Other,
}

/// A program that was found.
#[derive(Debug)]
pub struct Found {
    /// The folders on the way, those of symbolic links too, and then what the path leads to.
    pub seen: Vec<Seen>,
    /// What the path leads to, opened to be read.
    pub file: OwnedFd,
}

/// Where the path ended that could not be followed, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct NotFound {
    path: PathBuf,
    source: io::Error,
}

/// Follows an absolute path to a program and opens it. Blocks.
///
/// Access control lists need no look of their own: where one lets others write, the mode's bits of the group say
/// so too (acl(5)).
pub fn find(path: &Path) -> Result<Found, NotFound> {
    let mut way = Way::new(path)?;
    while let Some(name) = way.rest.pop_front() {
        match way.step(&name)? {
            None => {}
            Some(file) => {
                return Ok(Found {
                    seen: way.seen,
                    file,
                });
            }
        }
    }
    let there = way.path();
    Err(failed(&there, io::Error::other("it is a folder")))
}

/// How far a path was followed.
#[derive(Debug)]
struct Way {
    /// The open folders from the root on, and their names; the root's is empty.
    folders: Vec<(OwnedFd, OsString)>,
    rest: VecDeque<OsString>,
    links: usize,
    seen: Vec<Seen>,
}

impl Way {
    fn new(path: &Path) -> Result<Self, NotFound> {
        let mut way = Self {
            folders: Vec::new(),
            rest: VecDeque::new(),
            links: 0,
            seen: Vec::new(),
        };
        if !path.is_absolute() {
            return Err(failed(path, io::Error::other("it is no absolute path")));
        }
        way.go(path)?;
        Ok(way)
    }

    /// Puts the parts of a path in front of what is left; an absolute one begins at the root again.
    fn go(&mut self, path: &Path) -> Result<(), NotFound> {
        let parts: Vec<OsString> = path
            .components()
            .filter_map(|it| match it {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
            })
            .collect();
        for part in parts.into_iter().rev() {
            self.rest.push_front(part);
        }
        if path.is_absolute() {
            self.folders.clear();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = openat(CWD, "/", flags, Mode::empty());
            let root = root.map_err(|error| failed(Path::new("/"), error.into()))?;
            self.enter(root, OsString::new())?;
        }
        Ok(())
    }

    /// Goes to what has this name in the folder where the way is; returns the file if it is one.
    fn step(&mut self, name: &OsStr) -> Result<Option<OwnedFd>, NotFound> {
        if name == ".." {
            if self.folders.len() > 1 {
                self.folders.pop();
            }
            return Ok(None);
        }
        let path = self.path().join(name);
        let said = |error: rustix::io::Errno| failed(&path, error.into());
        let Some((folder, _)) = self.folders.last() else {
            return Err(failed(&path, io::ErrorKind::NotFound.into()));
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let there = openat(folder, name, flags, Mode::empty()).map_err(said)?;
        let about = fstat(&there).map_err(said)?;
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Symlink => {
                self.links += 1;
                if self.links > MOST_LINKS {
                    return Err(said(rustix::io::Errno::LOOP));
                }
                let target = readlinkat(&there, "", Vec::new()).map_err(said)?;
                self.go(Path::new(OsStr::from_bytes(target.as_bytes())))?;
                Ok(None)
            }
            FileType::Directory => {
                self.enter(there, name.to_owned())?;
                Ok(None)
            }
            _ if !self.rest.is_empty() => Err(said(rustix::io::Errno::NOTDIR)),
            _ => {
                // A device is not opened, because that may have an effect.
                let file = if FileType::from_raw_mode(about.st_mode) == FileType::RegularFile {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    openat(folder, name, flags, Mode::empty()).map_err(said)?
                } else {
                    there
                };
                let seen = seen(path.clone(), &file).map_err(said)?;
                self.seen.push(seen);
                Ok(Some(file))
            }
        }
    }

    fn enter(&mut self, folder: OwnedFd, name: OsString) -> Result<(), NotFound> {
        self.folders.push((folder, name));
        let path = self.path();
        if let Some((folder, _)) = self.folders.last()
            && !self.seen.iter().any(|it| it.path == path)
        {
            let seen = seen(path.clone(), folder).map_err(|error| failed(&path, error.into()))?;
            self.seen.push(seen);
        }
        Ok(())
    }

    /// Returns the path of the folder where the way is.
    fn path(&self) -> PathBuf {
        let mut path = b"/".to_vec();
        for (_, name) in self.folders.iter().skip(1) {
            if path.len() > 1 {
                path.push(b'/');
            }
            path.extend(name.as_bytes());
        }
        OsString::from_vec(path).into()
    }
}

fn seen(path: PathBuf, file: &OwnedFd) -> rustix::io::Result<Seen> {
    let about = fstat(file.as_fd())?;
    let kind = match FileType::from_raw_mode(about.st_mode) {
        FileType::Directory => Kind::Folder,
        FileType::RegularFile => Kind::File,
        _ => Kind::Other,
    };
    Ok(Seen {
        path,
        kind,
        uid: about.st_uid,
        mode: about.st_mode & 0o7777,
    })
}

fn failed(path: &Path, source: io::Error) -> NotFound {
    NotFound {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn paths(path: &Path) -> Vec<PathBuf> {
        let found = find(path).unwrap();
        found.seen.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn every_folder_on_the_way_is_seen_and_those_of_links_too() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        fs::create_dir_all(place.join("real/bin")).unwrap();
        fs::create_dir_all(place.join("links")).unwrap();
        fs::write(place.join("real/bin/program"), "").unwrap();
        symlink("../real/bin", place.join("links/relative")).unwrap();
        symlink(place.join("links/relative/program"), place.join("absolute")).unwrap();
        let seen = paths(&place.join("absolute"));
        for folder in ["", "links", "real", "real/bin", "real/bin/program"] {
            let path: PathBuf = place.join(folder).components().collect();
            assert_eq!(
                seen.iter().filter(|it| **it == path).count(),
                1,
                "{path:?} {seen:?}"
            );
        }
        assert_eq!(seen.first().unwrap(), Path::new("/"));
        assert_eq!(*seen.last().unwrap(), place.join("real/bin/program"));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap();
        fs::write(place.join("file"), "").unwrap();
        symlink("loop", place.join("loop")).unwrap();
        for (name, told) in [
            ("missing", "No such file"),
            ("file/below", "Not a directory"),
            ("loop", "symbolic links"),
            ("", "it is a folder"),
        ] {
            let error = find(&place.join(name)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        assert!(find(Path::new("relative")).is_err());
    }

    #[test]
    fn a_device_is_looked_at_and_not_opened() {
        let found = find(Path::new("/dev/null")).unwrap();
        assert_eq!(found.seen.last().unwrap().kind, Kind::Other);
    }
}
