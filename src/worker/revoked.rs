//! Finds sessions of clients whose certificate the lists in force revoke.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::mpsc::UnboundedSender, task::yield_now};

use super::service::{Service, Services};
use crate::{
    facts::{RevokedCertificate, RevokedSessions},
    link::{FromWorker, end::MOST_BYTES},
};

/// Bytes of a message that certificates may have.
const ROOM: usize = MOST_BYTES - 256;

/// Bytes enough for a count and the lengths of texts.
const NUMBERS: usize = 32;

/// How many certificates are judged before sessions get their turn; each takes a handshake's share of time.
const AT_ONCE: usize = 4;

/// Judges the certificates of all sessions in a task, and sends what was found.
pub(super) fn find(services: &Arc<Services>, ask: u64, outbox: &UnboundedSender<FromWorker>) {
    let (services, outbox) = (Arc::clone(services), outbox.clone());
    tokio::spawn(async move {
        let mut found = look(&services).await;
        fit(&mut found);
        // If the supervisor is gone, messages are dropped.
        let _ = outbox.send(FromWorker::Revoked { ask, found });
    });
}

/// Leaves out certificates for which a message has no room.
fn fit(found: &mut RevokedSessions) {
    let mut room = ROOM;
    let mut kept = 0;
    for certificate in &found.certificates {
        let needed = NUMBERS + certificate.subject.len() + certificate.sha256.len();
        let Some(left) = room.checked_sub(needed) else {
            break;
        };
        room = left;
        kept += 1;
    }
    found.left_out += (found.certificates.len() - kept) as u64;
    found.certificates.truncate(kept);
}

async fn look(services: &Services) -> RevokedSessions {
    let listeners: HashMap<String, Arc<Service>> = services
        .all()
        .into_iter()
        .map(|(_, service)| (service.listener.name.clone(), service))
        .collect();
    let mut found = RevokedSessions::default();
    for (number, shown) in services.sessions.shown().into_iter().enumerate() {
        if number % AT_ONCE == 0 {
            yield_now().await;
        }
        let service = listeners.get(&shown.listener);
        if service.is_some_and(|it| it.is_revoked(&shown.chain.ders)) {
            found.add(RevokedSessions {
                sessions: shown.sessions,
                certificates: vec![RevokedCertificate {
                    subject: shown.chain.shown.subject.clone(),
                    sha256: shown.chain.shown.sha256.clone(),
                    sessions: shown.sessions,
                }],
                ..RevokedSessions::default()
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire;

    #[test]
    fn certificates_for_which_a_message_has_no_room_are_counted() {
        let certificate = |number: u64| RevokedCertificate {
            subject: "x".repeat(2000),
            sha256: format!("{number:064x}"),
            sessions: u64::MAX,
        };
        let mut found = RevokedSessions {
            sessions: u64::MAX,
            certificates: (0..100).map(certificate).collect(),
            left_out: 1,
            silent: vec![],
        };
        fit(&mut found);
        let kept = found.certificates.len() as u64;
        assert!(kept > 0 && found.left_out == 101 - kept, "{kept}");
        let message = FromWorker::Revoked {
            ask: u64::MAX,
            found,
        };
        assert!(wire::encode(&message, MOST_BYTES as u64 - 2).is_ok());
    }
}
