//! Why sessions end, as the session log, status and metrics name it.

use super::{
    failure::{FAILURE_REASONS, FailureReason},
    tally::{Reason, Tally},
};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Client and backend closed at the same moment.
    Closed,
    /// The client closed, and then the backend did.
    ClientClosed,
    /// The backend closed, and then the client did.
    BackendClosed,
    /// Nothing moved for the idle timeout of the listener.
    IdleTimeout,
    /// One side had closed, and the other neither closed nor said anything for too long after that.
    HalfClosed,
    /// The client's connection failed: it was reset, or the network gave up.
    ClientLost,
    /// The client acknowledged nothing for the dead peer timeout of the listener, while something waited
    /// for that.
    ClientDead,
    /// TLS with the client failed after its handshake: a bad record, an alert.
    ClientTls,
    /// The backend's connection failed.
    BackendLost,
    /// The backend acknowledged nothing for that long, in the same way.
    BackendDead,
    /// TLS with the backend failed after its handshake.
    BackendTls,
    /// A TLS key of either connection, which TLS 1.2 cannot renew, had protected as much as it may.
    KeyUsedUp,
    /// The daemon ended, and the session was still open when the drain timeout was over.
    Drained,
    /// Its worker ended, and no other worker could go on with it.
    Lost,
    /// An operator ended it with `proxyctl end`.
    EndedByOperator,
    /// The client logged in again within its session, and that came to nothing.
    ChangeUserFailed,
    /// It was a request to cancel a query, which was passed on.
    Cancel,
    /// The database refused the login.
    LoginDenied,
    /// The client left when it was asked to prove who it is, as `psql` does to ask for a password.
    LoginLeft,
    /// The client left without having said anything, as health checks do.
    Silent,
    /// The listener had as many sessions as it may.
    Full,
    /// The client had as many sessions as the listener lets one have.
    ClientFull,
    /// No backend could be reached, or the one that was failed before the client was let in.
    BackendFailed,
    /// The client was not let in.
    Refused(FailureReason),
}

/// How many reasons there are beside those for which clients are not let in.
const OWN: usize = 23;

/// How many reasons there are.
pub const END_REASONS: usize = OWN + FAILURE_REASONS;

/// How often sessions ended, by reason.
pub type EndCounts = Tally<EndReason, END_REASONS>;

impl EndReason {
    /// Those of [`Reason::ALL`] that come first.
    const OWN: [Self; OWN] = [
        Self::Closed,
        Self::ClientClosed,
        Self::BackendClosed,
        Self::IdleTimeout,
        Self::HalfClosed,
        Self::ClientLost,
        Self::ClientDead,
        Self::ClientTls,
        Self::BackendLost,
        Self::BackendDead,
        Self::BackendTls,
        Self::KeyUsedUp,
        Self::Drained,
        Self::Lost,
        Self::EndedByOperator,
        Self::ChangeUserFailed,
        Self::Cancel,
        Self::LoginDenied,
        Self::LoginLeft,
        Self::Silent,
        Self::Full,
        Self::ClientFull,
        Self::BackendFailed,
    ];

    /// Returns whether the session came to nothing, though its client wanted one.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Full | Self::ClientFull | Self::BackendFailed | Self::Refused(_)
        )
    }

    /// Returns whether the client had been let in, so that a client that cannot log in does not cause it.
    #[must_use]
    pub fn is_established(self) -> bool {
        !self.is_failure()
            && !matches!(
                self,
                Self::Cancel | Self::LoginDenied | Self::LoginLeft | Self::Silent
            )
    }

    /// Returns whether sessions end so while nothing is wrong; other ends are worth an operator's look.
    #[must_use]
    pub fn is_ordinary(self) -> bool {
        matches!(
            self,
            Self::Closed
                | Self::ClientClosed
                | Self::BackendClosed
                | Self::HalfClosed
                | Self::ClientLost
                | Self::Cancel
                | Self::LoginDenied
                | Self::LoginLeft
                | Self::Silent
        )
    }
}

impl Reason<END_REASONS> for EndReason {
    const ALL: [Self; END_REASONS] = {
        let mut all = [Self::Closed; END_REASONS];
        let mut index = 0;
        while index < END_REASONS {
            all[index] = if index < OWN {
                Self::OWN[index]
            } else {
                Self::Refused(FailureReason::ALL[index - OWN])
            };
            index += 1;
        }
        all
    };

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClientClosed => "client_closed",
            Self::BackendClosed => "backend_closed",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfClosed => "half_closed",
            Self::ClientLost => "client_lost",
            Self::ClientDead => "client_dead",
            Self::ClientTls => "client_tls",
            Self::BackendLost => "backend_lost",
            Self::BackendDead => "backend_dead",
            Self::BackendTls => "backend_tls",
            Self::KeyUsedUp => "key_used_up",
            Self::Drained => "drained",
            Self::Lost => "lost",
            Self::EndedByOperator => "ended_by_operator",
            Self::ChangeUserFailed => "change_user_failed",
            Self::Cancel => "cancel",
            Self::LoginDenied => "login_denied",
            Self::LoginLeft => "login_left",
            Self::Silent => "silent",
            Self::Full => "full",
            Self::ClientFull => "client_full",
            Self::BackendFailed => "backend_failed",
            Self::Refused(reason) => reason.name(),
        }
    }
}
