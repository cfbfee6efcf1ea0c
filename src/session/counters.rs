//! Counts a listener's sessions and their ends, and limits the log lines about them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    facts::{
        ConnectionCounts, END_REASONS, EndCounts, EndReason, FailureCounts, Histogram, Reason as _,
        histogram::{self, BUCKETS, LASTING, Ladder, OPENING},
    },
    protocol::watch::Side,
};

/// The time over which lines of a kind are limited.
const WINDOW: Duration = Duration::from_secs(10);

/// The most lines of a kind in that time, for each listener: many failing clients must neither flood the
/// log nor hide clients that fail for another reason.
const LINES: u32 = 20;

/// Counts bytes by direction. Only one thread counts, so that nothing is locked; others may read.
#[derive(Debug, Default)]
pub struct Bytes {
    up: AtomicU64,
    down: AtomicU64,
}

impl Bytes {
    /// Begins with bytes that were passed on before: to the backend, and to the client.
    pub fn new(up: u64, down: u64) -> Self {
        Self {
            up: AtomicU64::new(up),
            down: AtomicU64::new(down),
        }
    }

    /// Counts bytes of one side that were passed on to the other.
    pub fn add(&self, from: Side, bytes: usize) {
        let count = match from {
            Side::Client => &self.up,
            Side::Server => &self.down,
        };
        let before = count.load(Ordering::Relaxed);
        count.store(before.wrapping_add(bytes as u64), Ordering::Relaxed);
    }

    /// Returns how many bytes were passed on to backends and to clients.
    pub fn get(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.up), read(&self.down))
    }
}

/// Counts durations by how long they were.
#[derive(Debug)]
pub struct Times {
    ladder: &'static Ladder,
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Times {
    fn new(ladder: &'static Ladder) -> Self {
        Self {
            ladder,
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_us: AtomicU64::new(0),
        }
    }

    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        let bucket = histogram::bucket(self.ladder, duration);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let took = histogram::microseconds(duration);
        self.sum_us.fetch_add(took, Ordering::Relaxed);
    }

