//! Whom we believe: authorities, what they revoked, and what is checked of whom by them.

pub(crate) mod authorities;
pub(crate) mod clients;
pub(crate) mod revocation;
pub(crate) mod verifier;

use std::sync::Arc;

use rustls::{RootCertStore, client::VerifierBuilderError};

use super::material::Der;
use crate::x509::list::ListFault;

/// Why authorities and revocation lists cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The authorities are none, or no authorities.
    #[error(transparent)]
    Roots(#[from] VerifierBuilderError),
    /// A revocation list is none that counts.
    #[error("a revocation list {0}")]
    List(String),
}

impl From<ListFault> for TrustError {
    fn from(fault: ListFault) -> Self {
        Self::List(fault.to_string())
    }
}

/// Returns authorities as rustls wants them.
pub(crate) fn anchors(roots: &[Der]) -> Arc<RootCertStore> {
    let mut anchors = RootCertStore::empty();
    anchors.add_parsable_certificates(roots.iter().map(Der::to_certificate));
    Arc::new(anchors)
}
