//! What can go wrong with TLS, what a peer is told of it, and how that is sorted for those who count it.

use rustls::{CertificateError, Error, PeerIncompatible};

use super::{
    notes::RefusedCertificate,
    records::{Fault, state::StateError},
    trust::revocation::StatusUnknown,
};
use crate::facts::FailureReason;

/// The alert `unrecognized_name` (RFC 6066 §3) as a record of its own: a fatal alert before any key
/// is agreed on (RFC 8446 §5.1, §6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The alert `protocol_version` (RFC 8446 §6.2), in a record of a version that old clients know.
pub(super) const PROTOCOL_VERSION: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// The alert `handshake_failure` (RFC 5246 §7.2.2), as above.
pub(super) const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

/// Why a TLS connection ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer broke a rule, or cannot agree with us, or told us that we did.
    #[error("{}", words(.0))]
    Protocol(#[from] Error),
    /// The peer's certificate was refused.
    #[error("{}{}", words(source), certificate.advice.as_ref().map_or(String::new(), |it| format!("; {it}")))]
    Certificate {
        /// Why.
        source: Error,
        /// What was shown.
        certificate: Box<RefusedCertificate>,
    },
    /// The peer sent a record that never ends.
    #[error("the peer's record or handshake message is longer than TLS allows")]
    TooLong,
    /// The established session broke a rule, was told that it did, or cannot go on.
    #[error(transparent)]
    Session(#[from] Fault),
    /// The keys of a completed handshake do not make the state of a session.
    #[error("TLS cannot go on after the handshake: {0}")]
    NoSession(#[from] StateError),
    /// The peer sent something other than TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The client offers only versions that are not spoken any more.
    #[error("the client offers nothing newer than TLS 1.1")]
    Outdated,
    /// The client accepts no signature of a key that is there.
    #[error(
        "the client accepts no signature that the key of this listener's certificate makes \
         (signature_algorithms, RFC 5246 section 7.4.1.4.1); add an identity with a key of another \
         kind, such as RSA or P-256"
    )]
    NothingShared,
    /// The client asked for a name that no host has.
    #[error(
        "the client asks for the server name {0:?}, which is no host name; it has to send one \
         without port or brackets, or none (RFC 6066 section 3)"
    )]
    BadName(String),
    /// The client asked for a name that no identity of a strict listener holds.
    #[error("no identity holds the name {0:?} that the client asked for")]
    UnknownName(String),
}

/// Returns what is wrong; rustls' words do not fit what only we check, and name what is not shared
/// by names of its code.
fn words(error: &Error) -> String {
    let shared = |what| format!("the two sides have no {what} in common");
    match error {
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            shared("cipher suite that fits the certificate's key")
        }
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => {
            shared("group for the key exchange")
        }
        Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            shared("signature scheme that fits the certificate's key")
        }
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "no rule of client_auth.allow lets the holder of its certificate in".to_owned()
        }
        Error::InvalidCertificate(fault) => {
            StatusUnknown::of(fault).map_or_else(|| error.to_string(), ToString::to_string)
        }
        error => error.to_string(),
    }
}

impl TlsError {
    /// Returns whether the peer itself said, in TLS, that it ends the connection.
    pub fn is_told(&self) -> bool {
        matches!(
            self,
            Self::Protocol(Error::AlertReceived(_)) | Self::Session(Fault::AlertReceived(_))
        )
    }

    /// Returns the record that tells the peer, for an error that comes before TLS begins.
    pub fn alert(&self) -> &'static [u8] {
        match self {
            Self::UnknownName(_) => &UNRECOGNIZED_NAME,
            _ => &[],
        }
    }

    /// Returns the reason by which status and metrics count it.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Protocol(source) | Self::Certificate { source, .. } => of_rustls(source),
            Self::Outdated => FailureReason::UnsupportedVersion,
            Self::NotTls => FailureReason::NotTls,
            Self::UnknownName(_) => FailureReason::UnknownName,
            Self::NothingShared => FailureReason::NothingShared,
            Self::Session(Fault::AlertReceived(_)) => FailureReason::ClientAlert,
            Self::Session(_) | Self::NoSession(_) | Self::TooLong | Self::BadName(_) => {
                FailureReason::Protocol
            }
        }
    }
}

fn of_rustls(error: &Error) -> FailureReason {
    match error {
        Error::NoCertificatesPresented => FailureReason::NoCertificate,
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(why) => of_peer(why),
        Error::NoApplicationProtocol => FailureReason::WrongProtocol,
        Error::AlertReceived(_) => FailureReason::ClientAlert,
        _ => FailureReason::Protocol,
    }
}

fn of_certificate(error: &CertificateError) -> FailureReason {
    use CertificateError as Fault;
    match error {
        Fault::UnknownIssuer => FailureReason::UnknownIssuer,
        Fault::Expired | Fault::ExpiredContext { .. } => FailureReason::Expired,
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => FailureReason::NotYetValid,
        Fault::Revoked => FailureReason::Revoked,
        error if StatusUnknown::of(error).is_some() => FailureReason::RevocationUnknown,
        Fault::ApplicationVerificationFailure => FailureReason::NotAllowed,
        _ => FailureReason::BadCertificate,
    }
}

fn of_peer(why: &PeerIncompatible) -> FailureReason {
    match why {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired => FailureReason::UnsupportedVersion,
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            FailureReason::NothingShared
        }
        _ => FailureReason::Protocol,
    }
}
