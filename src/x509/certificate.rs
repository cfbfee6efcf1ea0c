//! Facts out of a certificate, as people and policies want them.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use aws_lc_rs::digest::{self, SHA256};
use rustls::pki_types::UnixTime;
use x509_parser::{
    asn1_rs::Tag,
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    public_key::PublicKey,
    x509::{SubjectPublicKeyInfo, X509Version},
};

use crate::facts::{CertificateFacts, Moment};

/// Parses a certificate, which must be all there is.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("there are bytes after its end".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns what a person wants to know about a certificate.
pub(crate) fn facts(certificate: &X509Certificate<'_>) -> CertificateFacts {
    CertificateFacts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        serial: serial(certificate.raw_serial()),
        sha256: sha256(certificate.as_raw()),
        not_before: not_before(certificate),
        not_after: not_after(certificate),
        dns_names: alternative_names(certificate),
        key_type: key_type(certificate.public_key()),
    }
}

/// Returns SHA-256 of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut result = [0; 32];
    result.copy_from_slice(digest::digest(&SHA256, bytes).as_ref());
    result
}

/// Returns SHA-256 of `bytes` as lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&digest(bytes))
}

/// Returns the last moment at which a certificate in DER is valid; `None` if it cannot be read.
pub(crate) fn end(der: &[u8]) -> Option<UnixTime> {
    let end = not_after(&parse(der).ok()?).as_second();
    let end = Duration::from_secs(u64::try_from(end).unwrap_or(0));
    Some(UnixTime::since_unix_epoch(end))
}

/// Returns the first moment at which a certificate is valid.
pub(crate) fn not_before(certificate: &X509Certificate<'_>) -> Moment {
    Moment::from_second(certificate.validity().not_before.timestamp())
}

/// Returns the last moment at which a certificate is valid.
pub(crate) fn not_after(certificate: &X509Certificate<'_>) -> Moment {
    Moment::from_second(certificate.validity().not_after.timestamp())
}

/// Returns whether a certificate is in the form that carries extensions.
pub(crate) fn is_v3(certificate: &X509Certificate<'_>) -> bool {
    certificate.version() == X509Version::V3
}

/// Returns whether a certificate names the address where its issuer's certificate can be had.
pub(crate) fn names_issuer_address(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().any(|it| {
        matches!(
            it.parsed_extension(),
            ParsedExtension::AuthorityInfoAccess(_)
        )
    })
}

/// Returns the host names that a client may ask for to get this certificate.
///
/// Those of the subject alternative name extension; the common name only when it has none, for
/// the certificates that old tools make.
pub(crate) fn host_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names = dns_names(certificate);
    if names.is_empty() {
        names = common_names(certificate);
    }
    names.into_iter().map(str::to_owned).collect()
}

/// Returns the DNS names of the subject alternative name extension.
pub(crate) fn dns_names<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let names = general_names(certificate).iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
        .collect()
}

/// Returns the URIs of the subject alternative name extension.
pub(crate) fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let names = general_names(certificate).iter();
    names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect()
}

/// Returns the common names of the subject, as far as they are text.
pub(crate) fn common_names<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    certificate
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok())
        .collect()
}

fn general_names<'a>(certificate: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => &extension.value.general_names,
        _ => &[],
    }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    general_names(certificate)
        .iter()
        .filter_map(shown_name)
        .collect()
}

/// Returns how people write a name; `None` if it is of a kind that no server is known by.
pub(super) fn shown_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => shown_address(bytes),
        _ => None,
    }
}

fn shown_address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(v6).to_string())
}

/// Names the kind and size of a public key, for example `ecdsa-p256`.
pub(crate) fn key_type(key: &SubjectPublicKeyInfo<'_>) -> String {
    if let Some(bits) = rsa_bits(key) {
        return format!("rsa-{bits}");
    }
    let algorithm = key.algorithm.algorithm.to_id_string();
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|it| it.as_oid().ok())
        .map(|oid| oid.to_id_string());
    let name = match (algorithm.as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "ecdsa-p256",
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "ecdsa-p384",
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "ecdsa-p521",
        ("1.2.840.10045.2.1", _) => "ecdsa",
        ("1.3.101.112", _) => "ed25519",
        ("1.3.101.113", _) => "ed448",
        _ => return algorithm,
    };
    name.to_owned()
}

/// Returns whether a key's curve is described instead of named, which RFC 5480 §2.1.1 forbids.
pub(crate) fn has_written_curve(key: &SubjectPublicKeyInfo<'_>) -> bool {
    let parameters = key.algorithm.parameters.as_ref();
    key.algorithm.algorithm.to_id_string() == "1.2.840.10045.2.1"
        && parameters.is_some_and(|it| it.tag() != Tag::Oid)
}

