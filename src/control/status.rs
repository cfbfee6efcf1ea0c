//! What runs, what it serves, since when, and what crashed: the document of `proxyctl status`.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    config::Resumption,
    facts::{
        BackendStatus, CertificateFacts, ConnectionCounts, Enforcement, Expiry, KeepingCounts,
        LossCounts, Moment, Trigger, UnkeptCounts,
    },
    protocol::Protocol,
};

/// What runs, what it serves, since when, and what crashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this document's names and meanings.
    pub schema: u32,
    /// The supervisor process.
    pub supervisor: SupervisorStatus,
    /// The worker processes, one for each slot that has one.
    pub workers: Vec<WorkerStatus>,
    /// Restarts of workers since the daemon started.
    pub restarts: RestartStatus,
    /// What is served, and how that stands to the disk.
    pub tls: TlsStatus,
    /// The exit-failure command.
    pub on_exit_failure: ExitHookStatus,
    /// The listeners of the configuration.
    pub listeners: Vec<ListenerStatus>,
    /// What became of log lines.
    pub log: LogStatus,
    /// What child processes cannot do, and what this host cannot keep them from.
    pub sandbox: SandboxStatus,
    /// The sessions of all listeners.
    pub sessions: SessionsStatus,
    /// The program that runs.
    pub program: ProgramStatus,
    /// Upgrades of the daemon in place.
    pub upgrades: UpgradesStatus,
    /// What its processes use of the machine.
    #[serde(default)]
    pub processes: Vec<ProcessStatus>,
}

/// What a process uses of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// What it does.
    pub role: ProcessRole,
    /// The slot of a worker.
    pub slot: Option<usize>,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Seconds for which processors have worked for it; `None` if the system does not say.
    pub cpu_s: Option<f64>,
    /// Bytes of memory that it takes; `None` if that is not known.
    pub resident_bytes: Option<u64>,
    /// Descriptors that it has open; `None` where that is not known, which it is of the supervisor alone, from
    /// Linux 6.2 on.
    pub open_descriptors: Option<u64>,
    /// Descriptors that it may have open; known of the supervisor alone.
    pub most_descriptors: Option<u64>,
}

/// What a process of the daemon does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessRole {
    /// It starts the others and answers `proxyctl`.
    Supervisor,
    /// It serves clients.
    Worker,
    /// It looks up the names of backends.
    Resolver,
    /// It serves metrics.
    Page,
}

impl ProcessRole {
    /// Returns its name in status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Worker => "worker",
            Self::Resolver => "resolver",
            Self::Page => "page",
        }
    }
}

/// The program that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// The path that the daemon was started by; empty if that cannot be told.
    pub path: String,
    /// Its version.
    pub version: String,
    /// Whether another file lies at that path now.
    pub replaced: bool,
}

/// Upgrades of the daemon in place, since its first start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpgradesStatus {
    /// Those that were done.
    pub total: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those after which the program before runs again.
    pub rolled_back: u64,
    /// The last one that was tried.
    pub last: Option<UpgradeStatus>,
}

/// An upgrade that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStatus {
    /// When it ended.
    pub at: Timestamp,
    /// The version that ran before.
    pub from: String,
    /// The version that was to run; empty if that was not learnt.
    pub to: String,
    /// What became of it.
    pub result: UpgradeResult,
    /// Why it was not done.
    pub reason: Option<String>,
}

/// What became of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradeResult {
    /// The other program runs.
    Done,
    /// The program that ran has never been left.
    Refused,
    /// The other program could not go on, and the one before runs again.
    RolledBack,
}

/// The sessions of all listeners, those of listeners that were removed included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsStatus {
    /// Open now, by the last counts of the workers.
    pub open: u64,
    /// Those of them that outlive their worker.
    pub kept: u64,
    /// How many times a worker has gone on with a session of one that ended, since the daemon started.
    pub taken_over_total: u64,
    /// Established sessions that ended with their worker, since the daemon started.
    pub lost_total: u64,
    /// The lost sessions, by reason.
    pub lost_by_reason: LossCounts,
    /// Established sessions that could not be kept, so that they end with their worker, since the daemon started.
    pub unkept_by_reason: UnkeptCounts,
    /// Whether sessions that begin now are kept.
    pub keeping: KeepingStatus,
}

