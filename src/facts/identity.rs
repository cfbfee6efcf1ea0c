//! What became of an identity in a load.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::CertificateFacts;

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

/// What a reload did to an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityChange {
    /// Its name.
    pub name: String,
    /// What happened to it.
    pub outcome: IdentityOutcome,
    /// What was served before; `None` for an identity that is new.
    pub old: Option<Arc<CertificateFacts>>,
    /// What is served now; `None` if it no longer is, or is not yet.
    pub new: Option<Arc<CertificateFacts>>,
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
    pub disk: Option<Arc<CertificateFacts>>,
    /// What is served; `None` if it is new in the configuration file.
    pub served: Option<Arc<CertificateFacts>>,
}
