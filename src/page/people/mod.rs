//! The page for people: a status as one HTML document that loads nothing from elsewhere.

mod certificates;
mod chart;
mod disk;
mod events;
mod frame;
mod listeners;
mod markup;
mod policy;
mod processes;
mod query;
mod surroundings;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

use jiff::Timestamp;

use self::{markup::Html, words::Tone};
pub(super) use self::{policy::headers, query::Query};
use super::recent::Recent;
use crate::{
    control::Status,
    findings::{self, DEFAULTS, Finding, Level},
};

/// What the page shows.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// What runs and what it serves.
    pub(super) status: &'a Status,
    /// What the page remembers.
    pub(super) recent: &'a Recent,
    /// What the browser asks for.
    pub(super) query: &'a Query,
    /// The name of this host.
    pub(super) host: &'a str,
    /// The present.
    pub(super) now: Timestamp,
}

/// Returns the page.
pub(super) fn render(view: &View<'_>) -> String {
    let findings = findings::of(view.status, DEFAULTS, view.now);
    let headline = verdict::headline(&findings);
    let frame = frame::Frame {
        host: view.host,
        headline: &headline,
        tone: tone(&findings),
        now: view.now,
    };
    frame::write(&frame, |html| sections(html, view, &headline, &findings))
}

/// Returns the page that says that the supervisor does not answer, and why that is known.
pub(super) fn render_silence(host: &str, why: &str, now: Timestamp) -> String {
    let headline = "The supervisor does not answer";
    let frame = frame::Frame {
        host,
        headline,
        tone: Tone::Bad,
        now,
    };
    frame::write(&frame, |html| verdict::silence(html, headline, why))
}

fn sections(html: &mut Html, view: &View<'_>, headline: &str, findings: &[Finding]) {
    verdict::write(html, view, headline, findings);
    certificates::write(html, view);
    disk::write(html, view);
    listeners::write(html, view);
    listeners::write_backends(html, view);
    processes::write(html, view);
    events::write(html, view);
    surroundings::write(html, view);
}

/// Returns the tone of the worst finding, which is the first.
fn tone(findings: &[Finding]) -> Tone {
    Tone::of(findings.first().map_or(Level::Ok, |it| it.level))
}
