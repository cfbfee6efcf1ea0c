//! What a client of servers is told to trust and to expect, for `proxyctl probe`.

use jiff::Timestamp;

use super::bundle::{self, BundleFault};
use crate::{
    facts::Fingerprint,
    tls::material::Der,
    x509::{
        certificate,
        pem::{self, Block},
        pem_fault::PemFault,
    },
};

/// Why a file holds no certificate to expect.
#[derive(Debug, thiserror::Error)]
pub enum NoCertificate {
    /// It is damaged.
    #[error("{0}")]
    Pem(#[from] PemReason),
    /// It holds other things.
    #[error("it holds no certificate, only: {0}")]
    Others(String),
    /// Its certificate cannot be read.
    #[error("its first certificate is damaged: {0}")]
    Damaged(String),
}

/// What is wrong with a text of PEM.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PemReason(String);

impl From<PemFault> for NoCertificate {
    fn from(fault: PemFault) -> Self {
        Self::Pem(PemReason(fault.to_string()))
    }
}

/// Why authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAuthorities(String);

impl From<BundleFault> for NoAuthorities {
    fn from(fault: BundleFault) -> Self {
        Self(fault.to_string())
    }
}

/// Reads the authorities of a text of PEM, at least one.
pub fn authorities(text: &[u8]) -> Result<Vec<Der>, NoAuthorities> {
    Ok(bundle::roots(text, Timestamp::now())?.value)
}

/// Returns the authorities that the operating system trusts, at least one.
pub fn system_authorities() -> Result<Vec<Der>, NoAuthorities> {
    let found = bundle::system_roots().map_err(NoAuthorities)?;
    Ok(found.value)
}

/// Returns which certificate is the first of a file in PEM or DER.
pub fn first_certificate(file: &[u8]) -> Result<Fingerprint, NoCertificate> {
    let der = if certificate::parse(file).is_ok() {
        file.to_vec()
    } else {
        let blocks = pem::blocks(file)?;
        let first = blocks.iter().find(|it| Block::is_certificate(it));
        let first = first.ok_or_else(|| NoCertificate::Others(pem::labels(&blocks)))?;
        first.der.to_vec()
    };
    certificate::parse(&der).map_err(NoCertificate::Damaged)?;
    Ok(Fingerprint::from(certificate::digest(&der)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{Ca, der_of};

    #[test]
    fn the_certificate_that_is_expected_is_the_first_of_a_file() {
        let ca = Ca::new("root");
        let (leaf, other) = (ca.server(&["a"]), ca.server(&["b"]));
        let der = der_of(&leaf.cert);
        let expected = Fingerprint::from(certificate::digest(der.as_bytes()));
        let text = [&leaf.key[..], &leaf.cert, &other.cert].concat();
        for file in [text.as_bytes(), der.as_bytes()] {
            assert_eq!(first_certificate(file).unwrap(), expected);
        }
        for (file, why) in [
            (&leaf.key[..], "no certificate, only: PRIVATE KEY"),
            ("abc", "PEM"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "damaged",
            ),
        ] {
            let error = first_certificate(file.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
