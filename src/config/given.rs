//! What a command line can say about a configuration.

use std::path::PathBuf;

use super::{Address, LogFormat, LogLevel};
use crate::protocol::Protocol;

/// What a command line says about a configuration; nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    /// The file to read.
    pub config: Option<PathBuf>,
    /// The address of the one listener that there is without a file.
    pub listen: Option<Address>,
    /// Its backend.
    pub backend: Option<Address>,
    /// Its protocol.
    pub protocol: Option<Protocol>,
    /// Worker processes.
    pub workers: Option<u16>,
    /// The state directory.
    pub state_dir: Option<PathBuf>,
    /// The control socket.
    pub control_socket: Option<PathBuf>,
    /// The pid file.
    pub pid_file: Option<PathBuf>,
    /// The format of log lines.
    pub log_format: Option<LogFormat>,
    /// The least severe log lines that are written.
    pub log_level: Option<LogLevel>,
}
