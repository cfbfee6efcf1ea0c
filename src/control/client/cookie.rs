//! Reading the cookie that the daemon wrote beside its socket.

use std::{
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::unistd::{Gid, Group, Uid};

use super::ClientError;
use crate::control::cookie::{self, Cookie};

/// Reads the cookie for the socket at this path, within this time: the disk may not answer.
pub(super) fn read(socket: &Path, within: Option<Duration>) -> Result<Cookie, ClientError> {
    let (done, result) = mpsc::channel();
    let reader = socket.to_owned();
    let started = thread::Builder::new().spawn(move || {
        let path = cookie::path_for_client(&reader);
        let _ = done.send(cookie::read(&path).map_err(|error| unreadable(path, error)));
    });
    let failed = |source| ClientError::CookieUnreadable {
        path: cookie::path(socket),
        source,
    };
    started.map_err(failed)?;
    let read = match within {
        Some(within) => result.recv_timeout(within).ok(),
        None => result.recv().ok(),
    };
    read.unwrap_or_else(|| Err(failed(io::ErrorKind::TimedOut.into())))
}

/// Says why the cookie at `path` could not be read.
fn unreadable(path: PathBuf, source: io::Error) -> ClientError {
    match source.kind() {
        io::ErrorKind::NotFound => ClientError::CookieMissing { path },
        io::ErrorKind::PermissionDenied => {
            let readers = Readers::of(fs::symlink_metadata(&path).ok().as_ref());
            let uid = Uid::effective().as_raw();
            ClientError::CookieForbidden { path, uid, readers }
        }
        _ => ClientError::CookieUnreadable { path, source },
    }
}

/// Who may read the cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readers {
    /// Its folder does not even show it.
    Unknown,
    /// Only its owner.
    Owner(u32),
    /// Its owner, and the members of this group.
    Group(u32, String),
}

impl Readers {
    fn of(about: Option<&Metadata>) -> Self {
        match about {
            None => Self::Unknown,
            Some(about) if about.mode() & 0o040 == 0 => Self::Owner(about.uid()),
            Some(about) => Self::Group(about.uid(), group_name(about.gid())),
        }
    }
}

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("proxyd's user, or a member of its control_group"),
            Self::Owner(uid) => write!(
                f,
                "uid {uid}, or configure a control_group, whose members may read it"
            ),
            Self::Group(uid, group) => write!(f, "uid {uid}, or a member of the group {group}"),
        }
    }
}

fn group_name(gid: u32) -> String {
    match Group::from_gid(Gid::from_raw(gid)) {
        Ok(Some(group)) => group.name,
        _ => gid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SOON: Option<Duration> = Some(Duration::from_secs(5));

    #[test]
    fn a_missing_cookie_and_one_that_is_none_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let error = read(&socket, SOON).unwrap_err();
        assert!(
            matches!(error, ClientError::CookieMissing { .. }),
            "{error}"
        );
        fs::write(cookie::path(&socket), "x".repeat(1000)).unwrap();
        let error = read(&socket, SOON).unwrap_err();
        assert!(
            matches!(error, ClientError::CookieUnreadable { .. }),
            "{error}"
        );
    }

    #[test]
    fn who_may_read_it_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = |mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(file.path(), mode).unwrap();
            Readers::of(Some(&fs::metadata(file.path()).unwrap())).to_string()
        };
        let about = fs::metadata(file.path()).unwrap();
        assert!(told(0o600).contains("configure a control_group"));
        let group = told(0o640);
        assert!(group.contains(&group_name(about.gid())), "{group}");
        assert!(Readers::of(None).to_string().contains("control_group"));
    }

    #[test]
    fn a_disk_that_does_not_answer_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let error = read(&socket, Some(Duration::ZERO)).unwrap_err();
        assert!(error.to_string().contains("s.cookie"), "{error}");
    }
}
