//! The files of a certificate and its private key, and what opens the key.

use std::path::Path;

use super::{PairContents, passphrase::Opener};
use crate::{
    config::{BackendTls, BackendTlsMode, IdentityFiles, PairForm, PassphraseSource},
    store::files::{parts::Parts, piece::Piece, read::Content},
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

    /// Makes a piece of the files.
    ///
    /// A passphrase counts like the rest: one that changed may open what did not open before.
    pub(crate) fn piece(self, subject: String, limit: u64) -> Piece {
        let key = (self.cert != self.key).then(|| self.key.to_owned());
        let passphrase = match &self.form.passphrase {
            Some(PassphraseSource::File(path)) => Some(path.clone()),
            Some(PassphraseSource::Command(_)) | None => None,
        };
        let paths = Parts::pair(self.cert.to_owned(), key, passphrase);
        Piece {
            form: self.form.clone(),
            ..Piece::new(subject, paths, limit)
        }
    }
}

impl<'a> PairContents<'a> {
    /// Returns what was read of the files of a piece.
    pub(crate) fn of(piece: &'a Piece, read: &Parts<&'a Content>) -> Self {
        let file = piece.paths.passphrase.as_deref().zip(read.passphrase);
        let opener = match (file, &piece.form.passphrase) {
            (Some((path, content)), _) => Opener::File(path, content),
            (None, Some(PassphraseSource::Command(command))) => Opener::Command(command),
            (None, _) => Opener::Nothing,
        };
        Self {
            cert: read.certs,
            key: read.key,
            encoding: piece.form.encoding,
            opener,
        }
    }
}
