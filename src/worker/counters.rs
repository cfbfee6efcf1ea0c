//! What becomes of a listener's sessions, counted and told.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::control::{ConnectionCounts, FailureCounts, FailureReason};

/// Over how long lines of a kind are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// The most lines of a kind in that time, for each listener: a flood of clients that fail must
/// not become a flood of lines, nor hide those that fail for another reason.
const LINES: u32 = 20;

/// Sessions of a listener, as this worker counts them.
#[derive(Debug, Default)]
pub struct Counters {
    open: AtomicU64,
    total: AtomicU64,
    failed: [AtomicU64; FailureReason::ALL.len()],
    refused: AtomicU64,
    failed_backends: AtomicU64,
    told: Mutex<[Pace; FailureReason::ALL.len() + 1]>,
}

impl Counters {
    /// Counts a session that begins; it ends when what is returned is dropped.
    pub fn open(self: &Arc<Self>) -> OpenSession {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenSession(Arc::clone(self))
    }

    /// Counts a session that ended before its client was let in.
    pub fn fail_handshake(&self, reason: FailureReason) {
        self.failed[position(reason)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client that was turned away because the listener was full.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session whose backend could not be reached.
    pub fn fail_backend(&self) {
        self.failed_backends.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether a failure may be logged now, and if so how many like it were not since the
    /// last; `None` stands for failures that are no client's.
    pub fn may_tell(&self, reason: Option<FailureReason>) -> Option<u64> {
        let kind = reason.map_or(FailureReason::ALL.len(), position);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told[kind].step(Instant::now())
    }

    /// Returns the counts.
    pub(super) fn counts(&self) -> ConnectionCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let failed = FailureCounts::new(|reason| read(&self.failed[position(reason)]));
        ConnectionCounts {
            open: read(&self.open),
            total: read(&self.total),
            failed_handshakes: failed.sum(),
            failed_by_reason: failed,
            refused: read(&self.refused),
            failed_backends: read(&self.failed_backends),
        }
    }
}

/// Where a reason stands in [`FailureReason::ALL`].
fn position(reason: FailureReason) -> usize {
    reason as usize
}

/// A session that counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenSession(Arc<Counters>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many lines of a kind were written lately.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Pace {
    /// Returns whether one more may be written, and how many were left out before it.
    fn step(&mut self, now: Instant) -> Option<u64> {
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= WINDOW)
        {
            self.since = Some(now);
            self.written = 0;
        }
        if self.written == LINES {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_at_its_position() {
        for (index, reason) in FailureReason::ALL.into_iter().enumerate() {
            assert_eq!(position(reason), index);
        }
    }

    #[test]
    fn a_flood_is_cut_and_told_of_later() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for _ in 0..LINES {
            assert_eq!(pace.step(start), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(pace.step(start + WINDOW / 2), None);
        }
        assert_eq!(pace.step(start + WINDOW), Some(5));
        assert_eq!(pace.step(start + WINDOW), Some(0));
    }

    #[test]
    fn reasons_do_not_hide_each_other() {
        let counters = Counters::default();
        while counters.may_tell(Some(FailureReason::NotTls)).is_some() {}
        assert_eq!(counters.may_tell(Some(FailureReason::Revoked)), Some(0));
        assert_eq!(counters.may_tell(None), Some(0));
    }

    #[test]
    fn failures_are_counted_by_reason_and_together() {
        let counters = Counters::default();
        counters.fail_handshake(FailureReason::Revoked);
        counters.fail_handshake(FailureReason::Revoked);
        counters.fail_handshake(FailureReason::Timeout);
        let counts = counters.counts();
        assert_eq!(counts.failed_handshakes, 3);
        let revoked = (FailureReason::Revoked, 2);
        assert!(counts.failed_by_reason.iter().any(|it| it == revoked));
    }
}