/// Returns whether a key on a curve is the same as `other`, a public key in DER, but written in another
/// form: SEC 1 §2.3.3 has an uncompressed and a compressed one, X9.62 §4.3.6 a hybrid one too.
pub(crate) fn is_other_form_of(key: &SubjectPublicKeyInfo<'_>, other: &[u8]) -> bool {
    let Ok(([], other)) = SubjectPublicKeyInfo::from_der(other) else {
        return false;
    };
    let curve = key_type(key);
    if !curve.starts_with("ecdsa-") || curve != key_type(&other) {
        return false;
    }
    let (one, other) = (&key.subject_public_key.data, &other.subject_public_key.data);
    let pair = point(one).zip(point(other));
    one.first() != other.first() && pair.is_some_and(|(one, other)| one == other)
}

/// Returns a point's abscissa and whether its ordinate is odd, which say all of it on a known curve.
fn point(written: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (form, numbers) = written.split_first()?;
    match form {
        2 | 3 => Some((numbers.to_vec(), *form == 3)),
        4 | 6 | 7 => {
            let (x, y) = numbers.split_at(numbers.len() / 2);
            Some((x.to_vec(), y.last()? & 1 == 1))
        }
        _ => None,
    }
}

/// Returns the length of an RSA key's modulus; `None` for a key of another kind.
pub(crate) fn rsa_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    match key.parsed() {
        Ok(PublicKey::RSA(key)) => {
            let zeros = key.modulus.iter().take_while(|byte| **byte == 0).count();
            let first = key.modulus.get(zeros).copied().unwrap_or(0);
            Some((key.modulus.len() - zeros) * 8 - first.leading_zeros() as usize % 8)
        }
        _ => None,
    }
}

/// Returns the digest that a certificate's signature stands on, if it is one that was broken.
pub(crate) fn broken_digest(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    match certificate
        .signature_algorithm
        .algorithm
        .to_id_string()
        .as_str()
    {
        "1.2.840.113549.1.1.4" => Some("MD5"),
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => Some("SHA-1"),
        _ => None,
    }
}

/// Writes a serial number as lower-case hexadecimal.
pub(crate) fn serial(raw: &[u8]) -> String {
    // The zero that keeps a number positive in DER is none of its digits.
    match raw {
        [0, rest @ ..] if !rest.is_empty() => hex(rest),
        _ => hex(raw),
    }
}

/// Writes bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::Ca;

    #[test]
    fn facts_are_told_as_people_read_them() {
        let ca = Ca::new("facts root");
        let leaf = ca.server(&["db.example.com", "*.example.org", "10.0.0.1", "::1"]);
        let der = leaf.pair().leaf().to_vec();
        let facts = facts(&parse(&der).unwrap());
        assert_eq!(facts.subject, "CN=db.example.com");
        assert_eq!(facts.issuer, "CN=facts root");
        assert_eq!(facts.key_type, "ecdsa-p256");
        assert_eq!(
            facts.dns_names,
            ["db.example.com", "*.example.org", "10.0.0.1", "::1"]
        );
        assert_eq!(facts.sha256.len(), 64);
        assert!(facts.not_before < facts.not_after);
    }

    #[test]
    fn serials_have_no_sign_byte() {
        assert_eq!(serial(&[0, 0x9a, 1]), "9a01");
        assert_eq!(serial(&[0]), "00");
        assert_eq!(serial(&[0x0a]), "0a");
    }

    #[test]
    fn a_point_is_known_in_each_form() {
        let even = [&[4][..], &[1; 32], &[2; 32]].concat();
        let odd = [&[4][..], &[1; 32], &[3; 32]].concat();
        let squeezed = |sign| [&[sign][..], &[1; 32]].concat();
        assert_eq!(point(&even), point(&squeezed(2)));
        assert_eq!(point(&odd), point(&squeezed(3)));
        assert_ne!(point(&even), point(&squeezed(3)));
        let hybrid = [&[7][..], &odd[1..]].concat();
        assert_eq!(point(&hybrid), point(&odd));
        for nothing in [&b""[..], &[0], &[4]] {
            assert_eq!(point(nothing), None);
        }
    }

    #[test]
    fn a_cut_certificate_does_not_parse() {
        let der = Ca::new("x").der();
        let der = der.as_bytes();
        assert!(parse(&der[..der.len() - 1]).is_err());
        assert!(parse(&[der, b"x"].concat()).is_err());
    }
}
