//! Authorities and revocation lists out of PEM, checked to be usable.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::VerifierBuilderError,
    pki_types::CertificateRevocationListDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::{
    certificate,
    material::{ClientBundle, Der},
    pem::{self, Block, PemFault},
    provider,
};

/// Checked content and what is odd about it.
#[derive(Debug)]
pub(super) struct Checked<T> {
    pub(super) value: T,
    pub(super) warnings: Vec<String>,
}

/// Why a file of authorities or revocation lists cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BundleFault {
    #[error(transparent)]
    Pem(#[from] PemFault),
    #[error("it holds no {wanted}, only: {found}")]
    Nothing { wanted: &'static str, found: String },
    #[error("the certificate of line {line} is damaged: {why}")]
    Certificate { line: usize, why: String },
    #[error("the certificate of line {line} cannot be trusted as an authority: {why}")]
    Anchor { line: usize, why: rustls::Error },
    #[error("the revocation list of line {line} is damaged: {why}")]
    List { line: usize, why: String },
    #[error("the revocation list of line {line} cannot be used: {why}")]
    Unusable {
        line: usize,
        why: VerifierBuilderError,
    },
}

/// Reads authorities, at least one.
pub(super) fn roots(text: &[u8], now: Timestamp) -> Result<Checked<Vec<Der>>, BundleFault> {
    let (blocks, others): (Vec<_>, Vec<_>) = pem::blocks(text)?
        .into_iter()
        .partition(Block::is_certificate);
    if blocks.is_empty() {
        return Err(nothing("certificate", &others));
    }
    let mut warnings = Vec::new();
    if others.iter().any(Block::is_key) {
        warnings.push("it holds a private key, which nobody who only trusts it needs".to_owned());
    }
    for block in &blocks {
        warnings.extend(check_root(block, now)?);
    }
    let value = blocks.iter().map(der).collect();
    Ok(Checked { value, warnings })
}

/// Reads revocation lists, at least one, of authorities that are known.
pub(super) fn crls(
    text: &[u8],
    roots: &[Der],
    now: Timestamp,
) -> Result<Checked<Vec<Der>>, BundleFault> {
    let (blocks, others): (Vec<_>, Vec<_>) = pem::blocks(text)?
        .into_iter()
        .partition(|it| it.label == "X509 CRL");
    if blocks.is_empty() {
        return Err(nothing("revocation list (X509 CRL)", &others));
    }
    let mut warnings = Vec::new();
    for block in &blocks {
        warnings.extend(check_crl(block, roots, now)?);
    }
    let value = blocks.iter().map(der).collect();
    Ok(Checked { value, warnings })
}

/// Builds what checks clients' certificates.
///
/// A certificate is refused if the list of its issuer names it. An issuer without a list is taken
/// to have revoked nothing: with several authorities in a bundle, the list of one must not shut
/// out the clients of the others. A list past its next update goes on being believed, because
/// refusing every client when a list is late would be an outage; loading warns of it.
pub(super) fn client_verifier(
    bundle: &ClientBundle,
    optional: bool,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(bundle.roots.iter().map(Der::to_certificate));
    let crls = bundle.crls.iter().map(to_crl);
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(crls)
        .allow_unknown_revocation_status();
    if optional {
        builder.allow_unauthenticated().build()
    } else {
        builder.build()
    }
}

/// Takes the authorities that the operating system trusts.
pub(super) fn system_roots() -> Result<Checked<Vec<Der>>, String> {
    let found = rustls_native_certs::load_native_certs();
    let warnings: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    let mut value: Vec<_> = found
        .certs
        .iter()
        .map(|it| Der::from(it.to_vec()))
        .collect();
    value.retain(|it| RootCertStore::empty().add(it.to_certificate()).is_ok());
    // The order of a folder's files is no difference that anybody made.
    value.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    if value.is_empty() {
        return Err(format!(
            "the operating system trusts no authority; name one with `ca` ({})",
            if warnings.is_empty() {
                "none found".to_owned()
            } else {
                warnings.join("; ")
            }
        ));
    }
    Ok(Checked { value, warnings })
}

fn der(block: &Block) -> Der {
    Der::from(block.der.to_vec())
}

fn to_crl(der: &Der) -> CertificateRevocationListDer<'static> {
    CertificateRevocationListDer::from(der.as_bytes().to_vec())
}

fn nothing(wanted: &'static str, others: &[Block]) -> BundleFault {
    BundleFault::Nothing {
        wanted,
        found: pem::labels(others),
    }
}

fn check_root(block: &Block, now: Timestamp) -> Result<Option<String>, BundleFault> {
    let line = block.line;
    let root =
        certificate::parse(&block.der).map_err(|why| BundleFault::Certificate { line, why })?;
    RootCertStore::empty()
        .add(der(block).to_certificate())
        .map_err(|why| BundleFault::Anchor { line, why })?;
    let until = certificate::not_after(&root);
    Ok((until < now).then(|| {
        format!(
            "the authority {} of line {line} expired at {until}",
            root.subject()
        )
    }))
}

fn check_crl(block: &Block, roots: &[Der], now: Timestamp) -> Result<Vec<String>, BundleFault> {
    let line = block.line;
    let list = match CertificateRevocationList::from_der(&block.der) {
        Ok(([], list)) => list,
        Ok(_) => return Err(damaged(line, "there are bytes after its end".to_owned())),
        Err(error) => return Err(damaged(line, error.to_string())),
    };
    let alone = ClientBundle {
        roots: roots.to_vec(),
        crls: vec![der(block)],
    };
    client_verifier(&alone, false).map_err(|why| BundleFault::Unusable { line, why })?;
    Ok(odd_list(&list, roots, now))
}

/// Returns when a revocation list is to be replaced, if it says so.
pub(super) fn next_update(list: &Der) -> Option<Timestamp> {
    let (_, list) = CertificateRevocationList::from_der(list.as_bytes()).ok()?;
    update_of(&list)
}

fn update_of(list: &CertificateRevocationList<'_>) -> Option<Timestamp> {
    let next = list.next_update()?;
    Some(certificate::timestamp(next.timestamp()))
}

fn damaged(line: usize, why: String) -> BundleFault {
    BundleFault::List { line, why }
}

fn odd_list(list: &CertificateRevocationList<'_>, roots: &[Der], now: Timestamp) -> Vec<String> {
    let mut odd = Vec::new();
    let issuer = list.issuer();
    let known = roots.iter().any(|root| {
        certificate::parse(root.as_bytes())
            .is_ok_and(|root| root.subject().as_raw() == issuer.as_raw())
    });
    if !known {
        odd.push(format!(
            "the list of {issuer} is of no authority in the bundle; it serves only if clients send \
             that authority's certificate"
        ));
    }
    if let Some(next) = update_of(list).filter(|next| *next < now) {
        odd.push(format!(
            "the list of {issuer} should have been replaced by {next}; what was revoked since is \
             not known"
        ));
    }
    odd
}
