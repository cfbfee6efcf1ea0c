//! What operators are told of sessions whose certificates are revoked.

use crate::facts::{RevokedSessions, amount};

/// Says how many sessions are open of certificates that a generation revokes, and how to end them; `None` if
/// there are none.
pub(super) fn still_open(found: &RevokedSessions, generation: u64) -> Option<String> {
    let first = found.certificates.first()?;
    let sessions = amount(found.sessions, "session");
    let are = if found.sessions == 1 { "is" } else { "are" };
    let certificates = match found.certificates.len() as u64 + found.left_out {
        1 => "a client certificate".to_owned(),
        number => format!("{number} client certificates"),
    };
    let (others, these) = match found.certificates.len() as u64 + found.left_out {
        1 => ("", "them"),
        _ => (" and others", "those of the first"),
    };
    Some(format!(
        "{sessions} {are} open of {certificates} that the revocation lists of generation {generation} revoke: \
         \"{}\"{others}; `proxyctl end --client-cert {}` ends {these}.",
        first.subject, first.sha256
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::RevokedCertificate;

    #[test]
    fn sessions_of_revoked_certificates_are_said_with_the_command_that_ends_them() {
        let mut found = RevokedSessions::default();
        assert_eq!(still_open(&found, 2), None);
        found.add(RevokedSessions {
            sessions: 3,
            certificates: vec![RevokedCertificate {
                subject: "CN=app".to_owned(),
                sha256: "ab".to_owned(),
                sessions: 3,
            }],
            ..RevokedSessions::default()
        });
        assert_eq!(
            still_open(&found, 2).unwrap(),
            "3 sessions are open of a client certificate that the revocation lists of generation 2 revoke: \
             \"CN=app\"; `proxyctl end --client-cert ab` ends them."
        );
    }
}
