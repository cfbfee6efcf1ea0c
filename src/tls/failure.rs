//! What went wrong in a handshake with a client, sorted for those who count it.

use rustls::{CertificateError, Error, PeerIncompatible};

use super::stream::TlsError;
use crate::control::FailureReason;

impl TlsError {
    /// Returns the reason by which status and metrics count it.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::Protocol(source) | Self::Certificate { source, .. } => of_rustls(source),
            Self::Outdated => FailureReason::UnsupportedVersion,
            Self::NotTls => FailureReason::NotTls,
            Self::UnknownName(_) => FailureReason::UnknownName,
            Self::TooLong | Self::KeysExhausted => FailureReason::Protocol,
        }
    }
}

fn of_rustls(error: &Error) -> FailureReason {
    match error {
        Error::NoCertificatesPresented => FailureReason::NoCertificate,
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidCertRevocationList(_) => FailureReason::RevocationUnknown,
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
        Fault::UnknownRevocationStatus
        | Fault::ExpiredRevocationList
        | Fault::ExpiredRevocationListContext { .. } => FailureReason::RevocationUnknown,
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