impl SessionsStatus {
    /// Returns the document for so many open sessions.
    #[must_use]
    pub fn new(open: u64, counts: &KeepingCounts, keeping: KeepingStatus) -> Self {
        Self {
            open,
            kept: counts.kept,
            taken_over_total: counts.taken_over,
            lost_total: counts.lost.sum(),
            lost_by_reason: counts.lost,
            unkept_by_reason: counts.unkept,
            keeping,
        }
    }
}

/// Whether sessions that begin now are kept, so that they outlive their worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepingStatus {
    /// Whether they are kept, and if not, why in a word.
    pub state: KeepingState,
    /// Why the host does not let them be kept, in a sentence without its full stop.
    pub reason: Option<String>,
}

impl KeepingStatus {
    /// Returns the document for `keep_after` of a configuration, and for why this host supports no keeping, if it
    /// does not.
    #[must_use]
    pub fn new(keep_after: Option<Duration>, unsupported: Option<&str>) -> Self {
        let (state, reason) = match (keep_after, unsupported) {
            (None, _) => (KeepingState::Off, None),
            (Some(_), None) => (KeepingState::On, None),
            (Some(_), Some(reason)) => (KeepingState::Unsupported, Some(reason.to_owned())),
        };
        Self { state, reason }
    }
}

/// Whether sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepingState {
    /// They are, once they have lasted for `keep_after`.
    On,
    /// They are not, because `keep_after` is off.
    Off,
    /// They are not, because the kernel does not count the bytes of sockets as it must.
    Unsupported,
}

/// How the daemon's child processes are confined: what holds for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Whether they can open only the files that they need.
    pub files: Enforcement,
    /// Whether they can signal no other process.
    pub scopes: bool,
    /// Whether system calls that they do not need are refused.
    pub system_calls: bool,
    /// One sentence for each thing that this host cannot enforce.
    pub missing: Vec<String>,
    /// System calls that workers were refused since the daemon started.
    pub denied_calls: u64,
}

/// What became of log lines since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Lines that were lost because they could not be written, or not fast enough.
    pub lost_lines: u64,
}

/// The supervisor process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Seconds since then.
    pub uptime_s: f64,
    /// What it is doing.
    pub state: SupervisorState,
    /// The configuration file; `None` when it was started by arguments alone.
    pub config: Option<String>,
}

/// What the daemon as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupervisorState {
    /// No worker has served yet.
    Starting,
    /// Workers serve, and every listening socket is accepted from.
    Serving,
    /// Some clients wait in the queue of a listening socket that no worker accepts from, or all do.
    Degraded,
    /// It was told to end and sessions are finishing.
    Draining,
}

impl SupervisorState {
    /// Returns its word in the document.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
        }
    }
}

/// A worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its process id; `None` while its slot waits to start one.
    pub pid: Option<u32>,
    /// Its slot.
    pub slot: usize,
    /// What it is doing.
    pub state: WorkerState,
    /// When it started; while waiting, when the next one will.
    pub started_at: Timestamp,
    /// The generation it serves; 0 before it does.
    pub generation: u64,
    /// The sessions it has open.
    pub connections: u64,
    /// System calls that it was refused, because serving clients does not take them.
    pub denied_calls: u64,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// It was started and has not said that it serves.
    Starting,
    /// It accepts connections.
    Serving,
    /// It finishes the sessions it has.
    Draining,
    /// Its slot waits for the disk to be read, or for a back-off to end.
    Waiting,
    /// A supervisor that has ended started it; it serves until each slot has a worker of the one that runs.
    Orphaned,
    /// The same, but it hands over its sessions.
    HandingOver,
}

impl WorkerState {
    /// Returns whether an earlier supervisor started the worker, which so is beside those of the slots.
    #[must_use]
    pub fn is_of_earlier(self) -> bool {
        matches!(self, Self::Orphaned | Self::HandingOver)
    }
}

