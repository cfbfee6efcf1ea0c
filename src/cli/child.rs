//! How the supervisor starts its child processes; not for people, and in no manual.

use clap::Parser;

use crate::{config::LogLevel, telemetry::log::Form};

/// The first argument that makes a process a worker.
pub const WORKER: &str = "worker";

/// The first argument that makes a process the resolver.
pub const RESOLVER: &str = "resolver";

/// The first argument that makes a process the one that serves the metrics page.
pub const PAGE: &str = "page";

/// Serve clients; started by the supervisor
#[derive(Debug, Clone, Parser)]
#[command(name = WORKER)]
pub struct Worker {
    /// The slot to serve
    pub slot: usize,
    /// How log lines are written
    #[command(flatten)]
    pub log: Log,
}

/// Help workers or monitoring systems; started by the supervisor
#[derive(Debug, Clone, Parser)]
pub struct Helper {
    /// How log lines are written
    #[command(flatten)]
    pub log: Log,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Log {
    /// The severity of log lines
    pub level: LogLevel,
    /// The form of log lines
    pub form: Form,
}
