//! What DER is, told by how it is built and not by what its file is called.
//!
//! Only for messages: nothing is served, trusted or refused because of what is said here.

use std::borrow::Cow;

use x509_parser::der_parser::oid::Oid;

/// Tags of X.690 §8 and X.680 §8.4 that the structures below are told apart by.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const BIT_STRING: u8 = 0x03;
    pub(super) const OCTET_STRING: u8 = 0x04;
    pub(super) const OBJECT: u8 = 0x06;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const CONTEXT_0: u8 = 0xa0;
}

/// What a structure in DER is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Structure {
    /// RFC 5280 §4.1.
    Certificate,
    /// RFC 5280 §5.1.
    RevocationList,
    /// RFC 2986 §4.
    Request,
    /// RFC 5208 §5, RFC 5915 §3 or RFC 8017 §A.1.2.
    PrivateKey,
    /// RFC 5208 §6.
    EncryptedKey,
    /// RFC 5280 §4.1.2.7.
    PublicKey,
    /// RFC 2315 §7.
    Pkcs7,
    /// Something whose length says that there is more of it.
    CutOff,
}

/// One element, X.690 §8.1.1.
#[derive(Debug, Clone, Copy)]
struct Element<'a> {
    tag: u8,
    body: &'a [u8],
}

/// A private key's kind, as far as its algorithm identifier tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// RSA with a modulus of so many bits; `None` if it cannot be read.
    Rsa { bits: Option<usize> },
    /// An elliptic curve that has a name.
    Curve { name: String },
    /// An elliptic curve that is described instead of named, which RFC 5480 §2.1.1 forbids.
    WrittenCurve,
    /// Another algorithm.
    Other { name: String },
}

/// Tells what a text in DER is; `None` if it is nothing that is known here.
pub(crate) fn structure(der: &[u8]) -> Option<Structure> {
    if der.first() != Some(&tag::SEQUENCE) {
        return None;
    }
    let Some((whole, _)) = element(der) else {
        return is_cut_off(der).then_some(Structure::CutOff);
    };
    let parts = elements(whole.body)?;
    let tags: Vec<u8> = parts.iter().map(|it| it.tag).collect();
    match tags.as_slice() {
        [tag::SEQUENCE, tag::SEQUENCE, tag::BIT_STRING] => signed(parts.first()?),
        [tag::SEQUENCE, tag::BIT_STRING] => Some(Structure::PublicKey),
        [tag::SEQUENCE, tag::OCTET_STRING] => Some(Structure::EncryptedKey),
        [tag::OBJECT, tag::CONTEXT_0] => Some(Structure::Pkcs7),
        [tag::INTEGER, tag::SEQUENCE, tag::OCTET_STRING, ..]
        | [tag::INTEGER, tag::OCTET_STRING, ..]
        | [tag::INTEGER, tag::INTEGER, tag::INTEGER, ..] => Some(Structure::PrivateKey),
        _ => None,
    }
}

/// Tells apart what is signed: a certificate, a list and a request begin alike.
fn signed(body: &Element<'_>) -> Option<Structure> {
    let parts = elements(body.body)?;
    let is_time = |it: &Element<'_>| matches!(it.tag, tag::UTC_TIME | tag::TIME);
    if parts.iter().any(is_time) {
        return Some(Structure::RevocationList);
    }
    let is_request = parts.first()?.tag == tag::INTEGER && parts.last()?.tag == tag::CONTEXT_0;
    Some(if is_request {
        Structure::Request
    } else {
        Structure::Certificate
    })
}

/// Tells what kind of key a private key in DER is.
pub(crate) fn key_kind(der: &[u8]) -> Option<KeyKind> {
    let parts = elements(element(der)?.0.body)?;
    let tags: Vec<u8> = parts.iter().map(|it| it.tag).collect();
    match (tags.as_slice(), parts.as_slice()) {
        ([tag::INTEGER, tag::SEQUENCE, tag::OCTET_STRING, ..], [_, algorithm, key, ..]) => {
            of_algorithm(algorithm.body, key.body)
        }
        ([tag::INTEGER, tag::OCTET_STRING, tag::CONTEXT_0, ..], [_, _, parameters, ..]) => {
            Some(curve(element(parameters.body)?.0))
        }
        // RFC 8017 §A.1.2 has nine numbers, the way in which OpenSSL once wrote DSA six.
        (numbers, _) if numbers == [tag::INTEGER; 6] => Some(other("DSA")),
        ([tag::INTEGER, tag::INTEGER, ..], [_, modulus, ..]) => Some(KeyKind::Rsa {
            bits: Some(bits(modulus.body)),
        }),
        _ => None,
    }
}

