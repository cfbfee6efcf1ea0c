//! What workers say of sessions and backends, held to the configuration and to what is possible.
//!
//! A worker talks to clients and may have been taken over. What it says is shown to people and summed up.
//! So its texts and numbers have limits, and what it says of listeners and backends that are not configured
//! is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    config::Listener,
    facts::{
        BackendStatus, CertificateFacts, ConnectionCounts, EndCounts, FailureCounts, Fingerprint,
        RevokedCertificate, SessionCertificate, SessionEntry, SessionTls,
    },
};

/// The longest text that is taken from a worker, in characters.
const LONGEST_TEXT: usize = 1000;

/// The most names of a certificate that are taken.
const MOST_NAMES: usize = 1000;

/// The most of anything that a worker can count in a second.
const MOST_PER_SECOND: u64 = 1_000_000;

/// How many bytes may come to each of those: a worker passes on less than 1 TB in a second, because no memory moves
/// as much.
const MOST_BYTES: u64 = 1_000_000;

/// The backends of each listener that workers may speak of.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, BTreeSet<String>>);

impl Known {
    /// Lets workers speak of these listeners, which are in force.
    pub(super) fn new(listeners: &[Listener]) -> Self {
        let backends = |it: &Listener| it.backends.iter().map(ToString::to_string).collect();
        let all = listeners.iter().map(|it| (it.name.clone(), backends(it)));
        Self(all.collect())
    }

    /// Returns whether there is a listener of this name.
    pub(super) fn has(&self, listener: &str) -> bool {
        self.0.contains_key(listener)
    }

    fn has_backend(&self, listener: &str, address: &str) -> bool {
        let backends = self.0.get(listener);
        backends.is_some_and(|it| it.contains(address))
    }

    /// Returns what is said of a backend as far as it is possible `now` for a worker that has run for so
    /// long; `None` if the listener has no such backend.
    pub(super) fn backend(
        &self,
        listener: &str,
        status: BackendStatus,
        (now, uptime): (Timestamp, Duration),
    ) -> Option<BackendStatus> {
        if !self.has_backend(listener, &status.address) {
            return None;
        }
        let most = most(uptime);
        let past = |at: Option<Timestamp>| at.map(|at| at.min(now));
        Some(BackendStatus {
            address: status.address,
            healthy: status.healthy,
            since: past(status.since),
            checked_at: past(status.checked_at),
            last_error: status.last_error.map(text),
            last_error_at: past(status.last_error_at),
            connected: status.connected.min(most),
            failed: status.failed.min(most),
            connect_times: status.connect_times.possible(most),
            certificate: status.certificate.map(certificate),
            certificate_seen_at: past(status.certificate_seen_at),
        })
    }
}

/// Returns a worker's counts of a listener as far as they are possible for one that has run for so long.
pub(super) fn possible(counts: &ConnectionCounts, uptime: Duration) -> ConnectionCounts {
    let most = most(uptime);
    ConnectionCounts {
        open: counts.open.min(most),
        total: counts.total.min(most),
        failed_handshakes: counts.failed_handshakes.min(most),
        failed_by_reason: FailureCounts::new(|it| counts.failed_by_reason.of(it).min(most)),
        refused: counts.refused.min(most),
        failed_backends: counts.failed_backends.min(most),
        ended: EndCounts::new(|it| counts.ended.of(it).min(most)),
        bytes_up: counts.bytes_up.min(most.saturating_mul(MOST_BYTES)),
        bytes_down: counts.bytes_down.min(most.saturating_mul(MOST_BYTES)),
        handshake_times: counts.handshake_times.possible(most),
        session_times: counts.session_times.possible(most),
    }
}

/// Returns how many system calls a worker that has run for so long can have been refused, of those that it
/// says it was.
pub(super) fn denied(calls: u64, uptime: Duration) -> u64 {
    calls.min(most(uptime))
}

/// Returns the most that a worker can have counted of anything.
pub(super) fn most(uptime: Duration) -> u64 {
    MOST_PER_SECOND.saturating_mul(uptime.as_secs().saturating_add(1))
}

/// Returns what is said of a session as far as it is possible `now`.
pub(super) fn session(entry: SessionEntry, now: Timestamp) -> SessionEntry {
    SessionEntry {
        listener: text(entry.listener),
        backend: entry.backend.map(text),
        // Clients choose the name, so it is kept as it is; `proxyctl` escapes it.
        user: entry.user.map(short),
        tls: entry.tls.map(|it| SessionTls {
            version: text(it.version),
            suite: text(it.suite),
        }),
        client_cert: entry.client_cert.and_then(|it| {
            Some(SessionCertificate {
                subject: text(it.subject),
                sha256: digest(&it.sha256)?,
            })
        }),
        started_at: entry.started_at.min(now),
        ..entry
    }
}

/// Returns what is said of a certificate that is revoked and whose sessions are open; `None` of what is none.
pub(super) fn revoked(it: RevokedCertificate) -> Option<RevokedCertificate> {
    Some(RevokedCertificate {
        subject: text(it.subject),
        sha256: digest(&it.sha256)?,
        sessions: it.sessions,
    })
}

/// Returns a digest that is one. It stands in commands that operators copy into a shell, or have completed.
fn digest(text: &str) -> Option<String> {
    let digest: Fingerprint = text.parse().ok()?;
    Some(digest.to_string())
}

fn certificate(facts: CertificateFacts) -> CertificateFacts {
    CertificateFacts {
        subject: text(facts.subject),
        issuer: text(facts.issuer),
        serial: text(facts.serial),
        sha256: text(facts.sha256),
        not_before: facts.not_before,
        not_after: facts.not_after,
        dns_names: facts
            .dns_names
            .into_iter()
            .take(MOST_NAMES)
            .map(text)
            .collect(),
        key_type: text(facts.key_type),
    }
}

