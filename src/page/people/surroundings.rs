//! What this host cannot do for the daemon, and what was lost: nothing at all on most hosts.

use super::{
    View,
    markup::Html,
    words::{Tone, number, section, state},
};
use crate::{
    control::{KeepingState, Status},
    facts::amount,
};

/// Writes what is at fault; nothing if nothing is.
pub(super) fn write(html: &mut Html, view: &View<'_>) {
    let faults = faults(view.status);
    if faults.is_empty() {
        return;
    }
    section(
        html,
        "surroundings",
        "Host, sandbox and sessions that were lost",
        |html| {
            html.element_with("ul", &[("class", &"faults")], |html| {
                for fault in &faults {
                    html.element("li", |html| state(html, Tone::Odd, fault));
                }
            });
        },
    );
}

fn faults(status: &Status) -> Vec<String> {
    let mut faults = status.sandbox.missing.clone();
    if status.sandbox.denied_calls > 0 {
        let calls = amount(status.sandbox.denied_calls, "system call");
        faults.push(format!(
            "workers were refused {calls}; the log names the first"
        ));
    }
    let sessions = &status.sessions;
    match sessions.keeping.state {
        KeepingState::On => {}
        KeepingState::Off => {
            faults.push("new sessions end with their worker: keep_after is off".to_owned());
        }
        KeepingState::Unsupported => {
            let reason = sessions.keeping.reason.as_deref().unwrap_or_default();
            faults.push(format!("new sessions end with their worker: {reason}"));
        }
    }
    let lost = sessions.lost_by_reason.listed(number);
    faults.extend(lost.map(|it| format!("sessions were lost with their worker: {it}")));
    let unkept = sessions.unkept_by_reason.listed(number);
    faults.extend(unkept.map(|it| format!("sessions could not be kept: {it}")));
    if status.log.lost_lines > 0 {
        let lines = amount(status.log.lost_lines, "line");
        faults.push(format!("{lines} of the log lost; the log says why"));
    }
    faults
}
