//! Authorities out of PEM, checked to be usable; revocation lists are in [`super::lists`].

use std::{env, path::Path};

use jiff::Timestamp;
use rustls::RootCertStore;

use crate::{
    facts::Moment,
    sys::files,
    tls::material::Der,
    x509::{
        certificate,
        list::{ListFault, RevocationList},
        pem::{self, Block},
        pem_fault::PemFault,
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
    #[error("the revocation list of line {line} {why}")]
    List { line: usize, why: ListFault },
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
        warnings.push("it holds a private key, which is not needed to trust it".to_owned());
    }
    for block in &blocks {
        warnings.extend(check_root(block, now)?);
        warnings.extend(odd_curve(block));
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
    // The order of a folder's files is no difference that an operator made.
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

pub(super) fn der(block: &Block) -> Der {
    Der::from(block.der.to_vec())
}

pub(super) fn nothing(wanted: &'static str, others: &[Block]) -> BundleFault {
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
    Ok((until < now.into()).then(|| {
        format!(
            "the authority {} of line {line} expired at {until}",
            root.subject()
        )
    }))
}

/// What no client believes, no more do we: RFC 5480 §2.1.1.
fn odd_curve(block: &Block) -> Option<String> {
    let root = certificate::parse(&block.der).ok()?;
    certificate::has_written_curve(root.public_key()).then(|| {
        format!(
            "the curve of the authority {} of line {} is written out as parameters instead of \
             named; nothing that it has signed is believed",
            root.subject(),
            block.line
        )
    })
}

/// Returns when a revocation list begins to hold, and when it is to be replaced if it says so.
pub(crate) fn period(list: &Der) -> Option<(Moment, Option<Moment>)> {
    let list = RevocationList::parse(list.as_bytes()).ok()?;
    Some((list.age().0, list.next_update()))
}
