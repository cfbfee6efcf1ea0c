//! How the disk compares with what is served, and since when. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::verdict::Verdict;
use crate::control::DiskState;

/// The last known state of the disk, compared with what is served, and when it began.
#[derive(Debug)]
pub(super) struct DiskHistory {
    state: DiskState,
    /// Whether TLS files alone decide the state.
    by_files: bool,
    began: Duration,
    at: Timestamp,
}

/// The state of a disk that was just loaded.
impl Default for DiskHistory {
    fn default() -> Self {
        Self {
            state: DiskState::Same,
            by_files: true,
            began: Duration::ZERO,
            at: Timestamp::now(),
        }
    }
}

impl DiskHistory {
    /// Notes a verdict; returns whether the state of the disk has changed.
    pub(super) fn seen(&mut self, verdict: &Verdict, now: Duration) -> bool {
        self.by_files = verdict.by_files;
        self.turn(verdict.state, now)
    }

    /// Notes a load of the TLS files, which did not read the configuration on disk.
    pub(super) fn loaded(&mut self, good: bool, now: Duration) {
        if self.by_files {
            let state = if good {
                DiskState::Same
            } else {
                DiskState::Invalid
            };
            self.turn(state, now);
        }
    }

    fn turn(&mut self, state: DiskState, now: Duration) -> bool {
        let is_new = state != self.state;
        if is_new {
            self.state = state;
            self.began = now;
            self.at = Timestamp::now();
        }
        is_new
    }

    /// Returns when the disk was first seen in this state.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether the disk may differ from what is served only because files are still being written.
    pub(super) fn is_settling(&self, now: Duration, grace: Duration) -> bool {
        self.by_files && self.state != DiskState::Same && now < self.began + grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn verdict(state: DiskState, by_files: bool) -> Verdict {
        Verdict {
            state,
            reason: None,
            unseen: None,
            not_tried: vec![],
            restart_safe: true,
            by_files,
            replaced: false,
        }
    }

    #[test]
    fn what_was_just_written_settles_until_the_grace_is_over() {
        let mut disk = DiskHistory::default();
        assert!(!disk.is_settling(at(0), GRACE));
        let torn = verdict(DiskState::Invalid, true);
        assert!(disk.seen(&torn, at(100)));
        assert!(!disk.seen(&torn, at(105)));
        assert!(disk.is_settling(at(109), GRACE));
        assert!(!disk.is_settling(at(110), GRACE));
    }

    #[test]
    fn a_load_without_a_look_counts_too() {
        let mut disk = DiskHistory::default();
        disk.seen(&verdict(DiskState::Changed, true), at(10));
        disk.loaded(true, at(11));
        disk.seen(&verdict(DiskState::Changed, true), at(100));
        assert!(disk.is_settling(at(101), GRACE));
        disk.loaded(false, at(102));
        assert!(disk.is_settling(at(111), GRACE));
    }

    #[test]
    fn a_configuration_does_not_settle_by_itself() {
        let mut disk = DiskHistory::default();
        disk.seen(&verdict(DiskState::Changed, false), at(10));
        assert!(!disk.is_settling(at(10), GRACE));
        let first = disk.at();
        disk.loaded(true, at(11));
        assert!(!disk.seen(&verdict(DiskState::Changed, false), at(12)));
        assert_eq!(disk.at(), first);
    }
}
