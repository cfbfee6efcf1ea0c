//! How the disk compares with what is served.

use crate::control::DiskState;

/// How the disk compares with what is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) struct Verdict {
    /// The state, by a comparison of contents.
    pub state: DiskState,
    /// Why the disk is invalid.
    pub reason: Option<String>,
    /// What was not checked, and why.
    pub unseen: Option<String>,
    /// The steps of a start that were not tried, and why.
    pub not_tried: Vec<String>,
    /// Whether a cold start with what is on disk would come up and serve everything.
    pub restart_safe: bool,
    /// Whether TLS files alone decide the state: the configuration on disk is the one in force, and
    /// nothing else would keep a daemon from starting.
    pub by_files: bool,
    /// Whether another program lies where the one that runs was started from.
    pub replaced: bool,
}

impl Verdict {
    /// Returns the verdict on a disk that does not answer.
    pub(in crate::supervisor) fn disk_hangs() -> Self {
        Self {
            state: DiskState::Invalid,
            reason: Some("the disk does not answer".to_owned()),
            unseen: None,
            not_tried: Vec::new(),
            restart_safe: false,
            by_files: false,
            replaced: false,
        }
    }

    /// Returns whether the disk did not answer.
    pub(in crate::supervisor) fn is_stuck(&self) -> bool {
        *self == Self::disk_hangs()
    }
}
