//! What is known of a backend.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CertificateFacts, Histogram, histogram::OPENING};

/// What is known of a backend, by the sessions that needed it and the probes of `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Where it is.
    pub address: String,
    /// Whether the newest attempt to connect succeeded; before the first it is taken for good.
    pub healthy: bool,
    /// Since when that is so, as far as the worker knows that made the newest attempt; `None` before
    /// the first.
    pub since: Option<Timestamp>,
    /// When the newest attempt ended.
    pub checked_at: Option<Timestamp>,
    /// Why an attempt failed last.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// Attempts that succeeded.
    pub connected: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// How long attempts took that succeeded, by [`OPENING`]: from the lookup of its name until it answered.
    #[serde(default)]
    pub connect_times: Histogram,
    /// The certificate that it showed last; `None` if its leg has no TLS, or before it was used.
    pub certificate: Option<CertificateFacts>,
    /// When it showed that.
    pub certificate_seen_at: Option<Timestamp>,
}

impl BackendStatus {
    /// Returns the status of a backend that no session has needed yet.
    pub fn unknown(address: String) -> Self {
        Self {
            address,
            healthy: true,
            since: None,
            checked_at: None,
            last_error: None,
            last_error_at: None,
            connected: 0,
            failed: 0,
            connect_times: Histogram::default(),
            certificate: None,
            certificate_seen_at: None,
        }
    }

    /// Notes an attempt that succeeded and `took` so long.
    pub fn succeed(&mut self, now: Timestamp, took: Duration) {
        self.connected += 1;
        self.connect_times.observe(&OPENING, took);
        self.found(true, now);
    }

    /// Notes an attempt that failed.
    pub fn fail(&mut self, now: Timestamp, error: String) {
        self.failed += 1;
        self.last_error = Some(error);
        self.last_error_at = Some(now);
        self.found(false, now);
    }

    /// Notes the certificate of an attempt that succeeded.
    pub fn showed(&mut self, certificate: Option<CertificateFacts>) {
        self.certificate_seen_at = certificate.as_ref().and(self.checked_at);
        self.certificate = certificate;
    }

    fn found(&mut self, healthy: bool, now: Timestamp) {
        if self.since.is_none() || self.healthy != healthy {
            self.since = Some(now);
        }
        self.healthy = healthy;
        self.checked_at = Some(now);
    }

    /// Adds what another worker knows of the same backend: who looked last is right.
    pub fn add(&mut self, other: &Self) {
        self.connected = self.connected.saturating_add(other.connected);
        self.failed = self.failed.saturating_add(other.failed);
        self.connect_times.add(other.connect_times);
        if other.checked_at > self.checked_at {
            self.checked_at = other.checked_at;
            self.healthy = other.healthy;
            self.since = other.since;
        }
        if other.certificate_seen_at > self.certificate_seen_at {
            self.certificate_seen_at = other.certificate_seen_at;
            self.certificate.clone_from(&other.certificate);
        }
        if other.last_error_at > self.last_error_at {
            self.last_error_at = other.last_error_at;
            self.last_error.clone_from(&other.last_error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_state_lasts_until_the_other_is_found() {
        let mut status = BackendStatus::unknown("db:1".to_owned());
        status.succeed(at(1), Duration::ZERO);
        status.succeed(at(2), Duration::ZERO);
        assert_eq!((status.healthy, status.since), (true, Some(at(1))));
        status.fail(at(3), "refused".to_owned());
        status.fail(at(4), "no answer".to_owned());
        assert_eq!((status.healthy, status.since), (false, Some(at(3))));
        assert_eq!(status.last_error.as_deref(), Some("no answer"));
        assert_eq!((status.connected, status.failed), (2, 2));
    }

    #[test]
    fn of_several_workers_the_last_to_look_is_right() {
        let [mut one, mut other] = ["db:1"; 2].map(|it| BackendStatus::unknown(it.to_owned()));
        one.fail(at(5), "refused".to_owned());
        other.succeed(at(6), Duration::ZERO);
        let mut sums = [(one.clone(), &other), (other.clone(), &one)];
        for (sum, added) in &mut sums {
            sum.add(added);
            assert_eq!((sum.healthy, sum.since), (true, Some(at(6))));
            assert_eq!(sum.last_error.as_deref(), Some("refused"));
            assert_eq!((sum.connected, sum.failed), (1, 1));
            assert_eq!(sum.connect_times.count(), 1);
        }
        assert_eq!(sums[0].0, sums[1].0);
    }

    #[test]
    fn of_several_workers_the_last_to_see_a_certificate_is_right() {
        let [mut one, mut other] = ["db:1"; 2].map(|it| BackendStatus::unknown(it.to_owned()));
        let never = one.clone();
        for (status, second, sha256) in [(&mut one, 1, "old"), (&mut other, 2, "new")] {
            status.succeed(at(second), Duration::ZERO);
            status.showed(Some(facts(sha256)));
        }
        one.fail(at(3), "refused".to_owned());
        for order in [[&one, &other, &never], [&never, &other, &one]] {
            let mut sum = order[0].clone();
            sum.add(order[1]);
            sum.add(order[2]);
            let shown = sum.certificate.map(|it| it.sha256);
            assert_eq!(shown.as_deref(), Some("new"));
            assert!(!sum.healthy);
        }
    }

    fn facts(sha256: &str) -> CertificateFacts {
        CertificateFacts {
            subject: String::new(),
            issuer: String::new(),
            serial: String::new(),
            sha256: sha256.to_owned(),
            not_before: at(0).into(),
            not_after: at(9).into(),
            dns_names: vec![],
            key_type: String::new(),
        }
    }
}
