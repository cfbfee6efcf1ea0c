use proptest::prelude::*;

use super::*;
use crate::{
    tls::{
        provider,
        testing::{Ca, der_of},
    },
    x509::certificate,
};

/// `ecdsa-with-SHA256` (RFC 5758 §3.2), and `sha1WithRSAEncryption` (RFC 3279 §2.2.1).
const ECDSA_SHA256: &[u8] = &[6, 8, 42, 134, 72, 206, 61, 4, 3, 2];
const RSA_SHA1: &[u8] = &[6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5, 5, 0];

/// `2.5.29.x`.
fn id(last: u8) -> Vec<u8> {
    tlv(6, &[&[0x55, 0x1d, last]])
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match u8::try_from(content.len()).unwrap() {
        short @ 0..=127 => vec![short],
        long => vec![0x81, long],
    };
    [vec![tag], length, content].concat()
}

fn extension(last: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 255] } else { &[] };
    tlv(0x30, &[&id(last), critical, &tlv(4, &[value])])
}

fn entry(serial: &[u8], extensions: &[u8]) -> Vec<u8> {
    let date = tlv(0x17, &[b"200101000000Z"]);
    tlv(0x30, &[&tlv(2, &[serial]), &date, extensions])
}

/// A list that nobody has signed.
struct Draft {
    version: Vec<u8>,
    algorithm: Vec<u8>,
    next: Vec<u8>,
    entries: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
}

impl Draft {
    /// Begins one of version 2 without anything in it.
    fn new() -> Self {
        Self {
            version: vec![2, 1, 1],
            algorithm: ECDSA_SHA256.to_vec(),
            next: tlv(0x17, &[b"300101000000Z"]),
            entries: vec![],
            extensions: vec![],
        }
    }

    fn der(&self) -> Vec<u8> {
        let attribute = tlv(0x30, &[&[6, 3, 0x55, 4, 3], &tlv(12, &[b"root"])]);
        let name = tlv(0x30, &[&tlv(0x31, &[&attribute])]);
        let algorithm = tlv(0x30, &[&self.algorithm]);
        let optional = |tags: &[u8], items: &[Vec<u8>]| {
            let content = items.concat();
            if content.is_empty() {
                return Vec::new();
            }
            tags.iter()
                .fold(content, |content, tag| tlv(*tag, &[&content]))
        };
        let tbs = tlv(
            0x30,
            &[
                &self.version,
                &algorithm,
                &name,
                &tlv(0x17, &[b"200101000000Z"]),
                &self.next,
                &optional(&[0x30], &self.entries),
                &optional(&[0x30, 0xa0], &self.extensions),
            ],
        );
        tlv(0x30, &[&tbs, &algorithm, &tlv(3, &[&[0, 1, 2]])])
    }

    fn read(&self) -> Result<RevocationList, ListFault> {
        RevocationList::parse(&self.der())
    }
}

#[test]
fn a_list_says_whose_it_is_and_whom_it_names() {
    let mut draft = Draft::new();
    draft.entries = vec![entry(&[0, 200], &[]), entry(&[3], &[])];
    let list = draft.read().unwrap();
    assert_eq!(list.issuer_name(), "CN=root");
    let end = "2030-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(list.next_update(), Some(end));
    assert!(list.names(&[200]) && list.names(&[0, 3]) && !list.names(&[4]));
    assert!(list.scope().is_everything());
}

#[test]
fn a_list_of_the_first_version_is_a_list() {
    let mut draft = Draft::new();
    draft.version = vec![];
    draft.next = vec![];
    draft.entries = vec![entry(&[3], &[])];
    let list = draft.read().unwrap();
    assert!(list.names(&[3]));
    assert_eq!(list.next_update(), None);
}

