//! Decrypting by passphrase: PBES2 of PKCS#5, RFC 8018, as PKCS#8 and PKCS#12 use it.
//!
//! What came before it is not read: its ciphers and its way from passphrase to key are broken.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{
        AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
        UnboundCipherKey,
    },
    iv::FixedLength,
    pbkdf2,
};
use pkcs5::{
    AlgorithmIdentifierRef,
    der::{
        self, AnyRef, Decode, ErrorKind, Reader, SliceReader, Tag, Tagged as _,
        asn1::{ObjectIdentifier, OctetStringRef},
    },
    pbes2::{self, Kdf, Pbkdf2Params, Pbkdf2Prf, ScryptParams},
};
use zeroize::Zeroizing;

use super::passphrase::Passphrase;

/// The most rounds of PBKDF2, a few seconds of work; what asks for more is damaged.
const ROUNDS_LIMIT: u32 = 10_000_000;
/// The most memory that scrypt may take.
const MEMORY_LIMIT: u64 = 256 << 20;
/// The most times over that scrypt may take it.
const LANES_LIMIT: u16 = 16;

/// Why something did not decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Locked {
    /// It is not what it should be, whatever the passphrase.
    Damaged,
    /// The passphrase is another.
    Passphrase,
    /// It is encrypted in a way that is not read.
    Scheme(String),
}

/// Decrypts a private key: `EncryptedPrivateKeyInfo` of RFC 5958 §3.
pub(crate) fn decrypt_key(
    der: &[u8],
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let (scheme, text) = encrypted(der).map_err(|_| Locked::Damaged)?;
    let key = decrypt(scheme, text, passphrase)?;
    // One wrong passphrase in 256 leaves a padding that looks right.
    match AnyRef::from_der(&key) {
        Ok(it) if it.tag() == Tag::Sequence => Ok(key),
        _ => Err(Locked::Passphrase),
    }
}

fn encrypted(der: &[u8]) -> der::Result<(AlgorithmIdentifierRef<'_>, &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|reader| -> der::Result<_> {
        let scheme = AlgorithmIdentifierRef::decode(reader)?;
        Ok((scheme, <&OctetStringRef>::decode(reader)?.as_bytes()))
    })?;
    reader.finish()?;
    Ok(parts)
}

/// Decrypts what was encrypted by a scheme.
pub(crate) fn decrypt(
    scheme: AlgorithmIdentifierRef<'_>,
    text: &[u8],
    passphrase: &Passphrase,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    if scheme.oid != pbes2::PBES2_OID {
        return Err(Locked::Scheme(name(scheme.oid)));
    }
    let parameters = scheme.parameters.ok_or(Locked::Damaged)?;
    let parameters = pbes2::Parameters::try_from(parameters).map_err(strange)?;
    let (algorithm, length, iv) = cipher(&parameters.encryption)?;
    let mut key = Zeroizing::new(vec![0; length]);
    derive(&parameters.kdf, passphrase, &mut key)?;
    let key = UnboundCipherKey::new(algorithm, &key).map_err(|_| Locked::Damaged)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| Locked::Damaged)?;
    let mut plain = Zeroizing::new(text.to_vec());
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let length = key
        .decrypt(&mut plain, context)
        .map_err(|_| Locked::Passphrase)?
        .len();
    plain.truncate(length);
    Ok(plain)
}

fn cipher(
    scheme: &pbes2::EncryptionScheme,
) -> Result<(&'static Algorithm, usize, [u8; 16]), Locked> {
    match scheme {
        pbes2::EncryptionScheme::Aes128Cbc { iv } => Ok((&AES_128, 16, *iv)),
        pbes2::EncryptionScheme::Aes192Cbc { iv } => Ok((&AES_192, 24, *iv)),
        pbes2::EncryptionScheme::Aes256Cbc { iv } => Ok((&AES_256, 32, *iv)),
        other => Err(Locked::Scheme(name(other.oid()))),
    }
}

fn derive(kdf: &Kdf, passphrase: &Passphrase, key: &mut [u8]) -> Result<(), Locked> {
    let length = kdf.key_length();
    if length.is_some_and(|length| usize::from(length) != key.len()) {
        return Err(Locked::Damaged);
    }
    match kdf {
        Kdf::Pbkdf2(parameters) => derive_by_pbkdf2(parameters, passphrase, key),
        Kdf::Scrypt(parameters) => derive_by_scrypt(parameters, passphrase, key),
        other => Err(Locked::Scheme(name(other.oid()))),
    }
}

fn derive_by_pbkdf2(
    parameters: &Pbkdf2Params,
    passphrase: &Passphrase,
    key: &mut [u8],
) -> Result<(), Locked> {
    let algorithm = match parameters.prf {
        Pbkdf2Prf::HmacWithSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        other => return Err(Locked::Scheme(name(other.oid()))),
    };
    let rounds = rounds(parameters.iteration_count)?;
    let salt = parameters.salt.as_bytes();
    pbkdf2::derive(algorithm, rounds, salt, passphrase.as_bytes(), key);
    Ok(())
}

/// Returns a number of rounds that is worth beginning.
pub(crate) fn rounds(number: u32) -> Result<NonZeroU32, Locked> {
    NonZeroU32::new(number)
        .filter(|it| it.get() <= ROUNDS_LIMIT)
        .ok_or(Locked::Damaged)
}

fn derive_by_scrypt(
    parameters: &ScryptParams,
    passphrase: &Passphrase,
    key: &mut [u8],
) -> Result<(), Locked> {
    let ScryptParams {
        salt,
        cost_parameter: cost,
        block_size,
        parallelization: lanes,
        ..
    } = parameters;
    let memory = cost.checked_mul(128 * u64::from(*block_size));
    let affordable = memory.is_some_and(|it| it <= MEMORY_LIMIT) && *lanes <= LANES_LIMIT;
    if !affordable || !cost.is_power_of_two() {
        return Err(Locked::Damaged);
    }
    let log_cost = u8::try_from(cost.ilog2()).map_err(|_| Locked::Damaged)?;
    scrypt::Params::new(log_cost, (*block_size).into(), (*lanes).into())
        .ok()
        .and_then(|cost| scrypt::scrypt(passphrase.as_bytes(), salt.as_bytes(), &cost, key).ok())
        .ok_or(Locked::Damaged)
}

fn strange(error: der::Error) -> Locked {
    match error.kind() {
        ErrorKind::OidUnknown { oid } => Locked::Scheme(name(oid)),
        _ => Locked::Damaged,
    }
}

/// Names an algorithm as people know it.
fn name(oid: ObjectIdentifier) -> String {
    let digits = oid.to_string();
    let name = match digits.as_str() {
        "1.2.840.113549.1.5.3" | "1.2.840.113549.1.5.10" | "1.3.14.3.2.7" => "DES",
        "1.2.840.113549.1.5.6"
        | "1.2.840.113549.1.5.11"
        | "1.2.840.113549.1.12.1.5"
        | "1.2.840.113549.1.12.1.6"
        | "1.2.840.113549.3.2" => "RC2",
        "1.2.840.113549.1.12.1.1" | "1.2.840.113549.1.12.1.2" => "RC4",
        "1.2.840.113549.1.12.1.3" | "1.2.840.113549.1.12.1.4" | "1.2.840.113549.3.7" => {
            "Triple DES"
        }
        _ => return format!("the algorithm {digits}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
