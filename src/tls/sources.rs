//! Which files a configuration names, and which of them mean something only together.

use std::path::PathBuf;

use super::{
    files::{BUNDLE_LIMIT, IDENTITY_LIMIT},
    settle::FileSet,
};
use crate::config::{
    BackendTls, BackendTlsMode, ClientAuth, ClientAuthMode, Config, IdentityFiles, Listener,
};

/// Returns the paths whose content a load depends on; a folder stands for all that is in it.
#[must_use]
pub fn watched_paths(config: &Config) -> Vec<PathBuf> {
    file_sets(config).flat_map(|set| set.paths).collect()
}

/// Every set of files that a configuration names.
pub(super) fn file_sets(config: &Config) -> impl Iterator<Item = FileSet> {
    let identities = config.identities.iter().map(identity_files);
    let listeners = config.listeners.iter().flat_map(|it| {
        let client = client_files(&it.client_auth);
        let trust = trust_files(&it.backend_tls);
        let pair = backend_pair_files(&it.backend_tls);
        [client, trust, pair].into_iter().flatten()
    });
    identities.chain(listeners)
}

/// The files of an identity: certificate, key.
pub(super) fn identity_files(files: &IdentityFiles) -> FileSet {
    FileSet {
        paths: vec![files.cert.clone(), files.key.clone()],
        limit: IDENTITY_LIMIT,
    }
}

/// The files of a client bundle: authorities, then revocation lists if there are.
pub(super) fn client_files(auth: &ClientAuth) -> Option<FileSet> {
    if auth.mode == ClientAuthMode::Off {
        return None;
    }
    let ca = auth.ca.clone()?;
    Some(FileSet {
        paths: std::iter::once(ca).chain(auth.crl.clone()).collect(),
        limit: BUNDLE_LIMIT,
    })
}

fn checks_issuer(tls: &BackendTls) -> bool {
    matches!(
        tls.mode,
        BackendTlsMode::VerifyCa | BackendTlsMode::VerifyFull
    )
}

/// The file with the authorities that a backend is checked with.
pub(super) fn trust_files(tls: &BackendTls) -> Option<FileSet> {
    let ca = tls.ca.clone().filter(|_| checks_issuer(tls))?;
    Some(FileSet {
        paths: vec![ca],
        limit: BUNDLE_LIMIT,
    })
}

/// The files of what is shown to a backend: certificate, key.
pub(super) fn backend_pair_files(tls: &BackendTls) -> Option<FileSet> {
    if tls.mode == BackendTlsMode::Off {
        return None;
    }
    Some(FileSet {
        paths: vec![tls.cert.clone()?, tls.key.clone()?],
        limit: IDENTITY_LIMIT,
    })
}

/// Returns whether a backend is checked with what the operating system trusts.
pub(super) fn wants_system_roots(listener: &Listener) -> bool {
    checks_issuer(&listener.backend_tls) && listener.backend_tls.ca.is_none()
}
