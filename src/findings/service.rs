//! Findings about the processes that serve.

use super::{Finding, critical, warning};
use crate::{
    control::{Status, SupervisorState, WorkerState, WorkerStatus},
    facts::amount,
};

/// From how many failures in a row on a worker counts as failing again and again.
const KEEPS_FAILING: u32 = 3;

/// What to do when workers fail.
const LOOK_AT_FAILURES: &str =
    "`proxyctl events` lists how workers ended, and the daemon's log says why.";

/// Whether every worker serves or is getting ready.
fn starting(status: &Status) -> bool {
    let fine = |state| matches!(state, WorkerState::Serving | WorkerState::Starting);
    status.serving() > 0 && of_slots(status).all(|worker| fine(worker.state))
}

/// Returns the workers that are not those of an earlier supervisor.
fn of_slots(status: &Status) -> impl Iterator<Item = &WorkerStatus> {
    status.workers.iter().filter(|it| !it.state.is_of_earlier())
}

pub(super) fn findings(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    match status.supervisor.state {
        SupervisorState::Starting => findings.push(warning("proxyd is starting", "")),
        SupervisorState::Draining => findings.push(warning("proxyd is draining", "")),
        SupervisorState::Degraded | SupervisorState::Serving if status.serving() == 0 => {
            findings.push(critical("no worker serves", LOOK_AT_FAILURES));
        }
        SupervisorState::Degraded => findings.push(critical(
            "some clients wait: no worker accepts from the listening sockets of at least one slot",
            LOOK_AT_FAILURES,
        )),
        // The first workers of a daemon do not all get ready at the same moment.
        SupervisorState::Serving if status.restarts.consecutive == 0 && starting(status) => {}
        SupervisorState::Serving if status.serving() < status.slots() => {
            let (serving, all) = (status.serving(), status.slots());
            findings.push(warning(
                format!("{serving} of {all} workers serve"),
                LOOK_AT_FAILURES,
            ));
        }
        SupervisorState::Serving => {}
    }
    findings.extend(outdated(status));
    findings.extend(program(status));
    if status.restarts.consecutive >= KEEPS_FAILING {
        let failures = amount(status.restarts.consecutive.into(), "failure");
        findings.push(warning(
            format!("a worker keeps failing, {failures} in a row"),
            LOOK_AT_FAILURES,
        ));
    }
    findings
}

/// Returns a finding if another program lies where the one that runs was started from.
fn program(status: &Status) -> Option<Finding> {
    let path = &status.program.path;
    status.program.replaced.then(|| {
        warning(
            format!(
                "another program lies at {path} than the one that runs; run it with `proxyctl upgrade`"
            ),
            "`proxyctl upgrade --check` tells first whether it would go on with the sessions.",
        )
    })
}

/// Returns a finding if workers serve a generation that is no longer in force.
fn outdated(status: &Status) -> Option<Finding> {
    let generation = status.tls.generation;
    let serving = status
        .workers
        .iter()
        .filter(|worker| worker.state == WorkerState::Serving);
    let outdated = serving.filter(|worker| worker.generation != generation);
    let message = match outdated.count() {
        0 => return None,
        1 => format!("a worker has not confirmed generation {generation}, which is in force"),
        all => {
            format!("{all} workers have not confirmed generation {generation}, which is in force")
        }
    };
    Some(critical(
        message,
        "A worker that does not confirm it within ten seconds is replaced; `proxyctl events` tells of it.",
    ))
}
