//! Answers to operators who list sessions and end them.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    facts::{SessionEntry, SessionId},
    link::{FromWorker, ToWorker, end::MOST_BYTES},
    session::registry::Registry,
};

/// Bytes enough for all of a message that is not a session or an id.
const ENVELOPE: usize = 256;

/// Bytes enough for the numbers of an entry: ids, addresses, times and counts, with the lengths of texts.
const NUMBERS: usize = 256;

/// Bytes enough for an id: two numbers of nine bytes.
const ID: usize = 2 * 9;

/// The most ids that a message holds.
const MOST_IDS: usize = (MOST_BYTES - ENVELOPE) / ID;

/// Answers a message about sessions; any other needs no answer.
pub(super) fn answer(message: ToWorker, sessions: &Registry, outbox: &UnboundedSender<FromWorker>) {
    let answer = match message {
        ToWorker::Sessions {
            ask,
            selection,
            after,
            most,
        } => {
            let total = match after {
                None => sessions.count(&selection),
                Some(_) => 0,
            };
            let mut room = Room {
                bytes: MOST_BYTES - ENVELOPE,
                entries: most,
            };
            let page = sessions.page(&selection, after, |entry| room.takes(entry));
            FromWorker::Sessions {
                ask,
                entries: page.entries,
                has_more: page.has_more,
                total,
            }
        }
        ToWorker::End {
            ask,
            selection,
            operator,
        } => {
            let ids = sessions.end(&selection, &Arc::from(operator));
            ended(ask, ids)
        }
        _ => return,
    };
    // If the supervisor is gone, messages are dropped.
    let _ = outbox.send(answer);
}

fn ended(ask: u64, mut ids: Vec<SessionId>) -> FromWorker {
    let count = ids.len() as u64;
    ids.truncate(MOST_IDS);
    FromWorker::Ended { ask, count, ids }
}

/// What is left of a message.
struct Room {
    bytes: usize,
    entries: u64,
}

impl Room {
    /// Takes an entry if there is room for it; returns whether there was.
    fn takes(&mut self, entry: &SessionEntry) -> bool {
        let left = self.bytes.checked_sub(NUMBERS + texts(entry));
        let (Some(bytes), Some(entries)) = (left, self.entries.checked_sub(1)) else {
            return false;
        };
        *self = Self { bytes, entries };
        true
    }
}

/// Returns how many bytes the texts of an entry have.
fn texts(entry: &SessionEntry) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let tls = entry.tls.as_ref();
    let certificate = entry.client_cert.as_ref();
    entry.listener.len()
        + length(&entry.backend)
        + length(&entry.user)
        + tls.map_or(0, |it| it.version.len() + it.suite.len())
        + certificate.map_or(0, |it| it.subject.len() + it.sha256.len())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        control::wire,
        facts::{SessionCertificate, SessionState, SessionTls},
    };

    fn entry(text: usize) -> SessionEntry {
        let text = "x".repeat(text);
        SessionEntry {
            id: SessionId {
                origin: u64::MAX,
                number: u64::MAX,
            },
            state: SessionState::Established,
            listener: text.clone(),
            client: "[ffff:ffff::1]:65535".parse().ok(),
            via: "[ffff:ffff::1]:65535".parse().ok(),
            backend: Some(text.clone()),
            user: Some(text.clone()),
            tls: Some(SessionTls {
                version: text.clone(),
                suite: text.clone(),
            }),
            client_cert: Some(SessionCertificate {
                subject: text.clone(),
                sha256: text,
            }),
            generation: u64::MAX,
            started_at: Timestamp::MIN,
            idle_ms: u64::MAX,
            bytes_up: u64::MAX,
            bytes_down: u64::MAX,
            takeovers: u64::MAX,
        }
    }

    #[test]
    fn what_has_room_fits_into_a_message() {
        for text in [0, 1, 300, 9000] {
            let mut room = Room {
                bytes: MOST_BYTES - ENVELOPE,
                entries: u64::MAX,
            };
            let mut entries = Vec::new();
            while room.takes(&entry(text)) {
                entries.push(entry(text));
            }
            assert!(!entries.is_empty());
            let message = FromWorker::Sessions {
                ask: u64::MAX,
                entries,
                has_more: true,
                total: u64::MAX,
            };
            assert!(
                wire::encode(&message, MOST_BYTES as u64 - 2).is_ok(),
                "{text}"
            );
        }
        let id = entry(0).id;
        let message = ended(u64::MAX, vec![id; 2 * MOST_IDS]);
        assert!(wire::encode(&message, MOST_BYTES as u64 - 2).is_ok());
        assert!(matches!(message, FromWorker::Ended { count, .. } if count == 2 * MOST_IDS as u64));
    }

    #[test]
    fn no_more_entries_are_told_than_were_asked_for() {
        let mut room = Room {
            bytes: MOST_BYTES,
            entries: 1,
        };
        assert!(room.takes(&entry(1)));
        assert!(!room.takes(&entry(1)));
    }
}
