//! Sessions that stay open although the certificate of their client is revoked by now.

use serde::{Deserialize, Serialize};

/// The most certificates that are named.
pub const MOST_REVOKED: usize = 100;

/// A revoked certificate of clients whose sessions are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedCertificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// SHA-256 of its DER, in lower-case hexadecimal.
    pub sha256: String,
    /// How many sessions of it are open.
    pub sessions: u64,
}

/// Sessions that are open and whose client could not open another, because revocation lists name its
/// certificate or one that issued it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedSessions {
    /// How many sessions.
    pub sessions: u64,
    /// The certificates of their clients, those with the most sessions first; at most [`MOST_REVOKED`].
    pub certificates: Vec<RevokedCertificate>,
    /// How many more certificates there are.
    pub left_out: u64,
    /// The process ids of workers that did not answer in time, whose sessions are not counted.
    pub silent: Vec<u32>,
}

impl RevokedSessions {
    /// Adds what another worker has found.
    pub fn add(&mut self, other: Self) {
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.left_out = self.left_out.saturating_add(other.left_out);
        for certificate in other.certificates {
            let mut known = self.certificates.iter_mut();
            match known.find(|it| it.sha256 == certificate.sha256) {
                Some(known) => known.sessions = known.sessions.saturating_add(certificate.sessions),
                None => self.certificates.push(certificate),
            }
        }
        self.trim();
    }

    /// Keeps those with the most sessions, and counts the others.
    pub fn trim(&mut self) {
        self.certificates
            .sort_by(|a, b| (b.sessions, &a.sha256).cmp(&(a.sessions, &b.sha256)));
        let more = self.certificates.len().saturating_sub(MOST_REVOKED);
        self.certificates.truncate(MOST_REVOKED);
        self.left_out = self.left_out.saturating_add(more as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(name: &str, sessions: u64) -> RevokedCertificate {
        RevokedCertificate {
            subject: format!("CN={name}"),
            sha256: name.to_owned(),
            sessions,
        }
    }

    fn found(certificates: Vec<RevokedCertificate>) -> RevokedSessions {
        RevokedSessions {
            sessions: certificates.iter().map(|it| it.sessions).sum(),
            certificates,
            ..RevokedSessions::default()
        }
    }

    #[test]
    fn what_workers_have_found_is_added_by_certificate() {
        let mut all = found(vec![certificate("a", 1), certificate("b", 2)]);
        all.add(found(vec![certificate("a", 3), certificate("c", 1)]));
        let expected = [
            certificate("a", 4),
            certificate("b", 2),
            certificate("c", 1),
        ];
        assert_eq!((all.sessions, &all.certificates[..]), (7, &expected[..]));
    }

    #[test]
    fn very_many_certificates_are_counted_and_not_named() {
        let many = (0..=MOST_REVOKED).map(|number| certificate(&format!("{number:04}"), 1));
        let mut all = found(many.collect());
        all.add(found(vec![certificate("most", 9)]));
        assert_eq!((all.certificates.len(), all.left_out), (MOST_REVOKED, 2));
        assert_eq!(all.certificates[0].sha256, "most");
    }
}