#[test]
fn a_list_that_is_none_by_itself_is_refused_by_what_it_is() {
    let reason = tlv(0x30, &[&extension(21, true, &[10, 1, 1])]);
    let issuer = tlv(0x30, &[&extension(29, true, &[0x30, 0])]);
    let strange = tlv(0x30, &[&extension(99, true, &[5, 0])]);
    let passed = tlv(0x30, &[&extension(99, false, &[5, 0])]);
    let root = || "CN=root".to_owned();
    let unknown = || ListFault::Critical("2.5.29.99".to_owned());
    for (what, entries, extensions, expected) in [
        ("a reason", vec![reason], vec![], None),
        (
            "another's entry",
            vec![issuer],
            vec![],
            Some(ListFault::Indirect(root())),
        ),
        ("an odd entry", vec![strange], vec![], Some(unknown())),
        (
            "what may be passed over in an entry",
            vec![passed],
            vec![],
            None,
        ),
        (
            "a delta list",
            vec![],
            vec![extension(27, true, &[2, 1, 1])],
            Some(ListFault::Delta(root())),
        ),
        (
            "a delta list that does not insist on it",
            vec![],
            vec![extension(27, false, &[2, 1, 1])],
            Some(ListFault::Delta(root())),
        ),
        (
            "an indirect list",
            vec![],
            vec![extension(28, true, &[0x30, 3, 0x84, 1, 255])],
            Some(ListFault::Indirect(root())),
        ),
        (
            "an odd list",
            vec![],
            vec![extension(99, true, &[5, 0])],
            Some(unknown()),
        ),
        (
            "what may be passed over",
            vec![],
            vec![extension(99, false, &[5, 0])],
            None,
        ),
    ] {
        let mut draft = Draft::new();
        draft.entries = entries.iter().map(|it| entry(&[7], it)).collect();
        draft.extensions = extensions;
        assert_eq!(draft.read().err(), expected, "{what}");
    }
}

#[test]
fn a_scope_is_told_and_read() {
    let point = tlv(0xa0, &[&tlv(0xa0, &[&tlv(0x86, &[b"http://ca/a"])])]);
    for (what, value, limits) in [
        ("nothing", vec![], None),
        (
            "users",
            vec![0x81, 1, 255],
            Some("certificates that are no authority's"),
        ),
        (
            "authorities",
            vec![0x82, 1, 255],
            Some("certificates of authorities"),
        ),
        (
            "attributes",
            vec![0x85, 1, 255],
            Some("attribute certificates"),
        ),
        (
            "reasons",
            vec![0x83, 2, 6, 0x40],
            Some("some reasons of revocation"),
        ),
        (
            "a point",
            point.clone(),
            Some("certificates that name the distribution point http://ca/a"),
        ),
        (
            "a point for users",
            [point, vec![0x81, 1, 255]].concat(),
            Some(
                "certificates that are no authority's, and only certificates that name the \
                 distribution point http://ca/a",
            ),
        ),
    ] {
        let mut draft = Draft::new();
        draft.extensions = vec![extension(28, true, &tlv(0x30, &[&value]))];
        let list = draft.read().unwrap();
        assert_eq!(list.scope().limits().as_deref(), limits, "{what}");
        assert_eq!(list.scope().is_everything(), limits.is_none(), "{what}");
        let (ca, leaf) = (Ca::new("root").der(), Ca::new("root").server(&["a"]));
        let leaf = leaf.pair();
        let covers = |der: &[u8]| {
            let parsed = certificate::parse(der).unwrap();
            list.scope().covers(&parsed)
        };
        let expected = match what {
            "nothing" => [true, true],
            "users" => [false, true],
            "authorities" => [true, false],
            _ => [false, false],
        };
        assert_eq!(
            [covers(ca.as_bytes()), covers(leaf.leaf())],
            expected,
            "{what}"
        );
    }
}

