//! What `proxyctl` and `proxyd` say to each other.
//!
//! Plain data: append variants only, never reorder, and raise [`wire::PROTOCOL`] when a struct
//! changes, because bincode knows fields and variants by their position. The same [`Status`] is
//! what `proxyctl status --json` prints, so its names are a promise to scripts as well.

mod access;
mod call;
pub mod client;
pub mod cookie;
pub(crate) mod cookie_file;
pub mod fixed;
#[cfg(test)]
pub(crate) mod fixture;
pub mod fuzzing;
#[cfg(test)]
pub(crate) mod golden;
mod report;
pub mod server;
mod silent;
mod socket;
mod status;
pub mod verdict;
pub mod wire;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    report::{ReloadReport, VerifyReport},
    status::{
        DiskState, DiskStatus, ExitHookRun, ExitHookSource, ExitHookStatus, ExitKind, ExitStatus,
        IdentityStatus, KeepingState, KeepingStatus, ListenerStatus, LoadError, LogStatus,
        ProcessRole, ProcessStatus, ProgramStatus, RestartStatus, RollbackStatus, SandboxStatus,
        SessionsStatus, Status, SupervisorState, SupervisorStatus, TlsStatus, UpgradeResult,
        UpgradeStatus, UpgradesStatus, WatchState, WatchStatus, WorkerState, WorkerStatus,
    },
};
use crate::facts::{EndedSessions, Partial, Reads, Selection, SessionList, SessionsAtEnd};

/// What `proxyctl` asks of the daemon, one a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Reads the TLS files again and swaps.
    ReloadTls(Partial, Reads),
    /// The same, and the configuration file too.
    Reload(Partial),
    /// Asks what runs and what it serves.
    Status,
    /// Sets the exit-failure command.
    SetOnExitFailure {
        /// The program's absolute path and its arguments.
        command: Vec<String>,
        /// How long it may run.
        timeout: Duration,
    },
    /// Takes back what was set at run time; the configuration's command, if any, holds again.
    ClearOnExitFailure,
    /// Asks for the exit-failure command.
    ShowOnExitFailure,
    /// Loads what is on disk without serving it.
    Verify,
    /// Asks for the events so far, and those to come if `follow`.
    Events {
        /// Whether to go on answering as events happen.
        follow: bool,
    },
    /// Stops accepting, lets sessions end within the drain timeout, and ends the daemon.
    Drain,
    /// Ends the daemon and its sessions at once.
    Stop,
    /// Serves the TLS material of the generation before again, until a reload is asked for.
    TlsRollback,
    /// Asks for open sessions.
    Sessions {
        /// Which sessions.
        selection: Selection,
        /// The most sessions of the answer, which has the oldest; the daemon may have a lower limit.
        most: u64,
    },
    /// Ends sessions.
    EndSessions {
        /// Which sessions; never all.
        selection: Selection,
    },
    /// Ends the supervisor alone: its workers go on, and the next supervisor takes them over.
    Leave,
}

/// What the daemon answers.
///
/// One for each request, but for two. [`Request::Events`] is answered by an [`Response::Event`] for each event and a
/// [`Response::End`] behind the last that there will be. [`Request::Drain`] and [`Request::Stop`] are answered by
/// [`Response::Ending`], and by [`Response::Ended`] at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// The result of a reload.
    Reloaded(ReloadReport),
    /// What runs and what it serves.
    Status(Box<Status>),
    /// The exit-failure command now in force.
    OnExitFailure(ExitHookStatus),
    /// What a reload would do.
    Verified(VerifyReport),
    /// An event.
    Event(Event),
    /// There is nothing more to come.
    End,
    /// The daemon is ending; it says [`Self::Ended`] and closes this connection when it has ended.
    Ending {
        /// Sessions still open.
        connections: u64,
        /// How long they may go on.
        within: Duration,
    },
    /// The request was refused, or failed.
    Refused {
        /// Why, and what holds now, as a sentence.
        reason: String,
    },
    /// Open sessions.
    Sessions(SessionList),
    /// Sessions were ended.
    EndedSessions(EndedSessions),
    /// The supervisor ends alone; it closes this connection when it has ended.
    Leaving {
        /// Workers that go on.
        workers: u64,
        /// Their sessions.
        connections: u64,
        /// How long the exit-failure command that runs now may delay the end; zero if none runs.
        within: Duration,
        /// How long the workers accept new sessions without a supervisor (`orphan_timeout`).
        serves_for: Duration,
    },
    /// The daemon has ended.
    Ended(SessionsAtEnd),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up from 1 since the daemon started.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: EventKind,
    /// What happened, as a sentence.
    pub message: String,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The daemon began to serve.
    Started,
    /// Something in service, a certificate or a revocation list, ended.
    Expired,
    /// A load put a new generation in service.
    Reloaded,
    /// A load found nothing new.
    Unchanged,
    /// A load found something broken; the last good of it is still served.
    ReloadFailed,
    /// A worker failed.
    WorkerFailed,
    /// A worker began to serve.
    WorkerServing,
    /// The exit-failure command ended.
    ExitHook,
    /// The exit-failure command was set or cleared.
    ExitHookSet,
    /// The daemon was told to end.
    Ending,
    /// The wall clock was set, by a second or more.
    ClockJumped,
    /// The TLS material of an earlier generation was put in service.
    RolledBack,
    /// A rollback has ended.
    RollbackEnded,
    /// A helper process of the daemon ended, and another takes its place.
    HelperFailed,
    /// An operator has ended sessions.
    SessionsEnded,
    /// Sessions are open of clients whose certificate was revoked by a load.
    SessionsRevoked,
    /// A worker went on with sessions of one that had ended.
    SessionsTakenOver,
    /// Workers of a supervisor that has ended were found, or could not be gone on with.
    WorkersFound,
    /// A worker of a supervisor that has ended has handed over its sessions, or has ended otherwise.
    WorkerHandedOver,
    /// The daemon goes on as another program.
    Upgraded,
    /// The daemon was asked to go on as another program, and goes on as before.
    UpgradeFailed,
}

impl EventKind {
    /// Returns its word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Reloaded => "reloaded",
            Self::Expired => "expired",
            Self::Unchanged => "unchanged",
            Self::ReloadFailed => "reload-failed",
            Self::WorkerFailed => "worker-failed",
            Self::WorkerServing => "worker-serving",
            Self::ExitHook => "exit-hook",
            Self::ExitHookSet => "exit-hook-set",
            Self::Ending => "ending",
            Self::ClockJumped => "clock-jumped",
            Self::RolledBack => "rolled-back",
            Self::RollbackEnded => "rollback-ended",
            Self::HelperFailed => "helper-failed",
            Self::SessionsEnded => "sessions-ended",
            Self::SessionsRevoked => "sessions-revoked",
            Self::SessionsTakenOver => "sessions-taken-over",
            Self::WorkersFound => "workers-found",
            Self::WorkerHandedOver => "worker-handed-over",
            Self::Upgraded => "upgraded",
            Self::UpgradeFailed => "upgrade-failed",
        }
    }
}