/// Tells the kind by the algorithm identifier of RFC 5208 §5.
fn of_algorithm(identifier: &[u8], key: &[u8]) -> Option<KeyKind> {
    let (algorithm, rest) = element(identifier)?;
    let name = match object(algorithm)?.as_str() {
        "1.2.840.113549.1.1.1" => {
            let bits = match key_kind(key) {
                Some(KeyKind::Rsa { bits }) => bits,
                _ => None,
            };
            return Some(KeyKind::Rsa { bits });
        }
        "1.2.840.10045.2.1" => return Some(curve(element(rest)?.0)),
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10040.4.1" => "DSA",
        "1.2.840.113549.1.3.1" | "1.2.840.10046.2.1" => "Diffie-Hellman",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "2.16.840.1.101.3.4.3.17" => "ML-DSA-44",
        "2.16.840.1.101.3.4.3.18" => "ML-DSA-65",
        "2.16.840.1.101.3.4.3.19" => "ML-DSA-87",
        unknown => return Some(other(unknown)),
    };
    Some(other(name))
}

fn other(name: &str) -> KeyKind {
    KeyKind::Other {
        name: name.to_owned(),
    }
}

/// Tells the curve by the parameters of RFC 5480 §2.1.1.
fn curve(parameters: Element<'_>) -> KeyKind {
    let Some(object) = object(parameters) else {
        return KeyKind::WrittenCurve;
    };
    let name = match object.as_str() {
        "1.2.840.10045.3.1.1" => "P-192",
        "1.3.132.0.33" => "P-224",
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.10" => "secp256k1",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        "1.3.36.3.3.2.8.1.1.11" => "brainpoolP384r1",
        "1.3.36.3.3.2.8.1.1.13" => "brainpoolP512r1",
        "1.2.156.10197.1.301" => "SM2",
        unknown => unknown,
    };
    KeyKind::Curve {
        name: name.to_owned(),
    }
}

fn object(element: Element<'_>) -> Option<String> {
    let is_object = element.tag == tag::OBJECT;
    is_object.then(|| Oid::new(Cow::Borrowed(element.body)).to_id_string())
}

fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).copied().unwrap_or(0);
    (number.len() - zeros) * 8 - first.leading_zeros() as usize % 8
}

fn elements(mut body: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut all = Vec::new();
    while !body.is_empty() {
        let (next, rest) = element(body)?;
        all.push(next);
        body = rest;
    }
    Some(all)
}

/// Splits off the first element; `None` if it is not all there.
fn element(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, length, rest) = header(der)?;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((Element { tag, body }, rest))
}

/// Only where the length is in the long form: in the short one, any text may seem to have one.
fn is_cut_off(der: &[u8]) -> bool {
    let is_long = der.get(1).is_some_and(|it| *it > 0x80);
    is_long && header(der).is_some_and(|(_, length, rest)| rest.len() < length)
}

/// Splits off the tag and the length, X.690 §8.1.3.
fn header(der: &[u8]) -> Option<(u8, usize, &[u8])> {
    let [tag, length, rest @ ..] = der else {
        return None;
    };
    if *length < 0x80 {
        return Some((*tag, usize::from(*length), rest));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
    // Longer than any file that is read, or the indefinite form, which is not DER.
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    let digit = |length: usize, digit: &u8| length << 8 | usize::from(*digit);
    Some((*tag, digits.iter().fold(0, digit), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::testing::{Ca, der_of};

    #[test]
    fn structures_are_told_apart() {
        let ca = Ca::new("root");
        let leaf = ca.server(&["db.example.com"]);
        let of = |pem: &str| structure(der_of(pem).as_bytes());
        assert_eq!(of(&leaf.cert), Some(Structure::Certificate));
        assert_eq!(of(&leaf.key), Some(Structure::PrivateKey));
        let list = ca.list(&[&leaf], 1, 2090);
        assert_eq!(of(&list), Some(Structure::RevocationList));
        let cert = ca.der();
        let half = &cert.as_bytes()[..200];
        assert_eq!(structure(half), Some(Structure::CutOff));
        assert_eq!(structure(b"0text"), None);
        assert_eq!(structure(b""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_something_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = structure(&bytes);
            let _ = key_kind(&bytes);
            let bytes = [&[0x30, 0x40], &bytes[..]].concat();
            let _ = structure(&bytes);
            let _ = key_kind(&bytes);
        }
    }
}