impl TlsStatus {
    /// Returns the certificates that an identity sends behind its leaf, from the leaf's issuer upwards.
    pub fn above<'a>(
        &'a self,
        identity: &'a IdentityStatus,
    ) -> impl Iterator<Item = &'a CertificateFacts> {
        let places = identity.intermediates.iter();
        places.filter_map(|it| self.intermediates.get(usize::try_from(*it).ok()?))
    }
}

impl Status {
    /// Returns how many workers serve.
    #[must_use]
    pub fn serving(&self) -> usize {
        let all = self.workers.iter();
        all.filter(|it| it.state == WorkerState::Serving).count()
    }

    /// Returns how many slots for workers there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        let all = self.workers.iter();
        all.filter(|it| !it.state.is_of_earlier()).count()
    }
}

/// Restarts of workers since the daemon started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestartStatus {
    /// Workers started in the place of one that failed.
    pub total: u64,
    /// Failures in a row of the slot that fares worst; 0 when all are healthy.
    pub consecutive: u32,
    /// The last failure; `None` when there was none.
    pub last: Option<ExitStatus>,
}

/// How a worker failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// When.
    pub at: Timestamp,
    /// Its process id; 0 if it could not even be started.
    pub pid: u32,
    /// What kind of failure it was.
    pub kind: ExitKind,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The status it exited with.
    pub code: Option<i32>,
    /// Seconds it had lived.
    pub uptime_s: f64,
}

impl ExitStatus {
    /// Says how the worker ended, as what a sentence says of it.
    #[must_use]
    pub fn how(&self) -> String {
        match (self.kind, self.signal, self.code) {
            (ExitKind::Watchdog, ..) => "hung and was killed".to_owned(),
            (ExitKind::Start, ..) => "did not come up".to_owned(),
            (_, Some(signal), _) => format!("was ended by signal {signal}"),
            (_, None, Some(code)) => format!("exited with {code}"),
            (_, None, None) => "ended".to_owned(),
        }
    }
}

/// What kind of failure a worker's end was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitKind {
    /// It exited by itself.
    Code,
    /// A signal ended it.
    Signal,
    /// It ended, or could not be started, before it served.
    Start,
    /// It was silent, did not confirm what it was told to serve, or did not end in time, and was
    /// killed.
    Watchdog,
    /// The system did not report how it ended.
    Unknown,
}

/// What is served, and how that stands to the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TlsStatus {
    /// The number of the configuration and material in service.
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: Timestamp,
    /// Why.
    pub trigger: Trigger,
    /// How the disk stands to it.
    pub disk: DiskStatus,
    /// Whether a cold start with what is on disk now would come up and serve everything.
    pub restart_safe: bool,
    /// The steps of a cold start that could not be tried while this daemon runs, and why; a restart is
    /// called safe as far as the others tell.
    pub not_tried: Vec<String>,
    /// What the last load found wrong; `None` after one that found nothing, and while a
    /// program may still be writing the files.
    pub last_error: Option<LoadError>,
    /// How changes of the files are noticed.
    pub watch: WatchStatus,
    /// The identities served.
    pub identities: Vec<IdentityStatus>,
    /// The rollback in force; `None` if there is none.
    pub rollback: Option<RollbackStatus>,
    /// What ends when, of all that is served and trusted, what ends first in front.
    pub expiries: Vec<Expiry>,
    /// The certificates that identities send behind their leaves, each once.
    pub intermediates: Vec<CertificateFacts>,
}

/// A rollback in force: what is on disk is not loaded until an operator asks for a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackStatus {
    /// When it came into force.
    pub since: Timestamp,
    /// The generation that was in force until then.
    pub from_generation: u64,
    /// The generation whose TLS material is served again.
    pub to_generation: u64,
    /// The listeners whose authorities and revocation lists for clients went back too.
    pub trust_went_back: Vec<String>,
}

