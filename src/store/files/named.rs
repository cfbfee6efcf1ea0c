//! Which files a configuration names, and which of them mean something only together.

use super::{
    parts::Parts,
    piece::Piece,
    read::{BUNDLE_LIMIT, IDENTITY_LIMIT},
};
use crate::{
    config::{BackendTls, BackendTlsMode, ClientAuthMode, IdentityFiles, Listener},
    store::identity::pair::PairFiles,
};

/// An identity: certificate, key, passphrase.
pub(crate) fn identity_piece(files: &IdentityFiles) -> Piece {
    let subject = format!("identity \"{}\"", files.name);
    PairFiles::from(files).piece(subject, IDENTITY_LIMIT)
}

/// A client bundle: authorities, then revocation lists if there are.
pub(crate) fn clients_piece(listener: &Listener) -> Option<Piece> {
    let auth = &listener.client_auth;
    if auth.mode == ClientAuthMode::Off {
        return None;
    }
    let ca = auth.ca.clone()?;
    let paths = Parts::bundle(ca, auth.crl.clone());
    let subject = format!("listener \"{}\" client_auth", listener.name);
    Some(Piece {
        expired: auth.expired_crl,
        ..Piece::new(subject, paths, BUNDLE_LIMIT)
    })
}

fn checks_issuer(tls: &BackendTls) -> bool {
    matches!(
        tls.mode,
        BackendTlsMode::VerifyCa | BackendTlsMode::VerifyFull
    )
}

/// What a backend is checked with: authorities, then revocation lists if there are.
pub(crate) fn trust_piece(listener: &Listener) -> Option<Piece> {
    let tls = &listener.backend_tls;
    let ca = tls.ca.clone().filter(|_| checks_issuer(tls))?;
    let paths = Parts::bundle(ca, tls.crl.clone());
    Some(Piece::new(backend_subject(listener), paths, BUNDLE_LIMIT))
}

/// What is shown to a backend: certificate, key, passphrase.
pub(crate) fn backend_pair_piece(listener: &Listener) -> Option<Piece> {
    let files = PairFiles::of_backend(&listener.backend_tls)?;
    Some(files.piece(backend_subject(listener), IDENTITY_LIMIT))
}

fn backend_subject(listener: &Listener) -> String {
    format!("listener \"{}\" backend_tls", listener.name)
}

/// Returns whether a backend is checked with what the operating system trusts.
pub(crate) fn wants_system_roots(listener: &Listener) -> bool {
    checks_issuer(&listener.backend_tls) && listener.backend_tls.ca.is_none()
}
