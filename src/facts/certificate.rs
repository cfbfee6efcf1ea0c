//! What people are told about a certificate.

use serde::{Deserialize, Serialize};

use super::Moment;

/// Facts about a certificate, as a person wants to read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal without separators.
    pub serial: String,
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub sha256: String,
    /// The first moment at which it is valid.
    pub not_before: Moment,
    /// The last moment at which it is valid.
    pub not_after: Moment,
    /// Names and addresses of the subject alternative name extension.
    pub dns_names: Vec<String>,
    /// For example `ecdsa-p256`, `rsa-2048`, `ed25519`.
    pub key_type: String,
}