/// How the disk stands to what is served. By content, not by times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// The verdict.
    pub state: DiskState,
    /// Why it is invalid; or why what has changed is not loaded, if a rollback is in force.
    pub reason: Option<String>,
    /// What of it was not looked at, and why; whether a restart is safe is not known then, and told
    /// as if it were not.
    pub unseen: Option<String>,
    /// When it was first seen like that.
    pub since: Timestamp,
    /// Whether that is so recent that files may be being written; a daemon that watches them will
    /// then load them, or report them, by itself.
    pub settling: bool,
}

impl DiskStatus {
    /// Returns whether nothing is known to be wrong with it, but not all of it was looked at.
    #[must_use]
    pub fn leaves_open(&self) -> bool {
        self.reason.is_none() && self.unseen.is_some()
    }
}

/// How changes of the files are noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// By what.
    pub state: WatchState,
    /// Why not by events.
    pub reason: Option<String>,
    /// Seconds between two comparisons of the files' content.
    pub interval_s: f64,
    /// Seconds that files may be broken before that is reported.
    pub grace_s: f64,
}

/// By what changes of the files are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchState {
    /// By the kernel, which tells of them at once, and by a comparison each interval.
    Events,
    /// Some of them by the comparison alone.
    Interval,
    /// Not at all: the daemon reloads only when told.
    Off,
}

/// The verdict on what is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// A reload would bring something new.
    Changed,
    /// A reload would find something broken.
    Invalid,
    /// What is on disk is what is served.
    Same,
}

/// What a load found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadError {
    /// When.
    pub at: Timestamp,
    /// Why that load was made.
    pub trigger: Trigger,
    /// What was wrong, and what is still served.
    pub message: String,
}

/// An identity that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityStatus {
    /// Its name.
    pub name: String,
    /// Its certificate file.
    pub cert: String,
    /// Its key file.
    pub key: String,
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number, lower-case hexadecimal without separators.
    pub serial: String,
    /// SHA-256 of the leaf's DER, lower-case hexadecimal.
    pub sha256: String,
    /// The first moment at which it is valid.
    pub not_before: Moment,
    /// The last moment at which it is valid.
    pub not_after: Moment,
    /// The earliest end of it and of the intermediates that are sent with it.
    pub path_not_after: Moment,
    /// Whole days until that earliest end, negative once it has passed.
    pub days_left: i64,
    /// Names and addresses of the subject alternative name extension.
    pub dns_names: Vec<String>,
    /// For example `ecdsa-p256`, `rsa-2048`, `ed25519`.
    pub key_type: String,
    /// Since when its files have been broken, so that what was last good is served; `None` if they
    /// were good at the last load.
    pub kept_since: Option<Timestamp>,
    /// Where the certificates that are sent behind its leaf stand in `tls.intermediates`, from 0 on: its issuer first.
    pub intermediates: Vec<u32>,
}

/// The exit-failure command and its last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitHookStatus {
    /// The program and its arguments; `None` when none is set.
    pub command: Option<Vec<String>>,
    /// Seconds it may run; `None` when none is set.
    pub timeout_s: Option<f64>,
    /// Where it was set.
    pub source: ExitHookSource,
    /// How its last run ended; `None` before the first.
    pub last_run: Option<ExitHookRun>,
}

/// Where the exit-failure command was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitHookSource {
    /// In the configuration file.
    Config,
    /// By `proxyctl set-on-exit-failure`.
    Runtime,
    /// Nowhere.
    Unset,
}

/// How a run of the exit-failure command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitHookRun {
    /// When it ended.
    pub at: Timestamp,
    /// The status it exited with; `None` if it was killed or could not be started.
    pub exit_code: Option<i32>,
    /// Whether it was killed because it ran for too long.
    pub timed_out: bool,
    /// Why it could not be started; `None` if it could.
    pub error: Option<String>,
}

/// A listener and its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Where it listens; the real port where the configuration says 0.
    pub bind: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// The server behind it that is tried first.
    pub backend: String,
    /// All the servers behind it, in the order in which they are tried.
    pub backends: Vec<BackendStatus>,
    /// Whether clients may go on with TLS sessions of earlier connections.
    pub resumption: Resumption,
    /// Its sessions.
    pub connections: ConnectionCounts,
}
