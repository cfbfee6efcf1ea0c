//! Where the C library reads to turn a name into addresses (nsswitch.conf(5)).

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Folders that hold modules of the name service and what they are made of, or nothing but files that one
/// program writes for name resolution and exchanges as it likes.
const FOLDERS: [&str; 6] = [
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// Files elsewhere, each of which may be a link. None of their folders is listed by the C library, and
/// they may hold keys.
const FILES: [&str; 12] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/networks",
    "/etc/passwd",
    "/etc/group",
    "/etc/mdns.allow",
    "/etc/ld.so.cache",
];

/// What a confined resolver can read.
#[derive(Debug)]
pub struct NameFiles(Vec<Identity>);

/// By what the kernel tells a file or folder from another that has taken its name. It keeps both as long as
/// a process is confined to them, and gives the number to no other.
type Identity = (u64, u64);

impl NameFiles {
    /// Returns what [`confine`](super::confine) would allow now.
    pub fn now() -> Self {
        let allowed = folders().chain(files());
        Self(allowed.filter_map(|path| identity(&path)).collect())
    }

    /// Returns a file that name resolution reads and a process that was confined to these can not, so that
    /// it should be started anew: one that is new, has taken the place of another, or is where a link leads
    /// now.
    ///
    /// Works in a confined process, and takes a few calls of `stat(2)`. A file that does not exist is not
    /// read.
    pub fn out_of_reach(&self) -> Option<&'static str> {
        let mut files = FILES.into_iter();
        files.find(|file| self.lacks(Path::new(file)))
    }

    fn lacks(&self, file: &Path) -> bool {
        let Ok(file) = file.canonicalize() else {
            return false;
        };
        let mut allowing = file.ancestors().filter_map(identity);
        !allowing.any(|it| self.0.contains(&it))
    }
}

/// Returns the folders that name resolution reads, as far as they exist.
pub(super) fn folders() -> impl Iterator<Item = PathBuf> {
    let folders = FOLDERS.iter().map(PathBuf::from);
    folders.filter(|path| path.is_dir())
}

/// Returns the files that name resolution reads, as far as they exist.
pub(super) fn files() -> impl Iterator<Item = PathBuf> {
    let files = FILES.iter().map(PathBuf::from);
    files.filter(|path| path.is_file())
}

fn identity(path: &Path) -> Option<Identity> {
    let about = fs::metadata(path).ok()?;
    Some((about.dev(), about.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn allowed(paths: &[&Path]) -> NameFiles {
        NameFiles(paths.iter().filter_map(|it| identity(it)).collect())
    }

    #[test]
    fn a_file_is_out_of_reach_when_its_link_or_its_folder_is_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for path in [&old, &new] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("resolv.conf"), "").unwrap();
        }
        let link = folder.path().join("resolv.conf");
        symlink(old.join("resolv.conf"), &link).unwrap();
        let files = allowed(&[&old]);
        assert!(!files.lacks(&link));

        fs::remove_file(&link).unwrap();
        assert!(!files.lacks(&link), "a missing file is not read");
        symlink(new.join("resolv.conf"), &link).unwrap();
        assert!(files.lacks(&link));

        fs::rename(&old, folder.path().join("older")).unwrap();
        fs::rename(&new, &old).unwrap();
        fs::remove_file(&link).unwrap();
        symlink(old.join("resolv.conf"), &link).unwrap();
        assert!(files.lacks(&link), "another folder of the same name");
    }

    #[test]
    fn a_file_is_out_of_reach_when_it_is_replaced_or_appears_in_a_folder_that_is_not_allowed() {
        let folder = tempfile::tempdir().unwrap();
        let [hosts, new, late] = ["hosts", "hosts.new", "late"].map(|it| folder.path().join(it));
        fs::write(&hosts, "").unwrap();
        // As the kernel keeps what a process is confined to.
        let _kept = fs::File::open(&hosts).unwrap();
        let files = allowed(&[&hosts, &late]);
        assert!(!files.lacks(&hosts));
        fs::write(&hosts, "127.0.0.1 here\n").unwrap();
        assert!(!files.lacks(&hosts), "written to");
        fs::write(&new, "").unwrap();
        fs::rename(&new, &hosts).unwrap();
        assert!(files.lacks(&hosts));
        assert!(!files.lacks(&late));
        fs::write(&late, "").unwrap();
        assert!(files.lacks(&late));
    }

    #[test]
    fn what_is_allowed_now_holds_the_configuration_of_now() {
        assert_eq!(NameFiles::now().out_of_reach(), None);
    }
}
