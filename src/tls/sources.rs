//! Which files a configuration names, and which of them mean something only together.

use super::{files::BUNDLE_LIMIT, pair::PairFiles, settle::FileSet};
use crate::config::{BackendTls, BackendTlsMode, ClientAuth, ClientAuthMode, Config, Listener};

/// Every set of files that a configuration names.
pub(super) fn file_sets(config: &Config) -> impl Iterator<Item = FileSet> {
    let identities = config.identities.iter();
    let identities = identities.map(|it| PairFiles::from(it).file_set());
    let listeners = config.listeners.iter().flat_map(|it| {
        let client = client_files(&it.client_auth);
        let trust = trust_files(&it.backend_tls);
        let pair = PairFiles::of_backend(&it.backend_tls).map(|it| it.file_set());
        [client, trust, pair].into_iter().flatten()
    });
    identities.chain(listeners)
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

/// Returns whether a backend is checked with what the operating system trusts.
pub(super) fn wants_system_roots(listener: &Listener) -> bool {
    checks_issuer(&listener.backend_tls) && listener.backend_tls.ca.is_none()
}
