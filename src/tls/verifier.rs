//! What is checked of a backend's certificate.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::{certificate, provider};

/// How far a backend's certificate is checked. That it can sign is checked always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Not at all.
    Nothing,
    /// A trusted authority issued it, or it is trusted itself.
    Issuer,
    /// The same, and it holds the backend's name.
    IssuerAndName,
}

/// Checks backends' certificates; it knows two things that rustls' own verifier does not:
/// a check without the name, and certificates that are their own authority.
#[derive(Debug)]
pub(super) struct BackendVerifier {
    check: Check,
    roots: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl BackendVerifier {
    pub(super) fn new(check: Check, trusted: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for root in &trusted {
            roots.add(root.clone())?;
        }
        Ok(Self {
            check,
            roots,
            trusted,
            algorithms: provider().signature_verification_algorithms,
        })
    }

    /// Checks that a trusted authority issued it, or that it is trusted itself.
    pub(super) fn check_issuer(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // A server that made its own certificate often marked it as an authority, which path
        // building refuses as a leaf. Trust in exactly this certificate needs no path.
        if self.trusted.contains(leaf) {
            return check_validity(leaf, now);
        }
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )
    }
}

fn check_validity(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = certificate::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let now = certificate::timestamp(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    if now < certificate::not_before(&parsed) {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > certificate::not_after(&parsed) {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Says what is wrong with a certificate whose old form rustls would only call badly encoded.
fn check_version(leaf: &CertificateDer<'_>) -> Result<(), Error> {
    let parsed = certificate::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
    if certificate::is_v3(&parsed) {
        return Ok(());
    }
    Err(Error::General(
        "the backend's certificate is X.509 version 1, which cannot be checked; \
         issue it again as version 3 (with any extension, such as subjectAltName)"
            .to_owned(),
    ))
}

impl ServerCertVerifier for BackendVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check_version(leaf)?;
        if self.check != Check::Nothing {
            self.check_issuer(leaf, intermediates, now)?;
        }
        if self.check == Check::IssuerAndName {
            verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::tls::testing::Ca;

    /// Makes a certificate of the first version; `None` where there is no openssl.
    fn first_version() -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let steps = [
            "req -newkey rsa:2048 -nodes -subj /CN=db -keyout k -out r",
            "x509 -req -in r -signkey k -days 9 -outform DER -out c",
        ];
        for step in steps {
            let mut openssl = Command::new("openssl");
            let made = openssl
                .args(step.split(' '))
                .current_dir(dir.path())
                .output();
            assert!(made.ok()?.status.success(), "{step}");
        }
        Some(std::fs::read(dir.path().join("c")).unwrap())
    }

    #[test]
    fn an_old_certificate_is_refused_by_its_version() {
        let Some(der) = first_version() else { return };
        let leaf = CertificateDer::from(der);
        for check in [Check::Nothing, Check::Issuer] {
            let verifier = BackendVerifier::new(check, vec![leaf.clone()]).unwrap();
            let name = ServerName::try_from("db").unwrap();
            let verdict = verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now());
            let reason = verdict.unwrap_err().to_string();
            assert!(reason.contains("X.509 version 1"), "{reason}");
        }
        assert_eq!(check_version(&Ca::new("x").der().to_certificate()), Ok(()));
    }
}
