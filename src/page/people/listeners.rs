//! The listeners with their sessions, and the backends behind them.

use std::fmt::Display;

use super::{
    View,
    certificates::certificate,
    markup::Html,
    words::{Tone, ago, number, section, state, table, until},
};
use crate::{
    control::ListenerStatus,
    facts::{BackendStatus, Reason, Tally, amount},
};

/// Listeners that are shown; a document with thousands would be no help.
const MOST_LISTENERS: usize = 100;

/// Backends that are shown.
const MOST_BACKENDS: usize = 200;

/// Writes the listeners.
pub(super) fn write(html: &mut Html, view: &View<'_>) {
    let all = &view.status.listeners;
    section(html, "listeners", "Listeners", |html| {
        html.element_with("ul", &[("class", &"listeners")], |html| {
            for listener in all.iter().take(MOST_LISTENERS) {
                html.element("li", |html| one(html, listener));
            }
        });
        left_out(html, all.len(), MOST_LISTENERS, "listener");
    });
}

fn one(html: &mut Html, listener: &ListenerStatus) {
    html.element("h3", |html| {
        html.text(&listener.name);
        html.words(
            "span",
            "where",
            format_args!("{} at {}", listener.protocol, listener.bind),
        );
    });
    totals(html, listener);
}

/// Writes what was counted since the daemon began.
fn totals(html: &mut Html, listener: &ListenerStatus) {
    let counts = &listener.connections;
    html.element_with("p", &[("class", &"note")], |html| {
        html.text(format_args!(
            "{} open, {} accepted since the daemon began",
            number(counts.open),
            number(counts.total)
        ));
        let failures = [
            (counts.failed_handshakes, "failed handshake"),
            (counts.failed_backends, "without a backend"),
            (counts.refused, "refused because it was full"),
        ];
        for (count, what) in failures.into_iter().filter(|it| it.0 > 0) {
            html.text(format_args!("; {} {what}", number(count)));
            html.markup(if what == "failed handshake" && count != 1 {
                "s"
            } else {
                ""
            });
        }
        if let Some(reasons) = by_reason(&counts.failed_by_reason) {
            html.text(format_args!(" ({reasons})"));
        }
    });
}

fn by_reason<R: Reason<N>, const N: usize>(counts: &Tally<R, N>) -> Option<String> {
    let words: Vec<_> = counts
        .counted()
        .map(|(reason, count)| format!("{} {}", number(count), reason.name()))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Writes the backends with their health and certificates.
pub(super) fn write_backends(html: &mut Html, view: &View<'_>) {
    let listeners = view.status.listeners.iter();
    let all: Vec<_> = listeners
        .flat_map(|listener| listener.backends.iter().map(move |it| (listener, it)))
        .collect();
    section(html, "backends", "Backends", |html| {
        let headings = [
            "Backend",
            "Of listener",
            "Health",
            "Connects",
            "Certificate",
            "Last failure",
        ];
        table(html, ("backends-table", "Backends"), &headings, |html| {
            for (listener, backend) in all.iter().take(MOST_BACKENDS) {
                html.element("tr", |html| {
                    html.element_with("th", &[("scope", &"row")], |it| it.text(&backend.address));
                    html.words("td", "", &listener.name);
                    html.element("td", |html| health(html, backend, view));
                    html.element("td", |html| connects(html, backend));
                    html.element("td", |html| shown(html, listener, backend, view));
                    html.element_with("td", &[("class", &"text")], |html| {
                        failure(html, backend, view);
                    });
                });
            }
        });
        left_out(html, all.len(), MOST_BACKENDS, "backend");
    });
}

fn health(html: &mut Html, backend: &BackendStatus, view: &View<'_>) {
    let Some(since) = backend.since else {
        return state(html, Tone::Quiet, "not used yet");
    };
    if backend.healthy {
        state(html, Tone::Good, "connects, since ");
    } else {
        state(html, Tone::Odd, "down, since ");
    }
    ago(html, since, view.now);
}

fn connects(html: &mut Html, backend: &BackendStatus) {
    html.text(number(backend.connected));
    if backend.failed > 0 {
        html.text(format_args!(", {} failed", number(backend.failed)));
    }
}

fn failure(html: &mut Html, backend: &BackendStatus, view: &View<'_>) {
    let (Some(error), Some(at)) = (&backend.last_error, backend.last_error_at) else {
        return html.markup("none");
    };
    html.text(error);
    html.markup(", ");
    ago(html, at, view.now);
}

/// Writes the certificate that a backend showed last.
fn shown(html: &mut Html, listener: &ListenerStatus, backend: &BackendStatus, view: &View<'_>) {
    let Some(facts) = &backend.certificate else {
        return html.markup("none shown");
    };
    let id = format!(
        "backend-{}-{}",
        super::query::encoded(&listener.name),
        super::query::encoded(&backend.address)
    );
    let attributes: &[(&'static str, &dyn Display)] = &[("id", &id), ("class", &"more")];
    html.element_with("details", attributes, |html| {
        html.element("summary", |html| {
            html.text(until(facts.not_after, view.now))
        });
        html.element_with("ol", &[("class", &"chain")], |html| {
            certificate(html, "Leaf", facts, view);
        });
    });
}

/// Says how many are not shown.
fn left_out(html: &mut Html, all: usize, most: usize, noun: &'static str) {
    if let Some(more @ 1..) = all.checked_sub(most) {
        html.element_with("p", &[("class", &"note")], |html| {
            html.text(format_args!("{} more: ", amount(more as u64, noun)));
            html.markup("<code>proxyctl status</code> lists all of them.");
        });
    }
}