/// Returns a text of bounded length.
fn short(text: String) -> String {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    text.chars().take(LONGEST_TEXT).collect()
}

/// Returns a text of a worker as people may be shown it: of bounded length, on one line, and without what
/// terminals obey.
pub(in crate::supervisor) fn text(text: String) -> String {
    if text.len() <= LONGEST_TEXT && !text.contains(char::is_control) {
        return text;
    }
    let shown = text.chars().take(LONGEST_TEXT);
    shown
        .map(|it| if it.is_control() { '\u{fffd}' } else { it })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{facts::SessionId, tls::testing};

    const UPTIME: Duration = Duration::from_secs(9);

    fn known() -> Known {
        Known::new(&[listener()])
    }

    fn listener() -> Listener {
        Listener {
            name: "main".to_owned(),
            ..testing::listener(&[])
        }
    }

    fn address() -> String {
        listener().backends.at(0).to_string()
    }

    fn entry() -> SessionEntry {
        let id = SessionId {
            origin: 1,
            number: 1,
        };
        SessionEntry::sample(id, now())
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    #[test]
    fn what_is_not_configured_is_not_taken() {
        assert!(known().has("main") && !known().has("other"));
        let of = |listener, address: &str| {
            let status = BackendStatus::unknown(address.to_owned());
            known().backend(listener, status, (now(), UPTIME))
        };
        assert!(of("main", &address()).is_some());
        assert!(of("other", &address()).is_none());
        assert!(of("main", "evil:1").is_none());
        assert!(!Known::new(&[]).has("main"));
    }

    #[test]
    fn no_worker_has_counted_more_than_it_had_time_for() {
        let counts = ConnectionCounts {
            open: u64::MAX,
            total: u64::MAX,
            failed_by_reason: FailureCounts::new(|_| u64::MAX),
            ended: EndCounts::new(|_| u64::MAX),
            bytes_up: u64::MAX,
            bytes_down: 5 * MOST_PER_SECOND,
            ..ConnectionCounts::default()
        };
        let taken = possible(&counts, UPTIME);
        assert_eq!(taken.open, 10 * MOST_PER_SECOND);
        let reasons = taken.ended.iter().map(|(_, count)| count);
        assert_eq!(reasons.max(), Some(10 * MOST_PER_SECOND));
        assert_eq!(taken.bytes_up, 10 * MOST_PER_SECOND * MOST_BYTES);
        assert_eq!(taken.bytes_down, 5 * MOST_PER_SECOND);
        assert_eq!(denied(u64::MAX, UPTIME), 10 * MOST_PER_SECOND);
        assert_eq!(denied(3, UPTIME), 3);
        let mut sum = ConnectionCounts {
            total: u64::MAX,
            ..taken
        };
        sum.add(taken);
        assert_eq!(sum.total, u64::MAX);
    }

    #[test]
    fn a_session_is_shown_with_texts_and_times_that_are_possible() {
        let long = "x".repeat(2 * LONGEST_TEXT);
        let entry = SessionEntry {
            backend: Some("evil\x1b[2J\n".to_owned()),
            user: Some(long.clone()),
            tls: Some(SessionTls {
                version: long.clone(),
                suite: long,
            }),
            client_cert: Some(SessionCertificate {
                subject: "\u{9b}".to_owned(),
                sha256: "ab".repeat(32),
            }),
            started_at: Timestamp::MAX,
            idle_ms: u64::MAX,
            ..entry()
        };
        let taken = session(entry, now());
        assert_eq!(taken.started_at, now());
        assert_eq!(taken.backend.as_deref(), Some("evil\u{fffd}[2J\u{fffd}"));
        let (tls, certificate) = (taken.tls.unwrap(), taken.client_cert.unwrap());
        assert_eq!(certificate.subject, "\u{fffd}");
        for text in [tls.version, tls.suite, taken.user.unwrap()] {
            assert_eq!(text.len(), LONGEST_TEXT);
        }
    }

    #[test]
    fn a_report_from_the_future_does_not_outlast_those_of_other_workers() {
        let status = BackendStatus {
            checked_at: Some(Timestamp::MAX),
            ..BackendStatus::unknown(address())
        };
        let taken = known().backend("main", status, (now(), UPTIME)).unwrap();
        assert_eq!(taken.checked_at, Some(now()));
    }

    #[test]
    fn a_digest_that_operators_will_copy_into_a_command_is_nothing_else() {
        let shown = |sha256: &str| {
            let entry = SessionEntry {
                client_cert: Some(SessionCertificate {
                    subject: "CN=app".to_owned(),
                    sha256: sha256.to_owned(),
                }),
                ..entry()
            };
            Some(session(entry, now()).client_cert?.sha256)
        };
        let digest = "ab".repeat(32);
        assert_eq!(shown(&digest), Some(digest));
        let found = |sha256: &str| {
            let certificate = RevokedCertificate {
                subject: "CN=app".to_owned(),
                sha256: sha256.to_owned(),
                sessions: 1,
            };
            Some(revoked(certificate)?.sha256)
        };
        assert_eq!(found(&"ab".repeat(32)), Some("ab".repeat(32)));
        for hostile in ["$(reboot)", "", "ab; reboot", &"zz".repeat(32)] {
            assert_eq!((shown(hostile), found(hostile)), (None, None), "{hostile}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_short_and_on_one_line(given in ".{0,3000}") {
            let taken = text(given.clone());
            prop_assert!(taken.chars().count() <= LONGEST_TEXT.max(given.len().min(LONGEST_TEXT)));
            prop_assert!(!taken.contains(char::is_control));
        }
    }
}
