//! A small disk that can be filled.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::is_root;

/// A disk of a few megabytes in memory, which is unmounted when this is dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk at an existing folder, which needs root, and fails in some containers.
    pub(crate) fn mount(path: &Path) -> Option<Self> {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs"])
            .arg(path);
        let mounted = is_root() && command.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(path.to_owned()))
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        let large = vec![0; 64 * 1024];
        while file.write_all(&large).is_ok() {}
        while file.write_all(&[0; 16]).is_ok() {}
    }

    /// Makes room again.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        // Processes that still use the disk end with the daemon.
        let _ = command.arg("--lazy").arg(&self.0).output();
    }
}
