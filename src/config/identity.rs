//! A certificate with its private key: where its files are, in which form, and what opens the key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A certificate to present and where its files are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdentityFiles {
    /// The name that listeners, status and reports use.
    pub name: String,
    /// The file with the chain.
    pub cert: PathBuf,
    /// The file with the private key; the same as `cert` when one file holds both.
    pub key: PathBuf,
    /// What the files look like, and what opens the key.
    pub form: PairForm,
    /// Whether the daemon creates the files when they are missing.
    ///
    /// True only for the identity that stands in for an empty configuration: what an operator
    /// named is never created for them.
    pub created: bool,
}

/// What the files of a certificate and its private key look like, and what opens the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PairForm {
    /// What the files look like.
    pub encoding: PairEncoding,
    /// Where the key's passphrase comes from; `None` when the key needs none.
    pub passphrase: Option<PassphraseSource>,
}

/// What the files of a certificate and its private key look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PairEncoding {
    /// PEM, RFC 7468, in one file or in two.
    #[default]
    Pem,
    /// PKCS#12, RFC 7292, always in one file.
    Pkcs12,
}

/// Where a passphrase comes from. It is never in the configuration itself, and there is no prompt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PassphraseSource {
    /// A program's absolute path and its arguments, never empty; it writes the passphrase.
    Command(Vec<String>),
    /// A file that holds nothing else.
    File(PathBuf),
}

impl PairForm {
    /// Returns whether a program is run for the passphrase.
    #[must_use]
    pub fn runs_program(&self) -> bool {
        matches!(self.passphrase, Some(PassphraseSource::Command(_)))
    }
}

impl IdentityFiles {
    /// Returns an identity in PEM files whose key needs no passphrase; both may be the same file.
    #[must_use]
    pub fn pem(name: impl Into<String>, cert: PathBuf, key: PathBuf) -> Self {
        Self {
            name: name.into(),
            cert,
            key,
            form: PairForm::default(),
            created: false,
        }
    }
}
