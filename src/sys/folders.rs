//! Makes the daemon's folders, and checks whether that would succeed.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, statfs};
use rustix::{
    fs::{Access, AtFlags, CWD, accessat, statvfs},
    io::Errno,
};

/// The mode of the folders above one that is made.
const PARENT_MODE: u32 = 0o755;

/// File systems of the kernel in which no folder can be made, although modes and rights allow it to root
/// (statfs(2)).
const OF_THE_KERNEL: [FsType; 2] = [PROC_SUPER_MAGIC, SYSFS_MAGIC];

/// Makes a folder with `mode`, as far as the umask lets it, and the missing ones above it with 0755,
/// whatever the umask: they are for others too. Does nothing if it is there.
pub fn make(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        make_open(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        // Another process may have made the folder just now.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

/// Makes the missing folders of `path` with [`PARENT_MODE`].
fn make_open(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.is_dir()).collect();
    for folder in missing.into_iter().rev() {
        match DirBuilder::new().create(folder) {
            Ok(()) => fs::set_permissions(folder, Permissions::from_mode(PARENT_MODE))?,
            // Another process may have made the folder just now.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fails if there is no folder at `path` and [`make`] could not make one; makes nothing.
pub fn check(path: &Path) -> io::Result<()> {
    match nearest(path)? {
        there if there == path => Ok(()),
        above => check_writable(above),
    }
}

/// Fails if this process may not make files in the folder `path`, or could not make the folder if it is
/// missing.
pub fn check_writable(path: &Path) -> io::Result<()> {
    let there = nearest(path)?;
    let said = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("nothing can be made in {}: {error}", there.display()),
        )
    };
    may(there, Access::WRITE_OK | Access::EXEC_OK).map_err(said)?;
    let about = statfs(there).map_err(|error| said(error.into()))?;
    if OF_THE_KERNEL.contains(&about.filesystem_type()) {
        return Err(said(io::Error::other("it belongs to the kernel")));
    }
    Ok(())
}

/// Fails if this process may not use the file at `path` like this.
///
/// Says nothing where the kernel cannot tell.
pub fn may(path: &Path, access: Access) -> io::Result<()> {
    let unknown = |error| matches!(error, Errno::NOSYS | Errno::OPNOTSUPP);
    match accessat(CWD, path, access, AtFlags::EACCESS) {
        Err(error) if unknown(error) => Ok(()),
        // A filter of system calls may refuse the new call (faccessat2(2)) like this. The old one asks for
        // the real user, who is the effective one here.
        Err(Errno::PERM) => Ok(accessat(CWD, path, access, AtFlags::empty())?),
        result => Ok(result?),
    }
}

/// Fails if nothing more fits on the file system that the folder `path` is on, or would be made on.
pub fn check_room(path: &Path) -> io::Result<()> {
    let there = nearest(path)?;
    let about = statvfs(there)?;
    // The last blocks are kept back for root.
    let blocks = if nix::unistd::geteuid().is_root() {
        about.f_bfree
    } else {
        about.f_bavail
    };
    // Some file systems count no blocks, or no files.
    let full = (about.f_blocks > 0 && blocks == 0) || (about.f_files > 0 && about.f_favail == 0);
    if full {
        return Err(Errno::NOSPC.into());
    }
    Ok(())
}

/// Returns the folder at `path`, or the nearest above it; fails if there is a file of another kind.
fn nearest(path: &Path) -> io::Result<&Path> {
    for folder in path.ancestors().filter(|it| !it.as_os_str().is_empty()) {
        match fs::metadata(folder) {
            Ok(about) if about.is_dir() => return Ok(folder),
            Ok(_) => {
                return Err(io::Error::other(format!(
                    "{} is no folder",
                    folder.display()
                )));
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => {
                let told = format!("{}: {error}", folder.display());
                return Err(io::Error::new(error.kind(), told));
            }
        }
        if fs::symlink_metadata(folder).is_ok_and(|about| about.is_symlink()) {
            let told = format!("{} is a symbolic link that leads nowhere", folder.display());
            return Err(io::Error::other(told));
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn only_the_last_folder_is_closed_to_others() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("var/lib/state");
        check(&path).unwrap();
        assert!(!place.path().join("var").exists());
        make(&path, 0o700).unwrap();
        let mode = |name: &str| fs::metadata(place.path().join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode("var"), 0o755);
        assert_eq!(mode("var/lib"), 0o755);
        assert_eq!(mode("var/lib/state"), 0o700);
        make(&path, 0o700).unwrap();
        check(&path).unwrap();
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        symlink("nowhere", place.path().join("link")).unwrap();
        for (path, named) in [
            (file.clone(), "file is no folder"),
            (file.join("below/that"), "file is no folder"),
            (place.path().join("link"), "link is a symbolic link"),
            ("/proc/below".into(), "/proc"),
        ] {
            let told = check(&path).unwrap_err().to_string();
            assert!(told.contains(named), "{told}");
            assert!(make(&path, 0o700).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_disk_with_room_is_not_full() {
        check_room(Path::new("/proc/self")).unwrap();
        check_room(&tempfile::tempdir().unwrap().path().join("below")).unwrap();
    }
}
