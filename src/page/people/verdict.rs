//! What stands at the top: whether an operator must act, and how.

use std::{fmt::Display, time::Duration};

use super::{
    View,
    markup::Html,
    words::{ago, number, until},
};
use crate::{
    facts::{amount, duration},
    findings::{Finding, Level, soonest},
};

/// How many findings are shown of each level.
const MOST_SHOWN: usize = 12;

/// Returns the verdict in a few words.
pub(super) fn headline(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|it| it.level == level).count();
    match (count(Level::Critical), count(Level::Warning)) {
        (0, 0) => "All is well".to_owned(),
        (0, 1) => "Nothing is urgent, 1 thing to look into".to_owned(),
        (0, warnings) => format!("Nothing is urgent, {warnings} things to look into"),
        (1, _) => "1 thing needs you now".to_owned(),
        (all, _) => format!("{all} things need you now"),
    }
}

/// Writes the verdict, what to do, and the figures that people look for first.
pub(super) fn write(html: &mut Html, view: &View<'_>, headline: &str, findings: &[Finding]) {
    let tone = super::tone(findings);
    boxed(html, tone, headline, |html| {
        html.element_with("p", &[("class", &"summary")], |html| summary(html, view));
        for level in [Level::Critical, Level::Warning] {
            list(html, level, findings);
        }
    });
    figures(html, view);
}

/// Writes that the supervisor does not answer.
pub(super) fn silence(html: &mut Html, headline: &str, why: &str) {
    boxed(html, super::Tone::Bad, headline, |html| {
        html.element_with("p", &[("id", &"why"), ("class", &"summary")], |html| {
            html.text(why);
        });
        html.markup(concat!(
            "<p>Sessions that are open go on without it, and workers go on accepting for a while. ",
            "<code>proxyctl status</code> asks it once more; <code>systemctl status proxyd</code> and ",
            "<code>journalctl -u proxyd</code> tell what became of it where systemd runs it. ",
            "This page goes on asking every 10 seconds.</p>"
        ));
    });
}

fn boxed(html: &mut Html, tone: super::Tone, headline: &str, inside: impl FnOnce(&mut Html)) {
    let class = format!("verdict {}", tone.class());
    let attributes: &[(&'static str, &dyn Display)] =
        &[("class", &class), ("aria-labelledby", &"headline")];
    html.element_with("section", attributes, |html| {
        html.element_with("h1", &[("id", &"headline")], |html| {
            tone.icon(html);
            html.text(headline);
        });
        inside(html);
    });
}

/// Says in a line what is served.
fn summary(html: &mut Html, view: &View<'_>) {
    let status = view.status;
    let workers = amount(status.serving() as u64, "worker");
    html.text(format_args!(
        "Generation {} on {workers}, loaded ",
        status.tls.generation
    ));
    ago(html, status.tls.loaded_at, view.now);
    if let Some(first) = soonest(status).next() {
        let end = until(first.path_not_after, view.now);
        html.markup(". First certificate to end: ");
        html.words("strong", "", &first.name);
        html.text(format_args!(", {end}"));
    }
    html.markup(if status.tls.restart_safe {
        ". A restart is safe."
    } else {
        "."
    });
}

fn list(html: &mut Html, level: Level, findings: &[Finding]) {
    let found: Vec<_> = findings.iter().filter(|it| it.level == level).collect();
    if found.is_empty() {
        return;
    }
    let (tone, word) = (
        super::Tone::of(level),
        if level == Level::Critical {
            "Act now"
        } else {
            "Look into it"
        },
    );
    html.element_with("ul", &[("class", &"findings")], |html| {
        for finding in found.iter().take(MOST_SHOWN) {
            html.element("li", |html| {
                super::words::state(html, tone, word);
                html.element_with("p", &[("class", &"what")], |html| {
                    html.prose(&finding.message);
                });
                if !finding.advice.is_empty() {
                    let attributes: &[(&'static str, &dyn Display)] = &[("class", &"advice")];
                    html.element_with("p", attributes, |html| html.prose(finding.advice));
                }
            });
        }
        if let Some(more @ 1..) = found.len().checked_sub(MOST_SHOWN) {
            html.element("li", |html| {
                html.text(format_args!("and {more} more; "));
                html.markup("<code>proxyctl --json check</code> lists all of them");
            });
        }
    });
}

fn figures(html: &mut Html, view: &View<'_>) {
    let status = view.status;
    let slots = status.slots() as u64;
    let up = Duration::try_from_secs_f64(status.supervisor.uptime_s).unwrap_or_default();
    let kept = format!("{} outlive their worker", number(status.sessions.kept));
    let rows = [
        ("Sessions open", number(status.sessions.open), kept),
        (
            "Workers serving",
            number(status.serving() as u64),
            format!("of {}", amount(slots, "slot")),
        ),
        (
            "Taken over",
            number(status.sessions.taken_over_total),
            format!("{} lost", number(status.sessions.lost_total)),
        ),
        (
            "Restarts",
            number(status.restarts.total),
            format!("{} done", amount(status.upgrades.total, "upgrade")),
        ),
        (
            "Identities",
            number(status.tls.identities.len() as u64),
            format!("on {}", amount(status.listeners.len() as u64, "listener")),
        ),
        (
            "Up for",
            duration(up),
            format!(
                "{}, pid {}",
                status.supervisor.state.word(),
                status.supervisor.pid
            ),
        ),
    ];
    html.element_with("dl", &[("class", &"figures")], |html| {
        for (name, value, note) in rows {
            html.element("div", |html| {
                html.words("dt", "", name);
                html.words("dd", "value", value);
                html.words("dd", "note", note);
            });
        }
    });
}
