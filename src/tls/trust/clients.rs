//! What is checked of a client's certificate.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{VerifierBuilderError, danger::HandshakeSignatureValid},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{anchors, revocation};
use crate::{
    config::{AllowRule, Claims, ClientAuth, ClientAuthMode, OnUnknown},
    tls::{material::Bundle, notes, provider},
    x509::certificate,
};

/// Checks clients' certificates: first that an authority issued them and has not revoked them,
/// then that their holders are among those who are let in.
///
/// A certificate is refused if the list of its issuer names it. Unless the configuration says
/// otherwise, an issuer without a list is taken to have revoked nothing, because with several
/// authorities in a bundle the list of one must not shut out the clients of the others; and a list
/// past its next update goes on being believed, because refusing every client when a list is late
/// would be an outage. Loading warns of it.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    /// The same authorities with different lists, at least one; see [`revocation::rounds`].
    rounds: Vec<Arc<dyn ClientCertVerifier>>,
    allow: Vec<AllowRule>,
    /// From when on lists that are too old refuse clients.
    lists_end: Option<UnixTime>,
}

impl ClientVerifier {
    pub(crate) fn new(auth: &ClientAuth, bundle: &Bundle) -> Result<Self, VerifierBuilderError> {
        let anchors = anchors(&bundle.roots);
        let round = |crls| {
            let mut builder =
                WebPkiClientVerifier::builder_with_provider(Arc::clone(&anchors), provider())
                    .with_crls(crls);
            if auth.unknown_revocation == OnUnknown::Accept {
                builder = builder.allow_unknown_revocation_status();
            }
            if auth.expired_crl == OnUnknown::Refuse {
                builder = builder.enforce_revocation_expiration();
            }
            if auth.mode != ClientAuthMode::Required {
                builder = builder.allow_unauthenticated();
            }
            builder.build()
        };
        let lists_end = match auth.expired_crl {
            OnUnknown::Accept => None,
            OnUnknown::Refuse => revocation::first_expiry(&bundle.crls),
        };
        Ok(Self {
            rounds: revocation::rounds(&bundle.crls)
                .into_iter()
                .map(round)
                .collect::<Result<_, _>>()?,
            allow: auth.allow.clone(),
            lists_end,
        })
    }

    /// Checks a certificate as in a handshake, and says nothing to anybody.
    pub(crate) fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        revocation::ask(&self.rounds, |round| {
            round.verify_client_cert(leaf, intermediates, now).map(drop)
        })?;
        if self.allow.is_empty() || self.is_allowed(leaf) {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
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
        ends.chain(self.lists_end).min()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.rounds[0].client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.rounds[0].root_hint_subjects()
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
        self.rounds[0]
            .verify_tls12_signature(message, leaf, signed)
            .inspect_err(|_| notes::refuse(leaf, None))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rounds[0]
            .verify_tls13_signature(message, leaf, signed)
            .inspect_err(|_| notes::refuse(leaf, None))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rounds[0].supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
