//! Why a key is of no use, or belongs to no certificate beside it, as closely as can be told.

use x509_parser::certificate::X509Certificate;

use super::{
    fault::{CertificateFault, Fault, KeyFault},
    parts::Part,
};
use crate::x509::{
    certificate,
    der::{self, KeyKind},
};

/// How many bits of RSA are served.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Returns why a key cannot be used for signing.
pub(super) fn unusable(key: &Part) -> KeyFault {
    let what = key.what.clone();
    // The form of OpenSSH begins with this, PROTOCOL.key of OpenSSH §1.
    if key.der.starts_with(b"openssh-key-v1\0") {
        return KeyFault::OpenSsh { what };
    }
    match der::key_kind(&key.der) {
        Some(KeyKind::WrittenCurve) => KeyFault::WrittenCurve { what },
        Some(KeyKind::Curve { name }) if !is_served(&name) => KeyFault::Curve { what, curve: name },
        Some(KeyKind::Rsa { bits: Some(bits) }) if !RSA_BITS.contains(&bits) => {
            KeyFault::Length { what, bits }
        }
        Some(KeyKind::Other { name }) if name != "Ed25519" => KeyFault::Algorithm {
            what,
            algorithm: name,
        },
        _ => KeyFault::Unusable { what },
    }
}

fn is_served(curve: &str) -> bool {
    matches!(curve, "P-256" | "P-384" | "P-521")
}

/// Returns why none of these keys belongs to any of these certificates, at least one of each.
pub(super) fn mismatch(keys: &[Part], certificates: &[X509Certificate<'_>]) -> Fault {
    let leaf = certificates.first();
    if leaf.is_some_and(|it| certificate::has_written_curve(it.public_key())) {
        return CertificateFault::WrittenCurve.into();
    }
    let halves: Vec<_> = keys.iter().map(public_half).collect();
    let is_half = |it: &X509Certificate<'_>| {
        let mut halves = halves.iter().flatten();
        halves.any(|half| certificate::is_other_form_of(it.public_key(), half))
    };
    if certificates.iter().any(is_half) {
        return CertificateFault::CompressedPoint.into();
    }
    let key = keys.first().and_then(|it| der::key_kind(&it.der));
    KeyFault::Mismatch {
        public_half: halves.into_iter().next().flatten().unwrap_or_default(),
        key: key.map_or_else(|| "unknown".to_owned(), named),
        certificate: leaf
            .map(|it| certificate::key_type(it.public_key()))
            .unwrap_or_default(),
    }
    .into()
}

fn public_half(key: &Part) -> Option<Vec<u8>> {
    super::signing_key(key).ok().map(|(_, half)| half)
}

/// Names a kind of key as [`certificate::key_type`] does.
fn named(kind: KeyKind) -> String {
    match kind {
        KeyKind::Rsa { bits: Some(bits) } => format!("rsa-{bits}"),
        KeyKind::Rsa { bits: None } => "rsa".to_owned(),
        KeyKind::Curve { name } => format!("ecdsa-{}", name.to_lowercase().replace("p-", "p")),
        KeyKind::WrittenCurve => "ecdsa".to_owned(),
        KeyKind::Other { name } => name.to_lowercase(),
    }
}
