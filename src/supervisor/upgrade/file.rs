//! Whether a file may become the program of the daemon: only root and the daemon's user could have put it there.

use std::{fs::File, io, os::fd::OwnedFd, path::Path};

use nix::unistd::geteuid;

use crate::sys::{
    image,
    program_path::{self, Kind, Seen},
};

/// Permission to write for the group and for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Runs with the rights of the file's owner or group.
const SET_ID: u32 = 0o6000;

/// Permission to execute, for any user.
const EXECUTABLE: u32 = 0o111;

/// Why a file may not become the program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(
        "{path} belongs to uid {uid}, who could put another program there; give it to root (`chown root {path}`), or install \
         the program in a folder of root's"
    )]
    OthersOwn { path: String, uid: u32 },
    #[error(
        "{path} may be written to by others than its owner, who could put another program there; take that right away \
         (`chmod go-w {path}`), or install the program in a folder that only root may write to"
    )]
    OthersWrite { path: String },
    #[error("{path} is not a file")]
    NotAFile { path: String },
    #[error("{path} is not executable; give it that right (`chmod 755 {path}`)")]
    NotExecutable { path: String },
    #[error(
        "{path} would run with the rights of its owner or group; take that away (`chmod ug-s {path}`)"
    )]
    SetId { path: String },
    #[error("{path} is a script; name the program that it runs")]
    Script { path: String },
    #[error("{0}")]
    Unreadable(String),
}

/// Finds the program at this path, and opens it if it may become the daemon's. Blocks.
pub(super) fn open(path: &Path) -> Result<OwnedFd, Unfit> {
    let unreadable = |error: &dyn std::fmt::Display| Unfit::Unreadable(error.to_string());
    let found = program_path::find(path).map_err(|error| unreadable(&error))?;
    judge(&found.seen, geteuid().as_raw())?;
    let path = || path.display().to_string();
    let file = File::from(found.file);
    if is_script(&file).map_err(|error| unreadable(&format!("{}: {error}", path())))? {
        return Err(Unfit::Script { path: path() });
    }
    image::check_file(&file).map_err(|error| unreadable(&format!("{}: {error}", path())))?;
    Ok(file.into())
}

/// Returns why what was seen on the way to a program lets others than root and `own`, the daemon's user, put one
/// there, or why it is none; names the first thing.
///
/// A sticky folder that others may write to does not help: they could have made the file before it was root's.
fn judge(seen: &[Seen], own: u32) -> Result<(), Unfit> {
    for it in seen {
        let path = it.path.display().to_string();
        if it.uid != 0 && it.uid != own {
            return Err(Unfit::OthersOwn { path, uid: it.uid });
        }
        if it.mode & WRITABLE_BY_OTHERS != 0 && it.kind != Kind::Other {
            return Err(Unfit::OthersWrite { path });
        }
    }
    match seen.last() {
        Some(it) if it.kind == Kind::File => judge_file(it),
        it => Err(Unfit::NotAFile {
            path: it.map_or_else(String::new, |it| it.path.display().to_string()),
        }),
    }
}

fn judge_file(file: &Seen) -> Result<(), Unfit> {
    let path = file.path.display().to_string();
    if file.mode & EXECUTABLE == 0 {
        return Err(Unfit::NotExecutable { path });
    }
    if file.mode & SET_ID != 0 {
        return Err(Unfit::SetId { path });
    }
    Ok(())
}

fn is_script(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let mut start = [0; 2];
    let read = file.read_at(&mut start, 0)?;
    Ok(start[..read] == *b"#!")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 1000;

    fn seen(path: &str, kind: Kind, uid: u32, mode: u32) -> Seen {
        Seen {
            path: path.into(),
            kind,
            uid,
            mode,
        }
    }

    /// Judges a program in a folder that belongs to `uid` and has `mode`.
    fn in_folder(uid: u32, mode: u32) -> Result<(), Unfit> {
        judge(
            &[
                seen("/", Kind::Folder, 0, 0o755),
                seen("/opt", Kind::Folder, uid, mode),
                seen("/opt/proxyd", Kind::File, 0, 0o755),
            ],
            OWN,
        )
    }

    fn file(uid: u32, mode: u32) -> Result<(), Unfit> {
        judge(&[seen("/p", Kind::File, uid, mode)], OWN)
    }

    #[test]
    fn folders_of_root_and_of_the_daemons_user_are_trusted_and_no_others() {
        assert_eq!(in_folder(0, 0o755), Ok(()));
        assert_eq!(in_folder(OWN, 0o700), Ok(()));
        let told = in_folder(33, 0o755).unwrap_err().to_string();
        assert!(told.starts_with("/opt belongs to uid 33"), "{told}");
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_named_and_a_sticky_one_is_no_better() {
        for mode in [0o775, 0o757, 0o1777] {
            let told = in_folder(0, mode).unwrap_err().to_string();
            assert!(told.contains("`chmod go-w /opt`"), "{told}");
        }
    }

    #[test]
    fn a_file_that_is_no_program_or_not_safe_is_told_for_what_it_is() {
        assert_eq!(file(0, 0o755), Ok(()));
        assert_eq!(file(OWN, 0o500), Ok(()));
        let path = || "/p".to_owned();
        assert_eq!(file(0, 0o644), Err(Unfit::NotExecutable { path: path() }));
        assert_eq!(file(0, 0o775), Err(Unfit::OthersWrite { path: path() }));
        assert_eq!(file(0, 0o4755), Err(Unfit::SetId { path: path() }));
        let other = OWN + 1;
        let owned = Unfit::OthersOwn {
            path: path(),
            uid: other,
        };
        assert_eq!(file(other, 0o755), Err(owned));
        let device = judge(&[seen("/p", Kind::Other, 0, 0o666)], OWN);
        assert_eq!(device, Err(Unfit::NotAFile { path: path() }));
        assert!(judge(&[], OWN).is_err());
    }

    #[test]
    fn the_shell_is_a_program_and_a_script_is_none() {
        let shell = Path::new("/bin/sh").canonicalize().unwrap();
        open(&shell).unwrap();
        let told = open(Path::new("/missing/proxyd")).unwrap_err().to_string();
        assert!(told.starts_with("/missing: "), "{told}");
    }
}
