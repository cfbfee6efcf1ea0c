//! What is checked of a backend's certificate.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{
        WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
        verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::ParsedCertificate,
};
use webpki::KeyUsage;
use x509_parser::certificate::X509Certificate;

use super::{
    authorities::Standing,
    revocation::{Lists, Policy, Refusal},
};
use crate::{
    facts::Moment,
    tls::{material::Der, notes, provider},
    x509::{certificate, list::ListFault},
};

/// How far a backend's certificate is checked. That it can sign is checked always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Not at all.
    Nothing,
    /// A trusted authority issued it, or it is trusted itself.
    Issuer,
    /// The same, and it holds the backend's name.
    IssuerAndName,
}

/// Checks backends' certificates; it knows three things that rustls' own verifier does not:
/// a check without the name, certificates that are their own authority, and those of the first
/// version where nothing is checked.
#[derive(Debug)]
pub(crate) struct BackendVerifier {
    check: Check,
    roots: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    lists: Option<Lists>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl BackendVerifier {
    pub(crate) fn new(check: Check, trusted: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for root in &trusted {
            roots.add(root.clone())?;
        }
        Ok(Self {
            check,
            roots,
            trusted,
            lists: None,
            algorithms: provider().signature_verification_algorithms,
        })
    }

    /// Lets it refuse what these lists name.
    pub(crate) fn with_lists(mut self, lists: &[Der]) -> Result<Self, ListFault> {
        let authorities = self.trusted.iter().map(AsRef::as_ref);
        self.lists = Lists::new(lists, authorities, Policy::ACCEPT)?;
        Ok(self)
    }

    /// Returns whether exactly this certificate is trusted.
    pub(crate) fn trusts(&self, leaf: &CertificateDer<'_>) -> bool {
        self.trusted.contains(leaf)
    }

    /// Checks that a trusted authority issued it or that it is trusted itself, and in both cases that
    /// no list names it.
    pub(crate) fn check_issuer(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // A server that made its own certificate often marked it as an authority, which path
        // building refuses as a leaf. Trust in exactly this certificate needs no path.
        if self.trusts(leaf) {
            check_validity(leaf, now)?;
            return self.check_trusted(leaf, intermediates, now);
        }
        check_version(leaf)?;
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        let Some(lists) = &self.lists else {
            return Ok(());
        };
        let usage = KeyUsage::server_auth();
        let checked = lists.check(&self.roots, leaf, intermediates, usage, now);
        checked.map_err(|refusal| match refusal {
            Refusal::Status(error) => error,
            Refusal::NoPath => CertificateError::UnknownIssuer.into(),
        })
    }

    /// Refuses a certificate that is trusted itself if a list of an issuer names it: one that is
    /// trusted too, or to which authorities that the backend sends lead.
    fn check_trusted(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(lists) = &self.lists else {
            return Ok(());
        };
        if lists.revoked().standing(leaf) != Standing::Good {
            return Err(CertificateError::Revoked.into());
        }
        let usage = KeyUsage::server_auth();
        match lists.check(&self.roots, leaf, intermediates, usage, now) {
            Err(Refusal::Status(error)) => Err(error),
            Ok(()) | Err(Refusal::NoPath) => Ok(()),
        }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.check == Check::Nothing {
            return Ok(());
        }
        self.check_issuer(leaf, intermediates, now)?;
        if self.check == Check::IssuerAndName {
            check_version(leaf)?;
            verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        }
        Ok(())
    }
}

fn check_validity(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = certificate::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let now = Moment::from_second(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
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

/// Says whose certificate was refused, and what may be done about it.
fn advise(leaf: &CertificateDer<'_>, name: &ServerName<'_>, error: &Error) -> Option<String> {
    let parsed = certificate::parse(leaf).ok()?;
    let whose = || {
        let issuer = notes::printable(&parsed.issuer().to_string());
        let subject = notes::printable(&parsed.subject().to_string());
        format!("its certificate is of {subject}, issued by {issuer}")
    };
    let Error::InvalidCertificate(error) = error else {
        return None;
    };
    Some(match error {
        CertificateError::UnknownIssuer => {
            format!("{}, and no authority that is trusted issued it", whose())
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            advise_name(&parsed, name)
        }
        CertificateError::Other(_) if parsed.is_ca() => format!(
            "{}, and it is marked as an authority's; name exactly this certificate in \
             backend_tls.ca, or issue another",
            whose()
        ),
        _ => whose(),
    })
}

fn advise_name(leaf: &X509Certificate<'_>, name: &ServerName<'_>) -> String {
    if matches!(leaf.subject_alternative_name(), Ok(Some(_))) {
        return "if it is the right server, set backend_tls.server_name to a name that its \
                certificate holds"
            .to_owned();
    }
    format!(
        "it has no subjectAltName, as those that MySQL and MariaDB make by themselves; use \
         verify-ca, or issue one with \"{}\" in it",
        name.to_str()
    )
}

/// Checks a handshake's signature by the key of a certificate that rustls cannot read.
///
/// A scheme of TLS 1.2 leaves the curve open (RFC 8446 §4.2.3), so there every algorithm is tried.
fn verify_by_key(
    message: &[u8],
    leaf: &X509Certificate<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let mut fitting = algorithms
        .mapping
        .iter()
        .filter(|(scheme, _)| *scheme == signed.scheme)
        .flat_map(|(_, algorithms)| algorithms.iter())
        .peekable();
    if fitting.peek().is_none() {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let key = &leaf.public_key().subject_public_key.data;
    let is_good = fitting.any(|it| {
        let verified = it.verify_signature(key, message, signed.signature());
        verified.is_ok()
    });
    if is_good {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
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
        self.verify(leaf, intermediates, name, now)
            .inspect_err(|error| notes::refuse(leaf, advise(leaf, name, error)))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match certificate::parse(leaf) {
            Ok(parsed) if !certificate::is_v3(&parsed) => {
                verify_by_key(message, &parsed, signed, &self.algorithms)
            }
            _ => verify_tls12_signature(message, leaf, signed, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match certificate::parse(leaf) {
            Ok(parsed) if !certificate::is_v3(&parsed) => {
                let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
            _ => verify_tls13_signature(message, leaf, signed, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
