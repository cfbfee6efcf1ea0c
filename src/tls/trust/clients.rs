//! What is checked of a client's certificate.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use webpki::KeyUsage;

use super::{
    TrustError, anchors,
    revocation::{Lists, Policy, Refusal},
};
use crate::{
    config::{AllowRule, Claims, ClientAuth, ClientAuthMode},
    tls::{
        material::{Bundle, Der},
        notes, provider,
    },
    x509::certificate,
};

/// Checks clients' certificates: first that an authority issued them and has not revoked them,
/// then that their holders are among those who are let in.
///
/// A certificate is refused if a list that its issuer signed names it. What becomes of one about
/// which something is not known is the configuration's to say; unless it does, such a certificate is
/// let in: with several authorities in a bundle the list of one must not shut out the clients of the
/// others, and refusing every client when a list is late would be an outage. Loading warns of it.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    /// What checks everything but revocation, and says why there is no path to an authority.
    issuers: Arc<dyn ClientCertVerifier>,
    anchors: Arc<RootCertStore>,
    lists: Option<Lists>,
    allow: Vec<AllowRule>,
}

impl ClientVerifier {
    pub(crate) fn new(auth: &ClientAuth, bundle: &Bundle) -> Result<Self, TrustError> {
        let anchors = anchors(&bundle.roots);
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&anchors), provider());
        if auth.mode != ClientAuthMode::Required {
            builder = builder.allow_unauthenticated();
        }
        let policy = Policy {
            unlisted: auth.unknown_revocation,
            unscoped: auth.unscoped_crl,
            expired: auth.expired_crl,
        };
        let authorities = bundle.roots.iter().map(Der::as_bytes);
        Ok(Self {
            issuers: builder.build()?,
            anchors,
            lists: Lists::new(&bundle.crls, authorities, policy)?,
            allow: auth.allow.clone(),
        })
    }

    /// Checks a certificate as in a handshake, without an alert or a log line.
    pub(crate) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.check_issuer(leaf, intermediates, now)?;
        if self.allow.is_empty() || self.is_allowed(leaf) {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    /// Returns whether a certificate that an authority has issued is revoked.
    pub(crate) fn is_revoked(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let revoked = CertificateError::Revoked.into();
        self.lists.is_some() && self.check_issuer(leaf, intermediates, now) == Err(revoked)
    }

    /// Checks that an authority issued it and that it is not revoked. With lists one search for a path
    /// does both.
    fn check_issuer(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let issued = || {
            let verified = self.issuers.verify_client_cert(leaf, intermediates, now);
            verified.map(drop).map_err(of_namesake)
        };
        let Some(lists) = &self.lists else {
            return issued();
        };
        let usage = KeyUsage::client_auth();
        match lists.check(&self.anchors, leaf, intermediates, usage, now) {
            Ok(()) => Ok(()),
            Err(Refusal::Status(error)) => Err(error),
            Err(Refusal::NoPath) => {
                issued()?;
                Err(CertificateError::UnknownIssuer.into())
            }
        }
    }

    fn is_allowed(&self, leaf: &CertificateDer<'_>) -> bool {
        let Ok(parsed) = certificate::parse(leaf) else {
            return false;
        };
        let claims = Claims {
            dns: certificate::dns_names(&parsed),
            uris: certificate::uris(&parsed),
            common_names: certificate::common_names(&parsed),
            certificate: certificate::digest(leaf),
            public_key: certificate::digest(parsed.public_key().raw),
        };
        self.allow.iter().any(|rule| rule.allows(&claims))
    }

    /// Returns until when a good verdict on these certificates can hold.
    fn good_until(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Option<UnixTime> {
        let chain = std::iter::once(leaf).chain(intermediates);
        let ends = chain.filter_map(|it| certificate::end(it));
        let lists = self.lists.as_ref().and_then(Lists::end);
        ends.chain(lists).min()
    }
}

/// Says of a certificate that another key of its issuer's name has signed that its issuer is unknown.
///
/// webpki tells one from the other only by chance where an issuer has two keys.
fn of_namesake(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => CertificateError::UnknownIssuer.into(),
        other => other,
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.issuers.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.issuers.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, intermediates, now)
            .inspect_err(|_| notes::refuse(leaf, None))?;
        notes::note(|notes| notes.good_until = self.good_until(leaf, intermediates));
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issuers
            .verify_tls12_signature(message, leaf, signed)
            .inspect_err(|_| notes::refuse(leaf, None))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.issuers
            .verify_tls13_signature(message, leaf, signed)
            .inspect_err(|_| notes::refuse(leaf, None))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issuers.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
