//! Describes a worker's failure for the log, for events, and for the exit-failure command. Pure.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;

use crate::{
    control::{ExitKind, ExitStatus},
    supervisor::plan::{Condemned, End, Failure},
};

/// The facts about a worker's failure.
#[derive(Debug)]
pub(in crate::supervisor) struct Circumstances {
    /// The worker's process id; 0 if it could not even be started.
    pub(in crate::supervisor) pid: u32,
    /// How long it lived.
    pub(in crate::supervisor) uptime: Duration,
    /// How many workers were started in the place of one that failed.
    pub(in crate::supervisor) restarts: u64,
    /// The generation in force.
    pub(in crate::supervisor) generation: u64,
    /// The path of the control socket.
    pub(in crate::supervisor) control_socket: PathBuf,
}

impl Circumstances {
    pub(super) fn exit(&self, failure: &Failure, at: Timestamp) -> ExitStatus {
        let (signal, code) = match failure.end {
            End::Code(code) => (None, Some(code)),
            End::Signal(signal) => (Some(signal), None),
            End::NotStarted | End::Unknown => (None, None),
        };
        ExitStatus {
            at,
            pid: self.pid,
            kind: kind(failure),
            signal,
            code,
            uptime_s: self.uptime.as_secs_f64(),
        }
    }

    pub(super) fn environment(&self, exit: &ExitStatus) -> Vec<(&'static str, String)> {
        let number = |value: Option<i32>| value.map_or_else(String::new, |value| value.to_string());
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
            ("PROXYD_TLS_GENERATION", self.generation.to_string()),
            (
                "PROXYD_CONTROL_SOCKET",
                self.control_socket.display().to_string(),
            ),
        ]
    }
}

fn kind(failure: &Failure) -> ExitKind {
    match (failure.condemned, failure.served, failure.end) {
        (
            Some(
                Condemned::Silent
                | Condemned::Overdue
                | Condemned::Unconfirmed
                | Condemned::Refusing,
            ),
            ..,
        ) => ExitKind::Watchdog,
        (_, false, _) | (_, _, End::NotStarted) => ExitKind::Start,
        (_, true, End::Signal(_)) => ExitKind::Signal,
        (_, true, End::Code(_)) => ExitKind::Code,
        (_, true, End::Unknown) => ExitKind::Unknown,
    }
}

/// Returns the name of a kind in the environment of the exit-failure command.
fn name(kind: ExitKind) -> &'static str {
    match kind {
        ExitKind::Code => "code",
        ExitKind::Signal => "signal",
        ExitKind::Start => "start",
        ExitKind::Unknown => "unknown",
        ExitKind::Watchdog => "watchdog",
    }
}

pub(super) fn describe(exit: &ExitStatus, failure: &Failure) -> String {
    let next = match failure.wait {
        None if failure.has_heir => {
            "another one is started at once to finish its sessions while the daemon ends".to_owned()
        }
        None => "its sessions are cut, and none is started while the daemon ends".to_owned(),
        Some(wait) if failure.has_heir && !wait.is_zero() => format!(
            "failure {} in a row, the next one takes its sessions over at once and serves in {} ms",
            failure.failures,
            wait.as_millis()
        ),
        Some(Duration::ZERO) => "the next one is started at once".to_owned(),
        Some(wait) => format!(
            "failure {} in a row, the next one is started in {} ms",
            failure.failures,
            wait.as_millis()
        ),
    };
    format!(
        "Worker {} in slot {} {} after {:.1} s; {next}.",
        exit.pid,
        failure.slot,
        how(failure),
        exit.uptime_s
    )
}

fn how(failure: &Failure) -> String {
    let before = if failure.served {
        ""
    } else {
        " before it served"
    };
    match (failure.condemned, failure.end) {
        (Some(Condemned::Silent), _) => "was silent for too long and was killed".to_owned(),
        (Some(Condemned::Overdue), _) => {
            "did not end when the drain timeout was over and was killed".to_owned()
        }
        (Some(Condemned::Unconfirmed), _) => {
            "did not confirm the generation that it was told to serve and was killed".to_owned()
        }
        (Some(Condemned::Refusing), _) => {
            "refused again and again to make ready a generation that \
             another worker had made ready, and was killed"
                .to_owned()
        }
        (Some(Condemned::NeverReady), _) => "did not get ready in time and was killed".to_owned(),
        (_, end @ End::NotStarted) => end.to_string(),
        (_, end) => format!("{end}{before}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::plan::WorkerId;

    fn failure(condemned: Option<Condemned>, served: bool, end: End) -> Failure {
        Failure {
            slot: 0,
            worker: WorkerId(1),
            end,
            condemned,
            served,
            failures: 1,
            wait: None,
            has_heir: false,
        }
    }

    #[test]
    fn each_end_has_its_kind() {
        for (condemned, served, end, expected) in [
            (None, true, End::Signal(11), "signal"),
            (None, true, End::Code(0), "code"),
            (None, true, End::Unknown, "unknown"),
            (None, false, End::Signal(9), "start"),
            (None, false, End::NotStarted, "start"),
            (Some(Condemned::NeverReady), false, End::Signal(9), "start"),
            (Some(Condemned::Silent), true, End::Signal(9), "watchdog"),
            (Some(Condemned::Overdue), true, End::Signal(9), "watchdog"),
            (
                Some(Condemned::Unconfirmed),
                true,
                End::Signal(9),
                "watchdog",
            ),
        ] {
            assert_eq!(name(kind(&failure(condemned, served, end))), expected);
        }
    }

    #[test]
    fn what_becomes_of_sessions_and_slot_is_told() {
        let told = |has_heir, wait| {
            let failure = Failure {
                wait,
                has_heir,
                ..failure(None, true, End::Signal(9))
            };
            let exit = ExitStatus {
                at: Timestamp::UNIX_EPOCH,
                pid: 7,
                kind: ExitKind::Signal,
                signal: Some(9),
                code: None,
                uptime_s: 1.0,
            };
            describe(&exit, &failure)
        };
        let wait = Some(Duration::from_millis(200));
        assert!(told(false, wait).ends_with("the next one is started in 200 ms."));
        let ends = "takes its sessions over at once and serves in 200 ms.";
        assert!(told(true, wait).ends_with(ends));
        for has_heir in [false, true] {
            let at_once = told(has_heir, Some(Duration::ZERO));
            assert!(at_once.ends_with("the next one is started at once."));
        }
        assert!(told(false, None).contains("its sessions are cut"));
        assert!(told(true, None).contains("to finish its sessions"));
    }

    #[test]
    fn what_was_killed_is_told_with_the_reason_and_not_the_signal() {
        let text = how(&failure(Some(Condemned::Overdue), true, End::Signal(9)));
        assert!(!text.contains("signal"), "{text}");
    }
}
