//! Authorities and revocation lists out of PEM, checked to be usable.

use std::{env, path::Path, sync::Arc};

use jiff::Timestamp;
use rustls::{
    RootCertStore, client::VerifierBuilderError, pki_types::CertificateRevocationListDer,
    server::WebPkiClientVerifier,
};
use x509_parser::revocation_list::CertificateRevocationList;

use crate::{
    config::OnUnknown,
    sys::files,
    tls::{
        material::Der,
        provider,
        trust::{self, revocation},
    },
    x509::{
        certificate,
        pem::{self, Block, PemFault},
    },
};

/// Checked content and what is odd about it.
#[derive(Debug)]
pub(crate) struct Checked<T> {
    pub(crate) value: T,
    pub(crate) warnings: Vec<String>,
}

/// Why a file of authorities or revocation lists cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleFault {
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
pub(crate) fn roots(text: &[u8], now: Timestamp) -> Result<Checked<Vec<Der>>, BundleFault> {
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
pub(crate) fn crls(
    text: &[u8],
    roots: &[Der],
    expired: OnUnknown,
    now: Timestamp,
) -> Result<Checked<Vec<Der>>, BundleFault> {
    let (blocks, others): (Vec<_>, Vec<_>) = pem::blocks(text)?
        .into_iter()
        .partition(|it| it.label == "X509 CRL");
    if blocks.is_empty() {
        return Err(nothing("revocation list (X509 CRL)", &others));
    }
    let anchors = trust::anchors(roots);
    let mut warnings = Vec::new();
    for block in &blocks {
        let list = check_crl(block, &anchors)?;
        warnings.extend(odd_list(&list, roots, expired, now));
    }
    let value = blocks.iter().map(der).collect();
    Ok(Checked { value, warnings })
}

/// Takes the authorities that the operating system trusts.
pub(crate) fn system_roots() -> Result<Checked<Vec<Der>>, String> {
    // It is opened as it is, and opening a FIFO waits for its writer.
    if let Some(file) = env::var_os("SSL_CERT_FILE") {
        let file = Path::new(&file);
        files::demand_file_or_nothing(file)
            .map_err(|error| format!("SSL_CERT_FILE is {}: {error}", file.display()))?;
    }
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

fn check_crl<'a>(
    block: &'a Block,
    anchors: &Arc<RootCertStore>,
) -> Result<CertificateRevocationList<'a>, BundleFault> {
    let line = block.line;
    let list = revocation::parse(&block.der).map_err(|why| BundleFault::List { line, why })?;
    let crl = CertificateRevocationListDer::from(block.der.to_vec());
    WebPkiClientVerifier::builder_with_provider(Arc::clone(anchors), provider())
        .with_crls([crl])
        .build()
        .map_err(|why| BundleFault::Unusable { line, why })?;
    Ok(list)
}

/// Returns when a revocation list is to be replaced, if it says so.
pub(crate) fn next_update(list: &Der) -> Option<Timestamp> {
    let list = revocation::parse(list.as_bytes()).ok()?;
    revocation::next_update(&list)
}

fn odd_list(
    list: &CertificateRevocationList<'_>,
    roots: &[Der],
    expired: OnUnknown,
    now: Timestamp,
) -> Vec<String> {
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
    if let Some(next) = revocation::next_update(list).filter(|next| *next < now) {
        let meaning = match expired {
            OnUnknown::Accept => "what was revoked since is not known",
            OnUnknown::Refuse => "until it is, clients of that authority are refused",
        };
        odd.push(format!(
            "the list of {issuer} should have been replaced by {next}; {meaning}"
        ));
    }
    odd
}
