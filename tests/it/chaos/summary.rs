//! The summary of a run.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    faults::ALL,
    journal::{Journal, seconds},
    settings::Settings,
    settle::Calm,
    tally::{Kind, Tally},
};
use crate::support::program::{clean_command, run};

/// How many findings are printed in full; more of them rarely help.
const TOLD: usize = 30;

/// How many lines of the daemon's log are printed with findings.
const LOG_LINES: usize = 150;

/// A run that is over.
pub(crate) struct Report<'run> {
    /// Its settings.
    pub(crate) settings: &'run Settings,
    /// When it began, and when it ended.
    pub(crate) times: (Timestamp, Timestamp),
    /// Its counts and findings.
    pub(crate) tally: &'run Tally,
    /// The timeline of its faults.
    pub(crate) journal: &'run Journal,
    /// The name and the resources of each daemon.
    pub(crate) calms: &'run [(&'static str, Calm)],
}

impl Report<'_> {
    /// Returns the summary as Markdown.
    pub(crate) fn summary(&self) -> String {
        let (begin, end) = self.times;
        let Settings { time, seed, .. } = self.settings;
        let minutes = time.as_secs_f64() / 60.0;
        let mut text = format!(
            "Seed {seed}, commit {}, from {begin:.0} to {end:.0}, {minutes:.1} minutes of faults.\n\n",
            commit()
        );
        text.push_str("| found wrong | times |\n|---|---|\n");
        for kind in Kind::ALL {
            let _ = writeln!(text, "| {kind} | {} |", self.tally.found(kind));
        }
        text.push_str("\n| counted | number |\n|---|---|\n");
        for (name, number) in self.tally.counts() {
            let _ = writeln!(text, "| {name} | {number} |");
        }
        text.push_str("\n| fault | struck |\n|---|---|\n");
        let counts = self.journal.counts();
        for fault in ALL.iter().flat_map(|faults| faults.iter()) {
            let struck = counts.get(fault.name).copied().unwrap_or_default();
            let why = self.journal.skipped().get(fault.name);
            let why = why.map_or(String::new(), |why| format!(" (skipped: {why})"));
            let _ = writeln!(text, "| `{}` | {struck}{why} |", fault.name);
        }
        text.push_str(
            "\n| daemon that logs to | when it was first whole | at the end |\n|---|---|---|\n",
        );
        for (name, calm) in self.calms {
            let tell = |measure: &Option<_>| {
                let told = measure.as_ref().map(ToString::to_string);
                told.unwrap_or_else(|| "not measured".to_owned())
            };
            let (first, last) = (tell(&calm.first), tell(&calm.last));
            let _ = writeln!(text, "| {name} | {first} | {last} |");
        }
        text
    }

    /// Returns each finding with the faults around it, in seconds from `start`.
    pub(crate) fn findings(&self, start: Instant) -> String {
        let mut text = String::new();
        let mut told = 0;
        self.tally.each(|finding| {
            told += 1;
            if told > TOLD {
                return;
            }
            let at = seconds(finding.at, start);
            let _ = writeln!(text, "{at} {}: {}", finding.kind, finding.what);
            for line in self.journal.around(finding.at, start) {
                let _ = writeln!(text, "    {line}");
            }
        });
        if let Some(more @ 1..) = told.checked_sub(TOLD) {
            let _ = writeln!(text, "and {more} more");
        }
        text
    }
}

/// Returns the last lines of a log.
pub(crate) fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Returns the tested commit, and whether the files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut command: Command = clean_command("git");
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments);
        run(command, Duration::from_secs(30)).stdout
    };
    let head = git(&["rev-parse", "HEAD"]);
    if head.is_empty() {
        return "unknown".to_owned();
    }
    let changed = git(&["status", "--porcelain"]);
    let how = if changed.is_empty() {
        ""
    } else {
        " with changes"
    };
    format!("{head}{how}")
}
