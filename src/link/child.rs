//! How a child process begins: its arguments, which are not for people and in no manual, and what all
//! children do first.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd as _, OwnedFd},
    process::ExitCode,
};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tracing::{error, warn};

use crate::{
    config::LogLevel,
    sys::{oom, sandbox, signals, usage},
    telemetry::log::{self, Form, Pipe},
};

/// The first argument that makes a process a worker.
pub const WORKER: &str = "worker";

/// The first argument that makes a process the resolver.
pub const RESOLVER: &str = "resolver";

/// The first argument that makes a process the one that serves the metrics page.
pub const PAGE: &str = "page";

/// The first argument that makes a process try whether it can go on for the supervisor that runs.
pub const SUCCESSOR: &str = "successor";

/// The exit status of a helper that asks to be started anew, because what it may read has changed.
pub const ANEW: u8 = 75;

/// Serve clients; started by the supervisor
#[derive(Debug, Clone, Parser)]
#[command(name = WORKER)]
pub struct Worker {
    /// The slot to serve
    pub slot: usize,
    /// What the ids of its sessions begin with, which is no other worker's
    pub origin: u64,
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

/// A child process that has begun.
#[derive(Debug)]
pub struct Begun {
    /// The link to the supervisor.
    pub link: OwnedFd,
    /// Where its log lines go.
    pub log: Pipe,
    /// The runtime of its one thread.
    pub runtime: Runtime,
}

/// Why a child process cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum CannotBegin {
    /// It was not started by the supervisor.
    #[error("only the supervisor can start this process: standard input is not its link: {0}")]
    NoLink(io::Error),
    /// What it holds in memory could be read by others.
    #[error("the memory of the process cannot be protected: {0}")]
    Unprotected(nix::Error),
    /// There is no runtime.
    #[error("the process has no runtime: {0}")]
    NoRuntime(io::Error),
}

impl CannotBegin {
    /// Logs it; returns the exit status.
    #[must_use]
    pub fn tell(&self) -> ExitCode {
        error!("{self}");
        match self {
            Self::NoLink(_) => ExitCode::from(2),
            Self::Unprotected(_) | Self::NoRuntime(_) => ExitCode::FAILURE,
        }
    }
}

/// Begins a child process, which process lists show by this name: it leaves the supervisor's signals to the
/// supervisor, logs to standard error, takes its link and protects its memory.
pub fn begin(name: &CStr, log: Log) -> Result<Begun, CannotBegin> {
    signals::leave_to_supervisor();
    // Otherwise process lists would show the name of the link in /proc from which it was executed.
    let _ = nix::sys::prctl::set_name(name);
    let pipe = Pipe::stderr(log.form);
    log::start(pipe.clone(), log.level, log.form);
    let link = take_link().map_err(CannotBegin::NoLink)?;
    // Behind this, files of its own in /proc are root's.
    usage::begin();
    sandbox::protect_memory().map_err(CannotBegin::Unprotected)?;
    if let Err(error) = oom::give_up_protection() {
        warn!(%error, "when memory runs short, the kernel may kill the supervisor before this process");
    }
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CannotBegin::NoRuntime)?;
    Ok(Begun {
        link,
        log: pipe,
        runtime,
    })
}

/// Takes the link, which is standard input, under a descriptor of its own, so that no other code uses it
/// by chance.
fn take_link() -> io::Result<OwnedFd> {
    let link = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::net::getpeername(&link)?;
    Ok(link)
}
