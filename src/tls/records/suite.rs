//! The cipher suites that sessions have, and what follows from each.

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305},
    hkdf,
};

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    /// Finds a version by its number (RFC 8446 §4.2.1).
    pub fn find(number: u16) -> Option<Self> {
        match number {
            0x0303 => Some(Self::Tls12),
            0x0304 => Some(Self::Tls13),
            _ => None,
        }
    }

    /// Returns the name as the PROXY protocol writes it, such as `TLSv1.3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// What protects records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aead {
    /// AES-GCM with a key of 16 bytes (RFC 5116 §5.1).
    Aes128Gcm,
    /// AES-GCM with a key of 32 bytes (RFC 5116 §5.2).
    Aes256Gcm,
    /// ChaCha20-Poly1305 with a key of 32 bytes (RFC 8439 §2.8).
    ChaCha20Poly1305,
}

impl Aead {
    /// Returns whether it is AES-GCM, a key of which wears out.
    pub fn is_gcm(self) -> bool {
        self != Self::ChaCha20Poly1305
    }

    /// Returns the length of its keys in bytes.
    pub fn key_len(self) -> usize {
        self.algorithm().key_len()
    }

    pub(super) fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

/// The hash of a suite of TLS 1.3, with which its keys are derived (RFC 8446 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Hash {
    /// Returns the length of a traffic secret in bytes.
    pub fn secret_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    pub(super) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Sha256 => hkdf::HKDF_SHA256,
            Self::Sha384 => hkdf::HKDF_SHA384,
        }
    }
}

/// A cipher suite.
#[derive(Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its number in IANA's registry of TLS cipher suites.
    pub code: u16,
    /// Its name there, such as `TLS_AES_256_GCM_SHA384`.
    pub name: &'static str,
    /// What protects records.
    pub aead: Aead,
    /// How keys are renewed: in TLS 1.3 only.
    pub hash: Option<Hash>,
}

impl Suite {
    /// Returns the suite of this number.
    pub fn find(code: u16) -> Option<&'static Self> {
        SUITES.iter().find(|it| it.code == code)
    }

    /// Returns the version of TLS that the suite belongs to.
    pub fn version(&self) -> Version {
        match self.hash {
            Some(_) => Version::Tls13,
            None => Version::Tls12,
        }
    }

    /// Returns the length of a traffic secret in bytes; TLS 1.2 has none.
    pub fn secret_len(&self) -> usize {
        self.hash.map_or(0, Hash::secret_len)
    }

    /// Returns the bytes of a nonce that a record shows in front of what it protects (RFC 5288 §3).
    pub(super) fn explicit_nonce_len(&self) -> usize {
        match self.version() {
            Version::Tls12 if self.aead.is_gcm() => 8,
            _ => 0,
        }
    }
}

const fn suite(code: u16, name: &'static str, aead: Aead, hash: Option<Hash>) -> Suite {
    Suite {
        code,
        name,
        aead,
        hash,
    }
}

/// The suites that a handshake may end with (RFC 8446 §B.4, RFC 5289 §3.2, RFC 7905 §2).
pub static SUITES: [Suite; 9] = [
    suite(
        0x1301,
        "TLS_AES_128_GCM_SHA256",
        Aead::Aes128Gcm,
        Some(Hash::Sha256),
    ),
    suite(
        0x1302,
        "TLS_AES_256_GCM_SHA384",
        Aead::Aes256Gcm,
        Some(Hash::Sha384),
    ),
    suite(
        0x1303,
        "TLS_CHACHA20_POLY1305_SHA256",
        Aead::ChaCha20Poly1305,
        Some(Hash::Sha256),
    ),
    suite(
        0xc02b,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Aead::Aes128Gcm,
        None,
    ),
    suite(
        0xc02c,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Aead::Aes256Gcm,
        None,
    ),
    suite(
        0xc02f,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Aead::Aes128Gcm,
        None,
    ),
    suite(
        0xc030,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Aead::Aes256Gcm,
        None,
    ),
    suite(
        0xcca8,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Aead::ChaCha20Poly1305,
        None,
    ),
    suite(
        0xcca9,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Aead::ChaCha20Poly1305,
        None,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_that_a_handshake_can_end_with_is_known() {
        let offered = &crate::tls::provider().cipher_suites;
        for suite in offered {
            let found = Suite::find(u16::from(suite.suite())).unwrap();
            assert_eq!(found.version() == Version::Tls13, suite.tls13().is_some());
        }
        assert_eq!(offered.len(), SUITES.len());
    }
}
