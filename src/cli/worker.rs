//! How the supervisor starts a worker; not for people, and in no manual.

use clap::Parser;

use crate::{config::LogLevel, telemetry::log::Form};

/// The first argument that makes a process a worker.
pub const NAME: &str = "worker";

/// Serve clients; started by the supervisor
#[derive(Debug, Clone, Parser)]
#[command(name = NAME)]
pub struct Args {
    /// The slot to serve
    pub slot: usize,
    /// The severity of log lines
    pub level: LogLevel,
    /// How log lines are written
    pub form: Form,
}
