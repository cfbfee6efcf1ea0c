//! Text to checked configuration.
//!
//! [`Config`] is what the engine may rely on: every path absolute, every name resolved, every rule
//! between fields already checked. [`Source::load`] makes it from a [`Source`], the file and the
//! command line, or refuses with every problem at once. The way of the text: `read` finds misspelt
//! keys and values of the wrong kind, `file` holds what is left, `check` looks at what must fit
//! together, `report` draws what is wrong. No file but the configuration is read here.

mod address;
mod changes;
mod check;
mod environment;
mod file;
#[cfg(test)]
mod fixture;
mod given;
mod listener;
mod nearest;
mod read;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::{
    address::{Address, AddressError, UNIX_PATH_MAX},
    changes::needs_restart,
    environment::Environment,
    given::Given,
    listener::{
        BackendTls, BackendTlsMode, ClientAuth, ClientAuthMode, Limits, Listener,
        ProxyHeaderVersion, ProxyProtocol, TlsMode, TlsPolicy, TlsVersion,
    },
    report::{ConfigError, Problem, Report},
    source::{DEFAULT_FILE, Source},
};

/// The most worker processes there can be.
pub const WORKERS_MAX: usize = 256;

/// The name of what was not given one: the identity that is created, the listener of the command
/// line.
pub const DEFAULT_NAME: &str = "default";

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The file it came from; `None` when it came from the command line alone.
    pub source: Option<PathBuf>,
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
    /// The certificates to present, at least one.
    pub identities: Vec<IdentityFiles>,
    /// The addresses that clients connect to, at least one, names unique.
    pub listeners: Vec<Listener>,
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
}

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed that somebody must look at.
    Error,
    /// Something is wrong but the service goes on.
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

/// A certificate to present and where its files are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdentityFiles {
    /// The name that listeners, status and reports use.
    pub name: String,
    /// The PEM file with the chain, leaf first.
    pub cert: PathBuf,
    /// The PEM file with the private key.
    pub key: PathBuf,
    /// Whether the daemon creates the files when they are missing.
    ///
    /// True only for the identity that stands in for an empty configuration: what an operator
    /// named is never created for them.
    pub created: bool,
}
