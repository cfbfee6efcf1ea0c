//! Certificates and keys out of PKCS#12, RFC 7292, as OpenSSL 3 and Java's keytool write it.
//!
//! The whole is a row of safes, encrypted or not, each a row of bags. Names, dates and other
//! attributes of bags are not read: which certificate a key belongs to, its public half tells.

use aws_lc_rs::{
    digest::{self, Context},
    hmac,
};
use pkcs5::{
    AlgorithmIdentifierRef,
    der::{
        self, AnyRef, Decode, Reader, SliceReader, Tag, TagNumber,
        asn1::{ContextSpecific, ObjectIdentifier, OctetStringRef},
    },
};
use zeroize::Zeroizing;

use super::{
    passphrase::Passphrase,
    pbes2::{self, Locked},
};

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERT_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const X509: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// The purpose of a key that proves integrity, RFC 7292 appendix B.3.
const FOR_INTEGRITY: u8 = 3;

/// What a file holds, in its order.
#[derive(Default)]
pub(crate) struct Store {
    /// X.509 certificates.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Private keys in PKCS#8.
    pub(crate) keys: Vec<Zeroizing<Vec<u8>>>,
}

/// Why a file does not open.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoreFault {
    /// It is no PKCS#12, or not whole, or not in DER.
    Damaged,
    /// Its integrity is protected in a way that is not read.
    Integrity,
    /// It is encrypted, and this kept it shut.
    Locked(Locked),
}

impl From<der::Error> for StoreFault {
    fn from(_: der::Error) -> Self {
        Self::Damaged
    }
}

impl From<Locked> for StoreFault {
    fn from(locked: Locked) -> Self {
        match locked {
            Locked::Damaged => Self::Damaged,
            locked => Self::Locked(locked),
        }
    }
}

/// Returns whether a file begins like one: a sequence of known length whose first part is 3.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0x30, 0x81, _, 2, 1, 3, ..] | [0x30, 0x82, _, _, 2, 1, 3, ..]
    )
}

/// Opens a file; many have an empty passphrase.
pub(crate) fn read(bytes: &[u8], passphrase: &Passphrase) -> Result<Store, StoreFault> {
    let mut reader = SliceReader::new(bytes)?;
    let (safes, integrity) = reader.sequence(|reader| -> der::Result<_> {
        let _version = u8::decode(reader)?;
        let safes = Content::decode(reader)?;
        Ok((safes, Option::<AnyRef<'_>>::decode(reader)?))
    })?;
    reader.finish()?;
    let safes = safes.data().ok_or(StoreFault::Integrity)?;
    if let Some(integrity) = integrity {
        check(integrity, safes, passphrase)?;
    }
    let mut store = Store::default();
    for safe in all_of(safes)? {
        store.add_safe(safe, passphrase)?;
    }
    Ok(store)
}

/// Some content and what kind it is: `ContentInfo` of RFC 2315 §7.
struct Content<'a> {
    kind: ObjectIdentifier,
    value: AnyRef<'a>,
}

impl<'a> Content<'a> {
    fn decode(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        reader.sequence(|reader| {
            Ok(Self {
                kind: ObjectIdentifier::decode(reader)?,
                value: explicit(reader)?,
            })
        })
    }

    /// Returns what it holds, if that is neither signed nor encrypted.
    fn data(&self) -> Option<&'a [u8]> {
        let data = self.value.decode_as::<&OctetStringRef>();
        data.ok()
            .filter(|_| self.kind == DATA)
            .map(OctetStringRef::as_bytes)
    }
}

/// Returns the value that is tagged with 0.
fn explicit<'a>(reader: &mut SliceReader<'a>) -> der::Result<AnyRef<'a>> {
    ContextSpecific::decode_explicit(reader, TagNumber(0))?
        .map(|it: ContextSpecific<AnyRef<'a>>| it.value)
        .ok_or_else(|| Tag::Sequence.value_error().into())
}

/// Returns the parts of a sequence, each with its header.
fn all_of(sequence: &[u8]) -> der::Result<Vec<&[u8]>> {
    let mut reader = SliceReader::new(sequence)?;
    let parts = reader.sequence(|reader| {
        let mut parts = Vec::new();
        while !reader.is_finished() {
            parts.push(reader.tlv_bytes()?);
        }
        Ok::<_, der::Error>(parts)
    })?;
    reader.finish()?;
    Ok(parts)
}

impl Store {
    fn add_safe(&mut self, safe: &[u8], passphrase: &Passphrase) -> Result<(), StoreFault> {
        let content = Content::decode(&mut SliceReader::new(safe)?)?;
        if let Some(bags) = content.data() {
            return self.add_bags(bags, passphrase);
        }
        if content.kind != ENCRYPTED_DATA {
            // Encrypted for a public key, for instance.
            return Err(Locked::Scheme("a public key".to_owned()).into());
        }
        let (scheme, text) = encrypted(content.value)?;
        let bags = pbes2::decrypt(scheme, text, passphrase)?;
        self.add_bags(&bags, passphrase).map_err(|fault| {
            // One wrong passphrase in 256 leaves a padding that looks right.
            if all_of(&bags).is_err() {
                StoreFault::Locked(Locked::Passphrase)
            } else {
                fault
            }
        })
    }

    fn add_bags(&mut self, bags: &[u8], passphrase: &Passphrase) -> Result<(), StoreFault> {
        for bag in all_of(bags)? {
            let mut reader = SliceReader::new(bag)?;
            let (kind, value) = reader.sequence(|reader| -> der::Result<_> {
                let kind = ObjectIdentifier::decode(reader)?;
                let value = reader.tlv_bytes()?;
                // Its attributes.
                let _ = Option::<AnyRef<'_>>::decode(reader)?;
                Ok((kind, value))
            })?;
            self.add_bag(kind, inside(value)?, passphrase)?;
        }
        Ok(())
    }

