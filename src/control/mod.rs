//! What `proxyctl` and `proxyd` say to each other.
//!
//! Plain data: append variants only, never reorder, and raise [`wire::PROTOCOL`] when a struct
//! changes, because bincode knows fields and variants by their position. The same [`Status`] is
//! what `proxyctl status --json` prints, so its names are a promise to scripts as well.

mod access;
mod backend;
mod call;
pub mod client;
mod ending;
mod failure;
pub mod fuzzing;
mod report;
pub mod server;
mod silent;
mod socket;
mod status;
mod tally;
pub mod wire;

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    backend::BackendStatus,
    ending::{END_REASONS, EndCounts, EndReason},
    failure::{FailureCounts, FailureReason},
    report::{
        CertificateFacts, IdentityChange, IdentityOutcome, Problem, ReloadReport, VerifiedIdentity,
        VerifyReport,
    },
    status::{
        ConnectionCounts, DiskState, DiskStatus, ExitHookRun, ExitHookSource, ExitHookStatus,
        ExitKind, ExitStatus, IdentityStatus, ListenerCounts, ListenerStatus, LoadError, LogStatus,
        RestartStatus, Status, SupervisorState, SupervisorStatus, TlsStatus, WatchState,
        WatchStatus, WorkerState, WorkerStatus,
    },
    tally::{Reason, Tally},
};

/// What `proxyctl` asks of the daemon, one a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Reads the TLS files again and swaps.
    ReloadTls(Partial),
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
}

/// Whether a load may bring a part of what changed into service while the rest is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Partial {
    /// What is good moves on, what is broken stays at its last good state.
    Allow,
    /// All or nothing: if anything is broken, everything stays as it is.
    Refuse,
}

/// What the daemon answers.
///
/// One for each request, but for [`Request::Events`], which is answered by an
/// [`Response::Event`] for each event and a [`Response::End`] behind the last that there will be.
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
    /// The daemon is ending; it closes this connection when it has ended.
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
}

/// Why TLS material was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// The daemon started.
    Start,
    /// `proxyctl reload-tls`.
    ReloadTls,
    /// `proxyctl reload`.
    Reload,
    /// The signal HUP.
    Sighup,
    /// The files changed.
    Watch,
    /// A worker had to be started again.
    Crash,
}

impl Trigger {
    /// Returns whether an operator asked for the load, and not the daemon itself.
    #[must_use]
    pub fn is_asked(self) -> bool {
        matches!(self, Self::ReloadTls | Self::Reload | Self::Sighup)
    }

    /// Returns whether the configuration is read too.
    #[must_use]
    pub fn reads_config(self) -> bool {
        matches!(self, Self::Reload | Self::Sighup)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::ReloadTls => "reload-tls",
            Self::Reload => "reload",
            Self::Sighup => "sighup",
            Self::Watch => "watch",
            Self::Crash => "crash",
        })
    }
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
}
