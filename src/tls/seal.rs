//! Encrypting a few bytes for the holder of an RSA key, as a MySQL login without TLS needs it.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};

use crate::protocol::sealing::SealError;

/// Encrypts `message` with RSA-OAEP and SHA-1 (RFC 8017 §7.1) under the public key in `pem`.
pub fn seal(pem: &[u8], message: &[u8]) -> Result<Vec<u8>, SealError> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| SealError::Key)?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| SealError::Key)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| SealError::Key)?;
    if message.len() > key.max_plaintext_size(&OAEP_SHA1_MGF1SHA1) {
        return Err(SealError::TooLong);
    }
    let mut sealed = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, message, &mut sealed, None)
        .map_err(|_| SealError::Key)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}
