//! Text to checked configuration.
//!
//! [`Config`] is what the engine may rely on: every path absolute, every name resolved, every
//! rule between fields already checked. It is built from a file (`file`) or from the command line,
//! or refused with every problem at once.

use std::{
    fmt,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::protocol::Protocol;

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
    /// Where log lines go, and which.
    pub log: Log,
    /// Where the metrics page is served; `None` serves none.
    pub metrics: Option<std::net::SocketAddr>,
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

/// An address that clients connect to, and what happens to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The unique name that status, metrics and logs use.
    pub name: String,
    /// Where it listens.
    pub bind: Address,
    /// What is spoken before and inside TLS.
    pub protocol: Protocol,
    /// The server behind it.
    pub backend: Address,
    /// The names of the identities it presents; the first is the fallback. Never empty.
    pub identities: Vec<String>,
    /// What it asks of a client's TLS.
    pub tls: TlsPolicy,
    /// What it asks of a client's certificate.
    pub client_auth: ClientAuth,
    /// What the connection to the backend looks like.
    pub backend_tls: BackendTls,
    /// PROXY protocol headers towards clients and backends.
    pub proxy_protocol: ProxyProtocol,
    /// Bounds and deadlines.
    pub limits: Limits,
}

/// What a listener asks of a client's TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPolicy {
    /// Whether a client may stay in plaintext.
    pub mode: TlsMode,
    /// The oldest TLS version it accepts.
    pub min_version: TlsVersion,
}

/// Whether a client may stay in plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// It may: TLS is offered, and plaintext is passed on.
    Preferred,
    /// It may not.
    Required,
}

/// A TLS protocol version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3, RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// What a listener asks of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientAuth {
    /// Whether a certificate is asked for.
    pub mode: ClientAuthMode,
    /// The PEM file with the authorities that may have issued it; set unless `mode` is off.
    pub ca: Option<PathBuf>,
    /// The PEM file with revocation lists.
    pub crl: Option<PathBuf>,
}

/// Whether a client's certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// None is asked for.
    Off,
    /// One is asked for, and checked if it comes.
    Optional,
    /// No session without one.
    Required,
}

/// What the connection to the backend looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendTls {
    /// Whether there is TLS, and what is checked.
    pub mode: BackendTlsMode,
    /// The PEM file with the authorities trusted there; `None` trusts the system's.
    pub ca: Option<PathBuf>,
    /// The PEM file with the certificate to show to the backend, with `key`.
    pub cert: Option<PathBuf>,
    /// The PEM file with its private key.
    pub key: Option<PathBuf>,
    /// The name its certificate must hold; `None` takes the host of the backend's address.
    pub server_name: Option<String>,
}

/// Whether the connection to the backend uses TLS, and what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendTlsMode {
    /// Plaintext.
    Off,
    /// TLS with whatever certificate the backend shows.
    Require,
    /// TLS with a certificate from a trusted authority.
    VerifyCa,
    /// The same, and it must hold the backend's name.
    VerifyFull,
}

/// PROXY protocol headers towards clients and backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyProtocol {
    /// Whether clients must begin with one.
    pub accept: bool,
    /// What backends are sent.
    pub send: ProxyHeaderVersion,
}

/// The PROXY protocol header a backend is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyHeaderVersion {
    /// None.
    Off,
    /// The text form.
    V1,
    /// The binary form.
    V2,
}

/// Bounds and deadlines of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Sessions open at one time, over all workers.
    pub max_connections: u32,
    /// From accept until TLS is up and the protocol's opening is over.
    pub handshake_timeout: Duration,
    /// For the connection to the backend.
    pub connect_timeout: Duration,
    /// For a session in which no byte moves; zero is for ever.
    pub idle_timeout: Duration,
}

/// Where something listens: `host:port`, `[v6]:port` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A name or an IP address, without brackets, and a port.
    Tcp {
        /// The name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: {why}; write host:port, [v6]:port or unix:/path")]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_address(text).map_err(|why| AddressError {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse_address(text: &str) -> Result<Address, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.starts_with('/') {
            Ok(Address::Unix(PathBuf::from(path)))
        } else {
            Err("the path after unix: must be absolute")
        };
    }
    let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
    let port = port.parse().map_err(|_| "its port is not a number from 0 to 65535")?;
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6
            .parse::<std::net::Ipv6Addr>()
            .map(|_| v6)
            .map_err(|_| "what stands in brackets is no IPv6 address")?,
        None if host.contains(':') => return Err("an IPv6 address needs brackets"),
        None if host.is_empty() => return Err("it has no host"),
        None => host,
    };
    Ok(Address::Tcp {
        host: host.to_owned(),
        port,
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
