//! Text to checked configuration.
//!
//! [`Config`] is what the engine may rely on: every path absolute, every name resolved, every rule
//! between fields already checked. [`Source::load`] makes it from a [`Source`], the file and the
//! command line, or refuses with every problem at once. The way of the text: `read` finds misspelt
//! keys and values of the wrong kind, `file` holds what is left, `check` looks at what must fit
//! together, `report` draws what is wrong. No file but the configuration is read here.

mod address;
mod allow;
mod backends;
mod broken;
mod changes;
mod check;
mod environment;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod given;
mod identity;
mod listener;
mod nearest;
mod odd;
mod read;
mod report;
mod source;
mod source_text;
#[cfg(test)]
mod tests;
mod value;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::{
    address::{Address, AddressError, UNIX_PATH_MAX, covers},
    allow::{AllowError, AllowRule, Claims, Sha256},
    backends::Backends,
    changes::needs_restart,
    environment::Environment,
    given::Given,
    identity::{IdentityFiles, PairEncoding, PairForm, PassphraseSource},
    listener::{
        BackendTls, BackendTlsMode, ChannelBinding, ClientAuth, ClientAuthMode, Limits, Listener,
        OnUnknown, ProxyHeaderVersion, ProxyProtocol, Resumption, TlsMode, TlsPolicy, TlsVersion,
        UnknownName,
    },
    report::{ConfigError, Problem, Report},
    source::{DEFAULT_FILE, Source},
    source_text::SourceText,
};
pub use crate::facts::{Network, NetworkError};

/// The most worker processes there can be.
pub const WORKERS_MAX: usize = 256;

/// The most listeners there can be.
pub const LISTENERS_MAX: usize = 4096;

/// The highest bound for the sessions of one client.
pub const PER_CLIENT_MAX: u32 = 1_000_000;

/// How long sessions may go on once the daemon was told to end, unless the configuration says otherwise.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long workers go on serving when their supervisor is gone, unless the configuration says otherwise.
pub const ORPHAN_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of what was not given one: the identity that is created, the listener of the command
/// line.
pub const DEFAULT_NAME: &str = "default";

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The file it came from; `None` when it came from the command line alone.
    pub source: Option<PathBuf>,
    /// The text of that file; empty when there is none.
    #[serde(skip)]
    pub text: SourceText,
    /// Worker processes, at least one.
    pub workers: usize,
    /// The user whom workers run as when the supervisor is root; `None` leaves the choice to
    /// the supervisor.
    pub user: Option<String>,
    /// Where the daemon keeps what it must find again after a restart.
    pub state_dir: PathBuf,
    /// The Unix socket that `proxyctl` talks to.
    pub control_socket: PathBuf,
    /// The group whose members may use the control socket, beside root and the daemon's own user.
    pub control_group: Option<String>,
    /// The locked file that holds the supervisor's process id.
    pub pid_file: PathBuf,
    /// How long sessions may go on once the daemon was told to end.
    pub drain_timeout: Duration,
    /// How long a worker may be silent before it is taken for hung and killed.
    pub heartbeat_timeout: Duration,
    /// After how long an established session begins to outlive its worker, from 1 ms to 1 min; with `None` every
    /// session ends with its worker. A session keeps the value that was in force when it began.
    pub keep_after: Option<Duration>,
    /// How long workers go on serving when their supervisor is gone; zero lets them drain at once.
    pub orphan_timeout: Duration,
    /// Whether the daemon reloads by itself when the TLS files change.
    pub watch: bool,
    /// How often it compares their content, whether or not the kernel told of a change.
    pub watch_interval: Duration,
    /// How long files may be broken before a daemon that watches them reports it.
    pub watch_grace: Duration,
    /// Where log lines go, and which.
    pub log: Log,
    /// Where the metrics page is served; `None` serves none.
    pub metrics: Option<SocketAddr>,
    /// The command to run when a worker fails.
    pub on_exit_failure: Option<ExitHook>,
    /// The certificates to present; at least one of these or of the folders.
    pub identities: Vec<IdentityFiles>,
    /// The folders with more certificates to present; no name is that of an identity too.
    pub identity_dirs: Vec<IdentityDir>,
    /// The addresses that clients connect to, at least one, names unique.
    pub listeners: Vec<Listener>,
}

impl Config {
    /// Returns whether a program is run for the passphrase of any key.
    #[must_use]
    pub fn runs_passphrase_program(&self) -> bool {
        let identities = self.identities.iter().map(|it| &it.form);
        let backends = self.listeners.iter().map(|it| &it.backend_tls.form);
        identities.chain(backends).any(PairForm::runs_program)
    }

    /// Returns what workers need to know of it: not which files there are, and what is run.
    #[must_use]
    pub fn for_workers(&self) -> Self {
        let mut config = self.clone();
        config.on_exit_failure = None;
        config.identities.clear();
        config.identity_dirs.clear();
        for listener in &mut config.listeners {
            listener.backend_tls.form = PairForm::default();
        }
        config
    }
}

/// Returns the path of the file with the cookie that clients of a control socket have to show.
#[must_use]
pub fn control_cookie(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".cookie");
    path.into()
}

/// Where log lines go, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The least severe lines that are written.
    pub level: LogLevel,
    /// How a line is written.
    pub format: LogFormat,
    /// The file they are appended to; `None` is standard error.
    pub file: Option<PathBuf>,
    /// Whether each session gets a line when it ends, or only one whose end is out of the ordinary.
    pub sessions: bool,
}

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed, and an operator must look at it.
    Error,
    /// Something is wrong, but the service goes on.
    Warn,
    /// What an operator wants to read the next day.
    Info,
    /// What a developer wants to read.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A command run when a worker fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitHook {
    /// The program's absolute path and its arguments, never empty.
    pub command: Vec<String>,
    /// How long it may run before it is killed with its children.
    pub timeout: Duration,
}
/// A folder in which each entry is a certificate to present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityDir {
    /// The name that listeners use for all of them.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
}