#[test]
fn what_is_damaged_names_nobody_and_is_refused() {
    let mut draft = Draft::new();
    draft.entries = vec![entry(&[3], &[])];
    let good = draft.der();
    let is_damaged = |der: &[u8]| matches!(RevocationList::parse(der), Err(ListFault::Damaged(_)));
    for end in 0..good.len() {
        assert!(is_damaged(&good[..end]), "{end}");
    }
    assert!(is_damaged(&[&*good, &[5, 0]].concat()));
    // An entry that cannot be read must not make the others go unnoticed.
    draft.entries.push(vec![4, 0]);
    assert!(is_damaged(&draft.der()));
    draft.entries.pop();
    draft.version = vec![2, 1, 2];
    assert!(is_damaged(&draft.der()));
    draft = Draft::new();
    draft.extensions = vec![extension(28, true, &[2, 1, 1])];
    assert!(is_damaged(&draft.der()));
}

#[test]
fn a_list_is_of_the_key_that_signed_it() {
    let (ca, namesake) = (Ca::new("root"), Ca::new("root"));
    let list = RevocationList::parse(der_of(&ca.list(&[], 1, 2090)).as_bytes()).unwrap();
    let algorithms = provider().signature_verification_algorithms.all;
    assert_eq!(list.demand_algorithm(algorithms), Ok(()));
    for (whose, expected) in [(&ca, true), (&namesake, false)] {
        let der = whose.der();
        let parsed = certificate::parse(der.as_bytes()).unwrap();
        let key = PublicKey::of_der(parsed.public_key().raw).unwrap();
        assert_eq!(list.is_signed_by(&key, algorithms), expected);
        assert!(list.is_issued_by(parsed.subject()));
    }
}

#[test]
fn an_algorithm_that_is_not_trusted_is_named() {
    let mut draft = Draft::new();
    draft.algorithm = RSA_SHA1.to_vec();
    let algorithms = provider().signature_verification_algorithms.all;
    let fault = draft.read().unwrap().demand_algorithm(algorithms);
    let name = "1.2.840.113549.1.1.5".to_owned();
    assert_eq!(fault, Err(ListFault::Algorithm(name)));
}

/// `id-RSASSA-PSS` and `id-mgf1` (RFC 4055 §2.2, §3.1), `id-sha256` (RFC 4055 §2.1).
const RSA_PSS: &[u8] = &[6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 10];
const MGF1: &[u8] = &[6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 8];
const SHA256: &[u8] = &[0x30, 13, 6, 9, 96, 134, 72, 1, 101, 3, 4, 2, 1, 5, 0];

#[test]
fn a_salt_that_is_not_trusted_is_named() {
    let algorithms = provider().signature_verification_algorithms.all;
    let mask = tlv(0xa1, &[&tlv(0x30, &[MGF1, SHA256])]);
    for (salt, expected) in [
        (tlv(0xa2, &[&[2, 1, 32]]), Ok(())),
        // OpenSSL's own choice for a key of 2048 bits.
        (tlv(0xa2, &[&[2, 2, 0, 222]]), Err(ListFault::Pss(222))),
        (vec![], Err(ListFault::Pss(20))),
    ] {
        let parameters = tlv(0x30, &[&tlv(0xa0, &[SHA256]), &mask, &salt]);
        let mut draft = Draft::new();
        draft.algorithm = [RSA_PSS, &parameters].concat();
        let list = draft.read().unwrap();
        assert_eq!(list.demand_algorithm(algorithms), expected);
    }
    let told = ListFault::Pss(222).to_string();
    assert!(told.contains("222 bytes") && told.contains("as long as that digest"));
}

proptest! {
    #[test]
    fn any_bytes_can_be_read_as_a_list(
        place in 0..200_usize,
        bytes in prop::collection::vec(any::<u8>(), 1..4),
    ) {
        let mut draft = Draft::new();
        draft.entries = vec![entry(&[3], &tlv(0x30, &[&extension(21, true, &[10, 1, 1])]))];
        draft.extensions = vec![extension(28, true, &[0x30, 3, 0x81, 1, 255])];
        let mut der = draft.der();
        let place = place % der.len();
        for (byte, new) in der[place..].iter_mut().zip(bytes) {
            *byte = new;
        }
        let _ = RevocationList::parse(&der);
    }
}
