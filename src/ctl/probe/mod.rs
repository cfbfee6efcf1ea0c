//! `probe`: what servers show their clients, asked from outside.

mod document;
mod judge;
mod sources;
mod table;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::runtime::Builder;

use self::{
    document::{Document, ServerDocument},
    judge::{Rules, Verdict},
    sources::Sources,
};
use super::{
    CtlError, Output,
    check::{exit_code, plugin_line},
    render::Paint,
};
use crate::{
    cli::proxyctl::{Probe, Proxyctl},
    findings::{Level, Thresholds},
    probe::{self, Report},
};

/// The longest that one server may take: a deadline has to be a moment that a clock can tell.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The most threads that look names up.
const LOOKUPS: usize = 64;

/// Asks servers and tells how bad what they show is.
pub(super) fn run(arguments: &Proxyctl, how: &Probe, output: &mut Output) -> Result<u8, CtlError> {
    if how.warns_too_late() {
        return Err(CtlError::WarnsTooLate);
    }
    let named = sources::targets(how)?;
    let document = match sources::read(how) {
        Ok(sources) => answer(arguments, how, named, sources)?,
        Err(error) => Document::unknown(error.to_string()),
    };
    let code = exit_code(document.state);
    output.verdict(&document, |paint| text(&document, paint))?;
    Ok(code)
}

fn answer(
    arguments: &Proxyctl,
    how: &Probe,
    mut targets: Vec<probe::Target>,
    sources: Sources,
) -> Result<Document, CtlError> {
    targets.extend(sources.hosts);
    if targets.is_empty() {
        let message = "no server is named: the list of --hosts holds none".to_owned();
        return Ok(Document::unknown(message));
    }
    let rules = Rules {
        thresholds: Thresholds::or_default(how.warn, how.critical),
        trusts_system: how.ca.is_none(),
        expected: sources.expected,
    };
    let probe = probe::Probe {
        timeout: arguments.timeout().min(LONGEST),
        judge: Arc::new(sources.judge),
    };
    let reports = ask(&probe, targets)?;
    let now = Timestamp::now();
    let servers = reports.iter().map(|report| {
        let verdict = Verdict::of(report, &rules, now);
        ServerDocument::new(report, verdict, &rules, now)
    });
    Ok(Document::of(servers.collect(), &rules, now))
}

fn ask(probe: &probe::Probe, targets: Vec<probe::Target>) -> Result<Vec<Report>, CtlError> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(LOOKUPS)
        .build()?;
    let reports = runtime.block_on(probe::ask_all(probe, targets));
    // A lookup whose time is over must not keep the program from ending.
    runtime.shutdown_background();
    Ok(reports)
}

fn text(document: &Document, paint: Paint) -> String {
    let messages: Vec<_> = document.messages().collect();
    let messages = messages.iter().map(|it| &**it);
    let line = plugin_line(
        document.state,
        messages,
        &document.summary,
        &document.numbers,
    );
    // Monitoring systems take what follows a bar on any line for numbers.
    let table = table::table(document, paint).replace('|', "/");
    line + &table
}

fn tone(level: Level) -> super::render::Tone {
    use super::render::Tone;
    match level {
        Level::Ok => Tone::Good,
        Level::Warning => Tone::Odd,
        Level::Critical | Level::Unknown => Tone::Bad,
    }
}

#[cfg(test)]
mod tests;
