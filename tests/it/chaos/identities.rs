//! The files of an identity: how they are renewed, and every way in which they break.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use crate::support::pki::{Leaf, overwrite, replace};

/// How new good files replace good files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Renewal {
    /// Each file by a rename.
    Rename,
    /// Each file is written over.
    InPlace,
    /// Both at once: a symbolic link to their folder is exchanged.
    Swap,
}

/// The ways in which the files of an identity break.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Harm {
    /// The certificate is an empty file.
    Empty,
    /// The certificate and its key have expired.
    Expired,
    /// A FIFO lies in the place of the key, and nothing writes to it.
    Fifo,
    /// A folder lies in the place of the certificate.
    Folder,
    /// The key belongs to another certificate.
    ForeignKey,
    /// The key is not PEM.
    Garbage,
    /// The certificate is new, and its key is not there yet.
    HalfPair,
    /// The certificate is a symbolic link to itself, which no user can read.
    Loop,
    /// The certificate is gone.
    Missing,
    /// Half of the certificate is there.
    Truncated,
}

/// An identity's files: `cert.pem` and `key.pem` in a folder that `current` is a link to.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Its name.
    pub(crate) name: &'static str,
    /// The last good certificate on disk.
    pub(crate) newest: Leaf,
    folder: PathBuf,
    version: usize,
}

impl Identity {
    /// Writes the first files of an identity into a new folder.
    pub(crate) fn create(parent: &Path, name: &'static str, leaf: Leaf) -> Self {
        let mut identity = Self {
            name,
            newest: leaf,
            folder: parent.join(name),
            version: 0,
        };
        fs::create_dir(&identity.folder).unwrap();
        identity.swap();
        identity
    }

    /// Returns its table of the configuration file.
    pub(crate) fn table(&self) -> String {
        let (cert, key, name) = (self.cert(), self.key(), self.name);
        let (cert, key) = (cert.display(), key.display());
        format!("[[identity]]\nname = {name:?}\ncert = \"{cert}\"\nkey = \"{key}\"")
    }

    fn cert(&self) -> PathBuf {
        self.folder.join("current/cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("current/key.pem")
    }

    /// Replaces a good certificate and its key; calls `pause` between the two files if they are written
    /// one after the other.
    pub(crate) fn renew(&mut self, how: Renewal, leaf: Leaf, pause: impl FnOnce()) {
        self.newest = leaf;
        match how {
            Renewal::Rename => {
                replace(&self.key(), &self.newest.key);
                pause();
                replace(&self.cert(), &self.newest.cert);
            }
            Renewal::InPlace => {
                overwrite(&self.key(), &self.newest.key);
                pause();
                overwrite(&self.cert(), &self.newest.cert);
            }
            Renewal::Swap => self.swap(),
        }
    }

    /// Breaks the files; `other` is a certificate that must never be served.
    pub(crate) fn harm(&self, harm: Harm, other: &Leaf) {
        let (cert, key) = (self.cert(), self.key());
        match harm {
            Harm::Empty => overwrite(&cert, ""),
            Harm::Expired => {
                replace(&key, &other.key);
                replace(&cert, &other.cert);
            }
            Harm::Fifo => {
                fs::remove_file(&key).unwrap();
                mkfifo(&key, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
            }
            Harm::Folder => {
                fs::remove_file(&cert).unwrap();
                fs::create_dir(&cert).unwrap();
            }
            Harm::ForeignKey => replace(&key, &other.key),
            Harm::Garbage => overwrite(&key, [0, 159, 146, 150].repeat(100)),
            Harm::HalfPair => replace(&cert, &other.cert),
            Harm::Loop => {
                fs::remove_file(&cert).unwrap();
                symlink("cert.pem", &cert).unwrap();
            }
            Harm::Missing => fs::remove_file(&cert).unwrap(),
            Harm::Truncated => overwrite(&cert, &self.newest.cert[..self.newest.cert.len() / 2]),
        }
    }

    /// Writes a certificate and its key, no matter what is on disk now.
    pub(crate) fn mend(&mut self, leaf: Leaf) {
        self.newest = leaf;
        self.swap();
    }

    /// Writes the newest certificate into a folder of its own, and makes the link lead there.
    fn swap(&mut self) {
        let old = self.version_folder();
        self.version += 1;
        let new = self.version_folder();
        fs::create_dir(&new).unwrap();
        fs::write(new.join("key.pem"), &self.newest.key).unwrap();
        fs::set_permissions(new.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(new.join("cert.pem"), &self.newest.cert).unwrap();
        let link = self.folder.join("next");
        symlink(&new, &link).unwrap();
        fs::rename(&link, self.folder.join("current")).unwrap();
        if self.version > 1 {
            fs::remove_dir_all(old).unwrap();
        }
    }

    fn version_folder(&self) -> PathBuf {
        self.folder.join(self.version.to_string())
    }
}
