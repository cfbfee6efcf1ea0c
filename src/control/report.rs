//! What a load of the disk found: certificates, changes, problems.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Facts about a certificate, as a person wants to read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal without separators.
    pub serial: String,
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub sha256: String,
    /// The first moment at which it is valid.
    pub not_before: Timestamp,
    /// The last moment at which it is valid.
    pub not_after: Timestamp,
    /// Names and addresses of the subject alternative name extension.
    pub dns_names: Vec<String>,
    /// For example `ecdsa-p256`, `rsa-2048`, `ed25519`.
    pub key_type: String,
}

/// The result of a reload: which generation every serving worker now serves, and what became of
/// each identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The generation that every serving worker has confirmed.
    pub generation: u64,
    /// Whether that is a new one.
    pub changed: bool,
    /// Serving workers that confirmed.
    pub workers: usize,
    /// What became of each identity.
    pub identities: Vec<IdentityChange>,
    /// What was wrong on disk; empty when everything there is served.
    pub problems: Vec<Problem>,
}

/// What a reload did to an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityChange {
    /// Its name.
    pub name: String,
    /// What happened to it.
    pub outcome: IdentityOutcome,
    /// What was served before; `None` for an identity that is new.
    pub old: Option<CertificateFacts>,
    /// What is served now; `None` if it no longer is, or is not yet.
    pub new: Option<CertificateFacts>,
}

/// What happened to an identity in a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityOutcome {
    /// The files are good and new, but others are not, and all or nothing was asked for.
    Held,
    /// The files are broken; the last good certificate is still served.
    Kept,
    /// The files turned up in a folder and are broken; nothing is served for them.
    LeftOut,
    /// The files are gone from their folder, or the configuration names them no more.
    Removed,
    /// The files hold what was served already.
    Unchanged,
    /// The files' certificate is now served.
    Updated,
}

/// Something wrong with what is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The identity or listener it concerns, as `identity "default"`; empty for the configuration.
    pub subject: String,
    /// The file, if it is about one.
    pub file: Option<String>,
    /// What is wrong and what to do about it.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// What a reload would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The generation now served.
    pub generation: u64,
    /// Every configured identity.
    pub identities: Vec<VerifiedIdentity>,
    /// What is wrong on disk, over all, and what would load and yet turn clients away.
    pub problems: Vec<Problem>,
    /// What is odd on disk but would load.
    pub warnings: Vec<Problem>,
}

/// An identity on disk against the one served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedIdentity {
    /// Its name.
    pub name: String,
    /// Its certificate file.
    pub cert: String,
    /// Its key file.
    pub key: String,
    /// What is on disk; `None` if it would not load.
    pub disk: Option<CertificateFacts>,
    /// What is served; `None` if it is new in the configuration file.
    pub served: Option<CertificateFacts>,
}