    fn get(&self) -> Histogram {
        Histogram {
            buckets: self.buckets.each_ref().map(|it| it.load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// This worker's counts of a listener's sessions.
#[derive(Debug)]
pub struct Counters {
    /// The listener's name.
    pub listener: String,
    open: AtomicU64,
    total: AtomicU64,
    ended: [AtomicU64; END_REASONS],
    /// The bytes of all sessions that were passed on here.
    pub bytes: Bytes,
    /// How long handshakes with clients took that succeeded.
    pub handshake_times: Times,
    session_times: Times,
    told: Mutex<[Pace; END_REASONS]>,
    tells_all: AtomicBool,
}

impl Counters {
    /// Begins with no session.
    pub fn new(listener: String) -> Self {
        Self {
            listener,
            open: AtomicU64::new(0),
            total: AtomicU64::new(0),
            ended: [const { AtomicU64::new(0) }; END_REASONS],
            bytes: Bytes::default(),
            handshake_times: Times::new(&OPENING),
            session_times: Times::new(&LASTING),
            told: Mutex::new([Pace::default(); END_REASONS]),
            tells_all: AtomicBool::new(true),
        }
    }

    /// Sets whether the log has a line for every session, or only for those with an extraordinary end.
    pub fn tell_all(&self, all: bool) {
        self.tells_all.store(all, Ordering::Relaxed);
    }

    /// Counts a session that begins; it counts as open until the returned guard is dropped.
    pub fn open(self: &Arc<Self>) -> OpenSession {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenSession(Arc::clone(self))
    }

    /// Counts a session that another worker has counted among all before; it counts as open here until the returned
    /// guard is dropped.
    pub fn take_over(self: &Arc<Self>) -> OpenSession {
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenSession(Arc::clone(self))
    }

    /// Counts a session that has ended; `lasted` is for how long there was one, if it was established.
    pub fn end(&self, reason: EndReason, lasted: Option<Duration>) {
        self.ended[reason.position()].fetch_add(1, Ordering::Relaxed);
        if let Some(lasted) = lasted {
            self.session_times.observe(lasted);
        }
    }

    /// Returns `None` if the end of a session must not be logged now; otherwise how many ends for the
    /// same reason were left out of the log since the last one in it.
    ///
    /// Lines are limited for ends that a client can cause without having been let in.
    pub fn may_tell(&self, reason: EndReason) -> Option<u64> {
        let all = self.tells_all.load(Ordering::Relaxed);
        if !all && reason.is_ordinary() {
            return None;
        }
        if all && reason.is_established() {
            return Some(0);
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told[reason.position()].step(Instant::now())
    }

    /// Returns the counts.
    pub fn counts(&self) -> ConnectionCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended = EndCounts::new(|reason| read(&self.ended[reason.position()]));
        let failed = FailureCounts::new(|reason| ended.of(EndReason::Refused(reason)));
        let (bytes_up, bytes_down) = self.bytes.get();
        ConnectionCounts {
            open: read(&self.open),
            total: read(&self.total),
            failed_handshakes: failed.sum(),
            failed_by_reason: failed,
            refused: ended.of(EndReason::Full),
            failed_backends: ended.of(EndReason::BackendFailed),
            ended,
            bytes_up,
            bytes_down,
            handshake_times: self.handshake_times.get(),
            session_times: self.session_times.get(),
        }
    }
}

/// A guard: the session counts as open until this is dropped.
#[derive(Debug)]
pub struct OpenSession(Arc<Counters>);

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many lines of a kind were written and left out lately.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Pace {
    /// Returns `None` if no more lines may be written now; otherwise how many were left out since the
    /// last one.
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
    use crate::facts::FailureReason;

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

    const NOT_TLS: EndReason = EndReason::Refused(FailureReason::NotTls);
    const REVOKED: EndReason = EndReason::Refused(FailureReason::Revoked);

    #[test]
    fn reasons_do_not_hide_each_other() {
        let counters = Counters::new(String::new());
        while counters.may_tell(NOT_TLS).is_some() {}
        assert_eq!(counters.may_tell(REVOKED), Some(0));
        assert_eq!(counters.may_tell(EndReason::Full), Some(0));
    }

    #[test]
    fn every_session_that_was_let_in_is_told_unless_that_is_not_wanted() {
        let counters = Counters::new(String::new());
        let tells = |reason| (0..=LINES).all(|_| counters.may_tell(reason) == Some(0));
        assert!(tells(EndReason::ClientClosed));
        assert!(tells(EndReason::BackendTls));
        counters.tell_all(false);
        assert_eq!(counters.may_tell(EndReason::ClientClosed), None);
        assert_eq!(counters.may_tell(EndReason::BackendTls), Some(0));
        assert_eq!(counters.may_tell(REVOKED), Some(0));
        assert!(!tells(EndReason::BackendTls), "these lines are limited too");
    }

    #[test]
    fn ends_are_counted_by_reason_and_together() {
        let counters = Counters::new(String::new());
        counters.end(REVOKED, None);
        counters.end(REVOKED, None);
        counters.end(EndReason::Refused(FailureReason::Timeout), None);
        counters.end(EndReason::ClientClosed, Some(Duration::from_secs(7)));
        counters.end(EndReason::Full, None);
        counters.end(EndReason::BackendFailed, None);
        let counts = counters.counts();
        assert_eq!(counts.failed_handshakes, 3);
        assert_eq!(counts.failed_by_reason.of(FailureReason::Revoked), 2);
        assert_eq!((counts.refused, counts.failed_backends), (1, 1));
        assert_eq!(counts.ended.of(EndReason::ClientClosed), 1);
        assert_eq!(counts.ended.sum(), 6);
        let times = counts.session_times;
        assert_eq!((times.count(), times.sum_us), (1, 7_000_000));
    }
}
