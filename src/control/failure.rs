//! Why handshakes with clients fail, as status and metrics count it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a session ended before its client was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Nobody knows whether it was: a list is missing or too old, and that is not accepted.
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

impl FailureReason {
    /// All there are.
    pub const ALL: [Self; 18] = [
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

    /// Returns its name in status, metrics and log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
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

/// How often handshakes failed, by reason; written with every reason, in the order of
/// [`FailureReason::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    from = "BTreeMap<FailureReason, u64>",
    into = "BTreeMap<FailureReason, u64>"
)]
pub struct FailureCounts([u64; FailureReason::ALL.len()]);

impl FailureCounts {
    /// Counts with `of`.
    pub fn new(of: impl FnMut(FailureReason) -> u64) -> Self {
        Self(FailureReason::ALL.map(of))
    }

    /// Returns each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (FailureReason, u64)> {
        FailureReason::ALL.into_iter().zip(self.0)
    }

    /// Returns how often handshakes failed at all.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another count of the same listener to this.
    pub fn add(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

impl From<BTreeMap<FailureReason, u64>> for FailureCounts {
    fn from(counts: BTreeMap<FailureReason, u64>) -> Self {
        Self::new(|reason| counts.get(&reason).copied().unwrap_or(0))
    }
}

impl From<FailureCounts> for BTreeMap<FailureReason, u64> {
    fn from(counts: FailureCounts) -> Self {
        counts.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use bincode::Options as _;

    use super::*;

    fn numbered() -> FailureCounts {
        let mut next = 0;
        FailureCounts::new(|_| {
            next += 1;
            next
        })
    }

    #[test]
    fn every_reason_is_written_by_its_name() {
        let json = serde_json::to_value(numbered()).unwrap();
        let json = json.as_object().unwrap();
        assert_eq!(json.len(), FailureReason::ALL.len());
        for (reason, count) in numbered().iter() {
            assert_eq!(json[reason.name()], count);
        }
    }

    #[test]
    fn counts_survive_both_encodings() {
        let json = serde_json::to_string(&numbered()).unwrap();
        assert_eq!(
            serde_json::from_str::<FailureCounts>(&json).unwrap(),
            numbered()
        );
        let codec = bincode::DefaultOptions::new();
        let bytes = codec.serialize(&numbered()).unwrap();
        assert_eq!(
            codec.deserialize::<FailureCounts>(&bytes).unwrap(),
            numbered()
        );
    }

    #[test]
    fn counts_add_up() {
        let mut twice = numbered();
        twice.add(numbered());
        assert_eq!(twice.sum(), 2 * numbered().sum());
    }
}
