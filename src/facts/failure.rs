//! Why handshakes with clients fail, as status and metrics count it.

use super::tally::{Reason, Tally};

/// Why a session ended before its client was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// The client showed no certificate where one is required.
    NoCertificate,
    /// No authority of the bundle issued its certificate.
    UnknownIssuer,
    /// Its certificate has expired.
    Expired,
    /// Its certificate is not valid yet.
    NotYetValid,
    /// Its certificate was revoked.
    Revoked,
    /// It is not known whether it was: a list is missing or too old, and that is not accepted.
    RevocationUnknown,
    /// Its certificate is good, but not one of those that are let in.
    NotAllowed,
    /// Something else is wrong with its certificate.
    BadCertificate,
    /// The client knows no TLS version that is accepted.
    UnsupportedVersion,
    /// The client and this listener know no cipher, key exchange or signature in common.
    NothingShared,
    /// The client asked for another application protocol (ALPN).
    WrongProtocol,
    /// The client asked for a name that no identity of a strict listener holds.
    UnknownName,
    /// The client refused, by an alert: often for the certificate that it was shown.
    ClientAlert,
    /// What came was no TLS.
    NotTls,
    /// The client would not use TLS.
    NoTls,
    /// It took longer than the handshake timeout.
    Timeout,
    /// The client left.
    ClientLeft,
    /// The client broke a rule of TLS or of the protocol around it, or asked for what it cannot
    /// have.
    Protocol,
}

/// How many reasons there are.
pub(super) const FAILURE_REASONS: usize = 18;

impl Reason<FAILURE_REASONS> for FailureReason {
    const ALL: [Self; FAILURE_REASONS] = [
        Self::NoCertificate,
        Self::UnknownIssuer,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::NotAllowed,
        Self::BadCertificate,
        Self::UnsupportedVersion,
        Self::NothingShared,
        Self::WrongProtocol,
        Self::UnknownName,
        Self::ClientAlert,
        Self::NotTls,
        Self::NoTls,
        Self::Timeout,
        Self::ClientLeft,
        Self::Protocol,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownIssuer => "unknown_issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::NotAllowed => "not_allowed",
            Self::BadCertificate => "bad_certificate",
            Self::UnsupportedVersion => "unsupported_version",
            Self::NothingShared => "nothing_shared",
            Self::WrongProtocol => "wrong_protocol",
            Self::ClientAlert => "client_alert",
            Self::NotTls => "not_tls",
            Self::NoTls => "no_tls",
            Self::UnknownName => "unknown_name",
            Self::Timeout => "timeout",
            Self::ClientLeft => "client_left",
            Self::Protocol => "protocol",
        }
    }
}

/// How often handshakes failed, by reason.
pub type FailureCounts = Tally<FailureReason, FAILURE_REASONS>;
