//! The certificates of a run: an authority, and as many server certificates from it as wanted.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::Failure;

/// The name in every certificate.
pub(crate) const SERVER_NAME: &str = "localhost";

/// An authority that lives as long as the run.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    /// The certificate.
    pub(crate) cert: String,
    /// Its key.
    pub(crate) key: String,
    /// The certificate again, as a client sees it.
    pub(crate) der: CertificateDer<'static>,
}

impl Authority {
    /// Makes an authority.
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    /// Returns its own certificate.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// Issues a server certificate with a P-256 key.
    pub(crate) fn issue(&self) -> Result<Leaf, Failure> {
        self.issue_for(SERVER_NAME)
    }

    /// Does the same for another name.
    pub(crate) fn issue_for(&self, name: &str) -> Result<Leaf, Failure> {
        self.certify(name, &KeyPair::generate()?)
    }

    /// Issues a server certificate for a key that there is already.
    pub(crate) fn certify(&self, name: &str, key: &KeyPair) -> Result<Leaf, Failure> {
        let params = CertificateParams::new([name.to_owned()])?;
        let cert = params.signed_by(key, &self.0)?;
        Ok(Leaf {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().clone(),
        })
    }
}
