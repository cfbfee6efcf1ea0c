//! An identity whose key cannot be read at will: the program that tells its passphrase hangs.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use tempfile::TempDir;

use crate::{Failure, pki::Leaf};

/// The files of such an identity.
pub(super) struct Stuck(TempDir);

impl Stuck {
    /// Puts a certificate and its encrypted key into a folder of their own.
    pub(super) fn new(leaf: &Leaf) -> Result<Self, Failure> {
        let stuck = Self(tempfile::tempdir()?);
        let folder = stuck.0.path().display();
        let ask = format!("#!/bin/sh\ntest ! -e {folder}/hangs || exec sleep 1000\necho secret\n");
        fs::write(stuck.0.path().join("ask"), ask)?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(stuck.0.path().join("ask"), mode)?;
        stuck.put(leaf)?;
        Ok(stuck)
    }

    /// Returns the table of the configuration that names it.
    pub(super) fn table(&self) -> String {
        let folder = self.0.path().display();
        format!(
            "[[identity]]\nname = \"stuck\"\ncert = \"{folder}/cert\"\nkey = \"{folder}/key\"\n\
             passphrase_command = [\"{folder}/ask\"]"
        )
    }

    /// Replaces the key, and lets every load from now on hang that reads it.
    pub(super) fn hang(&self, leaf: &Leaf) -> Result<(), Failure> {
        fs::write(self.0.path().join("hangs"), "")?;
        self.put(leaf)
    }

    fn put(&self, leaf: &Leaf) -> Result<(), Failure> {
        let (clear, new) = (self.0.path().join("clear"), self.0.path().join("new"));
        fs::write(&clear, &leaf.key)?;
        encrypt(&clear, &new)?;
        fs::write(self.0.path().join("cert"), &leaf.cert)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        Ok(fs::rename(new, self.0.path().join("key"))?)
    }
}

fn encrypt(from: &Path, to: &Path) -> io::Result<()> {
    let mut command = Command::new("openssl");
    command
        .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in"])
        .arg(from)
        .arg("-out")
        .arg(to);
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("openssl pkcs8: {status}")))
}
