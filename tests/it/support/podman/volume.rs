//! Folders that are mounted into a container.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
};

use tempfile::TempDir;

use super::ID;

/// A folder that is mounted into a container.
#[derive(Debug)]
pub(crate) struct Volume(TempDir);

impl Volume {
    /// Makes one as Kubernetes makes an `emptyDir` for a pod with `fsGroup`: root's, and open to all.
    pub(crate) fn empty() -> Self {
        let volume = Self(TempDir::new().unwrap());
        chown(volume.path(), None, Some(ID)).unwrap();
        fs::set_permissions(volume.path(), Permissions::from_mode(0o2777)).unwrap();
        volume
    }

    /// Makes one with these files as Kubernetes projects a Secret or a `ConfigMap`: names are links through a link to
    /// a folder.
    pub(crate) fn projected(files: &[(&str, &str)]) -> Self {
        let volume = Self(TempDir::new().unwrap());
        fs::set_permissions(volume.path(), Permissions::from_mode(0o755)).unwrap();
        volume.project(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), volume.path().join(name)).unwrap();
        }
        volume
    }

    /// Puts other contents in the place of the files, all at once, as the kubelet does.
    pub(crate) fn project(&self, files: &[(&str, &str)]) {
        let folder = tempfile::Builder::new()
            .prefix("..")
            .tempdir_in(self.path())
            .unwrap()
            .keep();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        for (name, contents) in files {
            let file = folder.join(name);
            fs::write(&file, contents).unwrap();
            chown(&file, None, Some(ID)).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
        }
        let [link, temporary] = ["..data", "..data_tmp"].map(|name| self.path().join(name));
        let before = fs::read_link(&link);
        symlink(folder.file_name().unwrap(), &temporary).unwrap();
        fs::rename(&temporary, &link).unwrap();
        if let Ok(before) = before {
            fs::remove_dir_all(self.path().join(before)).unwrap();
        }
    }

    /// Returns where it is on the machine.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the option of `podman run` that mounts it.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("--volume={}:{path}", self.path().display())
    }

    /// Returns the option of `podman run` that mounts it so that the container cannot write to it.
    pub(crate) fn read_only_at(&self, path: &str) -> String {
        self.at(path) + ":ro"
    }
}
