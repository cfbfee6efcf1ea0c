//! Telling people and the exit-failure command that a worker failed.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use jiff::Timestamp;
use tracing::error;

use super::{
    Supervisor,
    plan::{Condemned, Failure},
};
use crate::control::{EventKind, ExitKind, ExitStatus as WorkerExit};

impl Supervisor {
    /// Logs a failure, remembers it, and runs the exit-failure command.
    pub(super) fn report_failure(&mut self, failure: Failure) {
        let status = self.exits.get(&failure.worker).copied().flatten();
        let process = self.processes.get(&failure.worker);
        let exit = WorkerExit {
            at: Timestamp::now(),
            pid: process.map_or(0, |process| process.pid),
            kind: kind(&failure, status),
            signal: status.and_then(|status| status.signal()),
            code: status.and_then(|status| status.code()),
            uptime_s: process.map_or(0.0, |process| process.started.elapsed().as_secs_f64()),
        };
        let message = describe(&exit, &failure);
        error!("{message}");
        self.events.add(EventKind::WorkerFailed, message);
        let environment = self.environment(&exit);
        self.last_failure = Some(exit);
        self.hook.fire(environment);
    }

    fn environment(&self, exit: &WorkerExit) -> Vec<(&'static str, String)> {
        let number = |value: Option<i32>| value.map_or_else(String::new, |value| value.to_string());
        let generation = self.current.borrow();
        vec![
            ("PROXYD_EXIT_KIND", name(exit.kind).to_owned()),
            ("PROXYD_EXIT_SIGNAL", number(exit.signal)),
            ("PROXYD_EXIT_CODE", number(exit.code)),
            ("PROXYD_WORKER_PID", exit.pid.to_string()),
            (
                "PROXYD_WORKER_UPTIME_SECONDS",
                format!("{:.3}", exit.uptime_s),
            ),
            ("PROXYD_RESTARTS", self.restarts.to_string()),
            ("PROXYD_TLS_GENERATION", generation.number.to_string()),
            (
                "PROXYD_CONTROL_SOCKET",
                generation.config.control_socket.display().to_string(),
            ),
        ]
    }
}

fn kind(failure: &Failure, status: Option<ExitStatus>) -> ExitKind {
    match (failure.condemned, failure.served, status) {
        (Some(Condemned::Silent), ..) => ExitKind::Watchdog,
        (_, false, _) | (_, _, None) => ExitKind::Start,
        (_, true, Some(status)) if status.signal().is_some() => ExitKind::Signal,
        (_, true, Some(_)) => ExitKind::Code,
    }
}

/// Returns the name of a kind as scripts know it.
fn name(kind: ExitKind) -> &'static str {
    match kind {
        ExitKind::Code => "code",
        ExitKind::Signal => "signal",
        ExitKind::Start => "start",
        ExitKind::Watchdog => "watchdog",
    }
}

fn describe(exit: &WorkerExit, failure: &Failure) -> String {
    let how = match (exit.kind, exit.signal, exit.code) {
        (ExitKind::Watchdog, ..) => "was silent for too long and was killed".to_owned(),
        (ExitKind::Start, None, None) => "could not be started".to_owned(),
        (ExitKind::Start, Some(signal), _) => {
            format!("ended by signal {signal} before it served")
        }
        (ExitKind::Start, _, Some(code)) => format!("exited with status {code} before it served"),
        (_, Some(signal), _) => format!("was ended by signal {signal}"),
        (_, _, code) => format!("exited with status {}", code.unwrap_or_default()),
    };
    let next = match failure.wait {
        None => "its sessions are cut, and none is started while the daemon ends".to_owned(),
        Some(Duration::ZERO) => "the next one is started at once".to_owned(),
        Some(wait) => format!(
            "failure {} in a row, the next one is started in {} ms",
            failure.failures,
            wait.as_millis()
        ),
    };
    format!(
        "Worker {} in slot {} {how} after {:.1} s; {next}.",
        exit.pid, failure.slot, exit.uptime_s
    )
}
