//! How the disk stands to what is served.

use crate::control::DiskState;

/// How the disk stands to what is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supervisor) struct Verdict {
    /// By content.
    pub state: DiskState,
    /// Why it is invalid.
    pub reason: Option<String>,
    /// What was not looked at, and why.
    pub unseen: Option<String>,
    /// Whether a cold start with it would come up and serve everything.
    pub restart_safe: bool,
    /// Whether TLS files alone make it so: the configuration on disk is the one in force, and
    /// nothing else is in the way.
    pub by_files: bool,
}

impl Verdict {
    /// Returns the verdict on a disk that does not answer.
    pub(in crate::supervisor) fn disk_hangs() -> Self {
        Self {
            state: DiskState::Invalid,
            reason: Some("the disk does not answer".to_owned()),
            unseen: None,
            restart_safe: false,
            by_files: false,
        }
    }

    /// Returns whether that is it.
    pub(in crate::supervisor) fn is_stuck(&self) -> bool {
        *self == Self::disk_hangs()
    }
}
