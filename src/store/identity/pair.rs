//! The files of a certificate and its private key, and which of them holds what.

use std::path::{Path, PathBuf};

use super::{PairContents, passphrase::Opener};
use crate::{
    config::{BackendTls, BackendTlsMode, IdentityFiles, PairForm, PassphraseSource},
    store::files::{piece::Piece, read::Content},
};

/// The files of a certificate and its private key, as a configuration names them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PairFiles<'c> {
    cert: &'c Path,
    key: &'c Path,
    form: &'c PairForm,
}

impl<'c> From<&'c IdentityFiles> for PairFiles<'c> {
    fn from(files: &'c IdentityFiles) -> Self {
        Self {
            cert: &files.cert,
            key: &files.key,
            form: &files.form,
        }
    }
}

impl<'c> PairFiles<'c> {
    /// Returns what is shown to a backend, if anything is.
    pub(crate) fn of_backend(tls: &'c BackendTls) -> Option<Self> {
        if tls.mode == BackendTlsMode::Off {
            return None;
        }
        Some(Self {
            cert: tls.cert.as_deref()?,
            key: tls.key.as_deref()?,
            form: &tls.form,
        })
    }

    /// Tells which of a piece's files is what; `None` if it is no pair.
    pub(crate) fn of_piece(piece: &'c Piece) -> Option<Self> {
        let (cert, others) = piece.paths.split_first()?;
        let own_key = match piece.form.passphrase {
            Some(PassphraseSource::File(_)) => others.split_last()?.1.first(),
            _ => others.first(),
        };
        Some(Self {
            cert,
            key: own_key.unwrap_or(cert),
            form: &piece.form,
        })
    }

    /// Returns the files: certificate, key unless it is the same, passphrase if it has a file.
    ///
    /// A passphrase counts like the rest: one that changed may open what did not open before.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let key = (!self.is_one_file()).then_some(self.key);
        let paths = [Some(self.cert), key, self.passphrase_file()];
        paths.into_iter().flatten().map(PathBuf::from).collect()
    }

    /// Returns what the files look like, and what opens the key.
    pub(crate) fn form(&self) -> &'c PairForm {
        self.form
    }

    /// Returns the place of the file with the key among [`Self::paths`].
    pub(crate) fn key_place(&self) -> usize {
        usize::from(!self.is_one_file())
    }

    /// Returns the place of the file with the passphrase, if there is one.
    pub(crate) fn passphrase_place(&self) -> usize {
        self.key_place() + 1
    }

    /// Tells what the contents of [`Self::paths`] are; `None` if they are too few.
    pub(crate) fn contents<'a>(&self, read: &[&'a Content]) -> Option<PairContents<'a>>
    where
        'c: 'a,
    {
        let cert = *read.first()?;
        let opener = match &self.form.passphrase {
            None => Opener::Nothing,
            Some(PassphraseSource::Command(command)) => Opener::Command(command),
            Some(PassphraseSource::File(path)) => {
                Opener::File(path, read.get(self.passphrase_place())?)
            }
        };
        let key = *read.get(self.key_place())?;
        Some(PairContents {
            cert,
            key: (!self.is_one_file()).then_some(key),
            encoding: self.form.encoding,
            opener,
        })
    }

    fn is_one_file(&self) -> bool {
        self.cert == self.key
    }

    fn passphrase_file(&self) -> Option<&'c Path> {
        match &self.form.passphrase {
            Some(PassphraseSource::File(path)) => Some(path),
            Some(PassphraseSource::Command(_)) | None => None,
        }
    }
}
