//! Programs in a folder of their own, which no other user may write to, nor to any above it.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::support::{builder::Builder, skip};

/// A folder with programs.
pub(crate) struct Programs(TempDir);

impl Programs {
    /// Makes the folder; `None` skips the test, where others may write to every place for it.
    pub(crate) fn new() -> Option<Self> {
        let home = env::var_os("HOME").map(PathBuf::from);
        let places = [
            home,
            Some(PathBuf::from("/var/lib")),
            Some(env!("CARGO_TARGET_TMPDIR").into()),
        ];
        let safe = places.into_iter().flatten().find(|it| is_safe(it));
        let Some(place) = safe else {
            skip("there is no folder that no other user may write to");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("proxyd-test-")
            .tempdir_in(place);
        let folder = folder.unwrap();
        // Workers, which are another user, execute what is in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self(folder))
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Copies a program into the folder.
    pub(crate) fn copy(&self, program: impl AsRef<Path>, name: &str) -> PathBuf {
        let path = self.folder().join(name);
        fs::copy(program, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Copies the daemon's program into the folder.
    pub(crate) fn daemon(&self, name: &str) -> PathBuf {
        self.copy(env!("CARGO_BIN_EXE_proxyd"), name)
    }

    /// Copies the daemon's program of the next release into the folder; `None` skips the test.
    pub(crate) fn next(&self, name: &str) -> Option<PathBuf> {
        let Ok(program) = env::var("PROXYD_NEXT_BINARY") else {
            skip("PROXYD_NEXT_BINARY names no build of the next release; tests/run makes one");
            return None;
        };
        Some(self.copy(program, name))
    }

    /// Has a daemon of a build for tests do what it is told by [`Self::order`].
    pub(crate) fn obeying(&self, daemon: Builder) -> Builder {
        daemon.environment("PROXYD_ORDERS", self.orders().to_str().unwrap())
    }

    /// Tells the processes of such a daemon what to do at points of the upgrade: each is a point and a deed, and they are
    /// carried out in this order.
    pub(crate) fn order(&self, orders: &[String]) {
        let lines: String = orders.iter().flat_map(|it| [it, "\n"]).collect();
        fs::write(self.orders(), lines).unwrap();
    }

    /// Checks that all that was ordered was done.
    #[track_caller]
    pub(crate) fn carried_out_all(&self) {
        assert_eq!(fs::read_to_string(self.orders()).unwrap(), "");
    }

    fn orders(&self) -> PathBuf {
        self.folder().join("orders")
    }

    /// Puts a copy of a program in the place of another one, as a package does.
    pub(crate) fn replace(&self, place: &Path, program: &Path) {
        let copy = self.copy(program, "new");
        fs::rename(copy, place).unwrap();
    }
}

/// Whether only root and the tests' user may write to a folder and those above it, other users reach it, and files can be
/// made in it.
fn is_safe(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let own = nix::unistd::geteuid().as_raw();
    let all_safe = folder.ancestors().all(|it| {
        fs::metadata(it).is_ok_and(|about| {
            let owned = about.uid() == 0 || about.uid() == own;
            owned && about.mode() & 0o022 == 0 && about.mode() & 0o001 != 0
        })
    });
    all_safe && tempfile::tempfile_in(&folder).is_ok()
}
