//! What became of sessions whose worker ended, as status, metrics and the link tell it.

use serde::{Deserialize, Serialize};

use super::tally::{Reason, Tally};

/// Why an established session ended with its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReason {
    /// It was not kept: it had not lasted for `keep_after`, keeping is off, or it could not be kept
    /// ([`UnkeptReason`]).
    NotKept,
    /// The worker that was to take it over had no descriptors left for its two sockets, or the supervisor did
    /// not have them.
    Descriptors,
    /// The kernel's counts of its sockets do not fit its record, or the record names other sockets.
    Mismatch,
    /// Its record could not be read.
    Damaged,
    /// Its worker died while it wrote to a Unix socket, and no process can say whether the bytes went.
    UnixWrite,
    /// Workers died again and again while they worked on it.
    Suspect,
    /// The worker that was to take it over had no room for its record.
    NoRoom,
    /// No worker was left to take it over, because the daemon was ending.
    Ending,
}

impl LossReason {
    /// Returns the reason as a clause, for logs and warnings.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotKept => "the session was not kept",
            Self::Descriptors => "no descriptors were left for the sockets",
            Self::Mismatch => "the record does not fit the sockets",
            Self::Damaged => "the record could not be read",
            Self::UnixWrite => "the worker died while it wrote to a Unix socket",
            Self::Suspect => "workers died while they worked on the session",
            Self::NoRoom => "the next worker had no room for the record",
            Self::Ending => "the daemon was ending",
        }
    }
}

/// How many reasons there are for which sessions are lost.
pub const LOSS_REASONS: usize = 8;

/// How many sessions were lost, by reason.
pub type LossCounts = Tally<LossReason, LOSS_REASONS>;

impl Reason<LOSS_REASONS> for LossReason {
    const ALL: [Self; LOSS_REASONS] = [
        Self::NotKept,
        Self::Descriptors,
        Self::Mismatch,
        Self::Damaged,
        Self::UnixWrite,
        Self::Suspect,
        Self::NoRoom,
        Self::Ending,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::NotKept => "not_kept",
            Self::Descriptors => "descriptors",
            Self::Mismatch => "mismatch",
            Self::Damaged => "damaged",
            Self::UnixWrite => "unix_write",
            Self::Suspect => "suspect",
            Self::NoRoom => "no_room",
            Self::Ending => "ending",
        }
    }
}

/// Why an established session that has lasted for `keep_after` is not kept, so that it ends with its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnkeptReason {
    /// The worker or the supervisor had no descriptors left for its sockets.
    Descriptors,
    /// The kernel's counts of its sockets differ from its worker's.
    Counts,
    /// One of its sockets is of a kind whose bytes the kernel does not count, such as MPTCP.
    Socket,
    /// More bytes wait in it than a record has room for, or its certificates and names are too long.
    TooLong,
    /// The worker's table has no room for it.
    NoRoom,
}

/// How many reasons there are for which sessions are not kept.
pub const UNKEPT_REASONS: usize = 5;

/// How many sessions were not kept, by reason.
pub type UnkeptCounts = Tally<UnkeptReason, UNKEPT_REASONS>;

impl Reason<UNKEPT_REASONS> for UnkeptReason {
    const ALL: [Self; UNKEPT_REASONS] = [
        Self::Descriptors,
        Self::Counts,
        Self::Socket,
        Self::TooLong,
        Self::NoRoom,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Descriptors => "descriptors",
            Self::Counts => "counts",
            Self::Socket => "socket",
            Self::TooLong => "too_long",
            Self::NoRoom => "no_room",
        }
    }
}

/// What became of sessions whose worker ended, since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepingCounts {
    /// Sessions that outlive their worker, now.
    pub kept: u64,
    /// Times that another worker went on with a session: a session counts once for each takeover.
    pub taken_over: u64,
    /// Established sessions that ended with their worker.
    pub lost: LossCounts,
    /// Established sessions that could not be kept.
    pub unkept: UnkeptCounts,
}

/// How a worker ended whose sessions are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// By a fault of the program: a signal of its own, an exit, or silence. The session that it worked on is
    /// suspect at once.
    Fault,
    /// By SIGKILL from outside, which says little about the session that it worked on.
    Killed,
    /// By its own exit once it had handed over its sessions, which says nothing against any of them.
    HandedOver,
}
