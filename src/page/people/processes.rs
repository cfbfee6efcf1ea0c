//! The workers, how one failed last, and the command that is run then.

use super::{
    View,
    markup::Html,
    words::{Tone, ago, number, section, state, table},
};
use crate::{
    control::{ExitHookSource, ExitHookStatus, ExitStatus, WorkerState, WorkerStatus},
    facts::{amount, seconds},
};

/// Writes the workers.
pub(super) fn write(html: &mut Html, view: &View<'_>) {
    let status = view.status;
    section(html, "workers", "Workers", |html| {
        let headings = [
            "Slot",
            "Process",
            "State",
            "Generation",
            "Sessions",
            "Started",
        ];
        table(html, ("workers-table", "Workers"), &headings, |html| {
            for worker in &status.workers {
                html.element("tr", |html| row(html, worker, view));
            }
        });
        html.element_with("p", &[("class", &"note")], |html| {
            html.text(amount(status.restarts.total, "restart"));
            if status.restarts.consecutive > 1 {
                let failures = amount(status.restarts.consecutive.into(), "failure");
                html.text(format_args!(", {failures} in a row"));
            }
            if let Some(last) = &status.restarts.last {
                html.markup("; the last: ");
                failure(html, last, view);
            }
            html.markup(". ");
            hook(html, &status.on_exit_failure, view);
        });
    });
}

fn row(html: &mut Html, worker: &WorkerStatus, view: &View<'_>) {
    let (tone, word) = match worker.state {
        WorkerState::Starting => (Tone::Quiet, "starting"),
        WorkerState::Serving => (Tone::Good, "serving"),
        WorkerState::Draining => (Tone::Quiet, "draining"),
        WorkerState::Waiting => (Tone::Odd, "waiting to start"),
        WorkerState::Orphaned => (Tone::Quiet, "of an earlier supervisor"),
        WorkerState::HandingOver => (Tone::Quiet, "handing over"),
    };
    html.element_with("th", &[("scope", &"row")], |it| it.text(worker.slot));
    html.element("td", |html| match worker.pid {
        Some(pid) => html.text(pid),
        None => html.markup("none"),
    });
    html.element("td", |html| state(html, tone, word));
    html.words("td", "", worker.generation);
    html.words("td", "", number(worker.connections));
    html.element("td", |html| ago(html, worker.started_at, view.now));
}

fn failure(html: &mut Html, last: &ExitStatus, view: &View<'_>) {
    let lived = seconds(last.uptime_s);
    html.text(format_args!(
        "worker {} {} after {lived}, ",
        last.pid,
        last.how()
    ));
    ago(html, last.at, view.now);
}

fn hook(html: &mut Html, hook: &ExitHookStatus, view: &View<'_>) {
    let Some(command) = hook
        .command
        .as_ref()
        .filter(|_| hook.source != ExitHookSource::Unset)
    else {
        return html.markup("No command is run when a worker fails.");
    };
    html.markup("When a worker fails, ");
    // Arguments may hold what is not for everyone who may read this page.
    html.words("code", "", command.first().map_or("", String::as_str));
    html.markup(" is run");
    if let Some(run) = &hook.last_run {
        html.markup("; its last run ");
        match (run.timed_out, run.exit_code, &run.error) {
            (true, ..) => html.markup("took too long"),
            (_, _, Some(error)) => html.text(format_args!("could not begin: {error}")),
            (_, Some(code), _) => html.text(format_args!("exited with {code}")),
            (_, None, None) => html.markup("was killed"),
        }
        html.markup(", ");
        ago(html, run.at, view.now);
    }
    html.markup(".");
}
