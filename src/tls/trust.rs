//! Whom we believe: authorities, what they revoked, and what is checked of whom by them.

pub(crate) mod clients;
pub(crate) mod revocation;
pub(crate) mod verifier;

use std::sync::Arc;

use rustls::RootCertStore;

use super::material::Der;

/// Returns authorities as rustls wants them.
pub(crate) fn anchors(roots: &[Der]) -> Arc<RootCertStore> {
    let mut anchors = RootCertStore::empty();
    anchors.add_parsable_certificates(roots.iter().map(Der::to_certificate));
    Arc::new(anchors)
}
