//! Where the C library reads to turn a name into addresses (nsswitch.conf(5)).

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Where the C library reads.
///
/// Folders and not the files in them: a rule holds for a file, not for its name, and would not
/// cover the `resolv.conf` or `hosts` that takes the place of the one that was there at the start.
const FOLDERS: [&str; 8] = [
    "/etc",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// The file that names the servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Files that may be links into other folders.
const FILES: [&str; 3] = [RESOLV_CONF, "/etc/hosts", "/etc/nsswitch.conf"];

/// The most links that lead from one name to a file, as for the kernel (`path_resolution(7)`).
const MOST_LINKS: usize = 40;

/// The folders that a confined resolver can read.
#[derive(Debug)]
pub struct NameFolders(Vec<Identity>);

/// By what the kernel tells a folder from another that has taken its name.
type Identity = (u64, u64);

impl NameFolders {
    /// Returns the folders that [`confine`](super::confine) would allow now.
    pub fn now() -> Self {
        Self(folders().iter().filter_map(|path| identity(path)).collect())
    }

    /// Returns whether `/etc/resolv.conf` now leads out of these folders, so that a resolver that was
    /// confined to them can no longer read it and should be started anew.
    ///
    /// Works in a confined process, and takes a few calls of `stat(2)`. A file that does not exist leads
    /// nowhere.
    pub fn were_left(&self) -> bool {
        self.were_left_by(Path::new(RESOLV_CONF))
    }

    fn were_left_by(&self, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else {
            return false;
        };
        let mut above = file.ancestors().skip(1).filter_map(identity);
        !above.any(|folder| self.0.contains(&folder))
    }
}

/// Returns the folders that name resolution reads, as far as they exist.
pub(super) fn folders() -> Vec<PathBuf> {
    let fixed = FOLDERS.iter().map(PathBuf::from);
    let led_to = FILES.iter().filter_map(|file| led_to(Path::new(file)));
    fixed.chain(led_to).filter(|path| path.is_dir()).collect()
}

/// Returns the folder of the file that `path` leads to through links, be the file there or not.
fn led_to(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let folder = path.parent()?.canonicalize().ok()?;
        match fs::read_link(&path) {
            Ok(target) => path = folder.join(target),
            Err(_) => return Some(folder),
        }
    }
    None
}

fn identity(folder: &Path) -> Option<Identity> {
    let about = fs::metadata(folder).ok()?;
    Some((about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_to_the_folder_of_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["etc", "stub", "run"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        symlink("../stub/resolv.conf", root.join("etc/resolv.conf")).unwrap();
        symlink(root.join("run/resolv.conf"), root.join("stub/resolv.conf")).unwrap();
        let path = root.join("etc/resolv.conf");
        assert_eq!(led_to(&path), Some(root.join("run")), "the file is missing");
        fs::write(root.join("run/resolv.conf"), "").unwrap();
        assert_eq!(led_to(&path), Some(root.join("run")));
        symlink("loop", root.join("etc/loop")).unwrap();
        assert_eq!(led_to(&root.join("etc/loop")), None);
        assert_eq!(led_to(&root.join("gone/resolv.conf")), None);
    }

    #[test]
    fn a_file_leaves_the_folders_when_its_link_or_its_folder_is_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for path in [&old, &new] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("resolv.conf"), "").unwrap();
        }
        let link = folder.path().join("resolv.conf");
        symlink(old.join("resolv.conf"), &link).unwrap();
        let folders = NameFolders(vec![identity(&old).unwrap()]);
        assert!(!folders.were_left_by(&link));

        fs::remove_file(&link).unwrap();
        assert!(!folders.were_left_by(&link), "a missing file leads nowhere");
        symlink(new.join("resolv.conf"), &link).unwrap();
        assert!(folders.were_left_by(&link));

        fs::rename(&old, folder.path().join("older")).unwrap();
        fs::rename(&new, &old).unwrap();
        fs::remove_file(&link).unwrap();
        symlink(old.join("resolv.conf"), &link).unwrap();
        assert!(
            folders.were_left_by(&link),
            "another folder of the same name"
        );
    }

    #[test]
    fn the_folders_of_now_hold_the_configuration_of_now() {
        assert!(!NameFolders::now().were_left());
    }
}