    fn add_bag(
        &mut self,
        kind: ObjectIdentifier,
        value: &[u8],
        passphrase: &Passphrase,
    ) -> Result<(), StoreFault> {
        match kind {
            KEY_BAG => self.keys.push(Zeroizing::new(value.to_vec())),
            SHROUDED_KEY_BAG => self.keys.push(pbes2::decrypt_key(value, passphrase)?),
            CERT_BAG => self.certificates.extend(certificate(value)?),
            // Revocation lists, secrets and what others may think of are nothing to serve.
            _ => {}
        }
        Ok(())
    }
}

/// Returns what is tagged with 0, with its own header.
fn inside(tagged: &[u8]) -> der::Result<&[u8]> {
    let value = AnyRef::from_der(tagged)?;
    let mut reader = SliceReader::new(value.value())?;
    let inside = reader.tlv_bytes()?;
    reader.finish()?;
    Ok(inside)
}

/// Returns the certificate in a bag; `None` if it is no X.509 certificate.
fn certificate(bag: &[u8]) -> der::Result<Option<Vec<u8>>> {
    SliceReader::new(bag)?.sequence(|reader| {
        let kind = ObjectIdentifier::decode(reader)?;
        let value = explicit(reader)?.decode_as::<&OctetStringRef>()?;
        Ok((kind == X509).then(|| value.as_bytes().to_vec()))
    })
}

/// Returns the scheme and text of `EncryptedData`, RFC 2315 §13.
fn encrypted(value: AnyRef<'_>) -> der::Result<(AlgorithmIdentifierRef<'_>, &[u8])> {
    value.sequence(|reader| {
        let _version = u8::decode(reader)?;
        reader.sequence(|reader| {
            let _kind: ObjectIdentifier = reader.decode()?;
            let scheme = AlgorithmIdentifierRef::decode(reader)?;
            let text: Option<ContextSpecific<&OctetStringRef>> =
                ContextSpecific::decode_implicit(reader, TagNumber(0))?;
            let text = text.ok_or_else(|| der::Error::from(Tag::OctetString.value_error()))?;
            Ok((scheme, text.value.as_bytes()))
        })
    })
}

/// Checks that the safes were written with the passphrase: `MacData` of RFC 7292 §4.
fn check(integrity: AnyRef<'_>, safes: &[u8], passphrase: &Passphrase) -> Result<(), StoreFault> {
    let (kind, tag, salt, rounds) = integrity.sequence(|reader| -> der::Result<_> {
        let (kind, tag) = reader.sequence(|reader| -> der::Result<_> {
            let kind = AlgorithmIdentifierRef::decode(reader)?.oid;
            Ok((kind, <&OctetStringRef>::decode(reader)?.as_bytes()))
        })?;
        let salt = <&OctetStringRef>::decode(reader)?.as_bytes();
        Ok((kind, tag, salt, Option::<u32>::decode(reader)?.unwrap_or(1)))
    })?;
    let (digest, algorithm) = match kind {
        SHA1 => (
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ),
        SHA256 => (&digest::SHA256, hmac::HMAC_SHA256),
        SHA384 => (&digest::SHA384, hmac::HMAC_SHA384),
        SHA512 => (&digest::SHA512, hmac::HMAC_SHA512),
        _ => return Err(StoreFault::Integrity),
    };
    let rounds = pbes2::rounds(rounds)?.get();
    let fits = |words: &[u8]| {
        let key = derive(digest, words, salt, rounds);
        hmac::verify(&hmac::Key::new(algorithm, &key), safes, tag).is_ok()
    };
    let words = words(passphrase);
    // Programs differ in whether no passphrase is an empty text or none at all.
    if fits(&words) || (passphrase.as_bytes().is_empty() && fits(&[])) {
        return Ok(());
    }
    Err(Locked::Passphrase.into())
}

/// Returns a passphrase in UTF-16 with a zero at its end, RFC 7292 appendix B.1.
fn words(passphrase: &Passphrase) -> Zeroizing<Vec<u8>> {
    let bytes = passphrase.as_bytes();
    let mut words = Zeroizing::new(Vec::with_capacity(2 * bytes.len() + 2));
    match std::str::from_utf8(bytes) {
        Ok(text) => words.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
        // As OpenSSL does with what is no UTF-8.
        Err(_) => words.extend(bytes.iter().flat_map(|it| [0, *it])),
    }
    words.extend([0, 0]);
    words
}

/// Makes a key as long as a digest, RFC 7292 appendix B.2, which then is a chain of digests.
fn derive(
    algorithm: &'static digest::Algorithm,
    words: &[u8],
    salt: &[u8],
    rounds: u32,
) -> Zeroizing<Vec<u8>> {
    let block = algorithm.block_len();
    let mut input = Context::new(algorithm);
    input.update(&vec![FOR_INTEGRITY; block]);
    for part in [salt, words] {
        let whole = Zeroizing::new(part.repeat(block.div_ceil(part.len().max(1)) + 1));
        input.update(&whole[..part.len().div_ceil(block) * block]);
    }
    let mut key = Zeroizing::new(input.finish().as_ref().to_vec());
    for _ in 1..rounds {
        let next = digest::digest(algorithm, &key);
        key.copy_from_slice(next.as_ref());
    }
    key
}
