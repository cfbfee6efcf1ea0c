//! The listeners with their sessions, and the backends behind them.

use std::{collections::VecDeque, fmt::Display};

use super::{
    View,
    certificates::certificate,
    chart::{self, Values},
    markup::Html,
    words::{Tone, ago, number, section, state, table, until},
};
use crate::{
    control::ListenerStatus,
    facts::{BackendStatus, amount, bytes, moment},
    page::recent::{POINTS, Point, STEP},
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
                html.element("li", |html| one(html, listener, view));
            }
        });
        left_out(html, all.len(), MOST_LISTENERS, "listener");
        history(html, view);
    });
}

fn one(html: &mut Html, listener: &ListenerStatus, view: &View<'_>) {
    html.element("h3", |html| {
        html.text(&listener.name);
        html.words(
            "span",
            "where",
            format_args!("{} at {}", listener.protocol, listener.bind),
        );
    });
    if let Some(points) = view.recent.history.of(&listener.name) {
        html.element_with("div", &[("class", &"charts")], |html| {
            sessions(html, listener, points);
            traffic(html, points);
            failures(html, points);
        });
    }
    totals(html, listener);
}

/// Says since when the charts know anything.
fn history(html: &mut Html, view: &View<'_>) {
    let recent = view.recent;
    html.element_with("p", &[("class", &"note")], |html| {
        if recent.history.length() < POINTS {
            html.markup("The charts cover the last hour. The process of this page began at ");
            html.text(moment(recent.since));
            html.markup(" and has no figures from before. ");
        } else {
            html.markup("The charts cover the last hour. ");
        }
        html.markup("A gap is a time without figures.");
    });
}

type Points = VecDeque<Option<Point>>;

fn values(points: &Points, of: fn(Point) -> u64, join: fn(u64, u64) -> u64) -> Values {
    chart::places(points.iter().map(|it| it.map(of)), join)
}

/// Returns the greatest of these values.
fn most(values: &Values) -> u64 {
    values.iter().flatten().copied().max().unwrap_or(0)
}

fn sessions(html: &mut Html, listener: &ListenerStatus, points: &Points) {
    let open = values(points, |it| it.open.into(), u64::max);
    let most = most(&open).max(listener.connections.open);
    let now = number(listener.connections.open);
    let label = format!(
        "Sessions open in the last hour: now {now}, at most {}",
        number(most)
    );
    let end = chart::scale(most);
    let words = |html: &mut Html| {
        html.element("span", |html| {
            html.markup("Sessions ");
            html.words("strong", "", now);
        });
        html.words("span", "", format_args!("at most {}", number(most)));
    };
    let paths = [
        ("area", chart::area(&open, end)),
        ("line", chart::line(&open, end)),
    ];
    chart::write(html, &label, words, &paths);
}

fn traffic(html: &mut Html, points: &Points) {
    let (up, down) = (
        values(points, |it| it.bytes_up, u64::saturating_add),
        values(points, |it| it.bytes_down, u64::saturating_add),
    );
    // The first point after a gap has all that came in the gap, in an unknown time.
    let mut newest = points.iter().rev().copied();
    let last = match (newest.next().flatten(), newest.next().flatten()) {
        (Some(last), Some(_)) => last,
        _ => Point::default(),
    };
    let rate = |it: u64| format!("{}B/s", bytes(it / STEP.as_secs()));
    let (now_up, now_down) = (rate(last.bytes_up), rate(last.bytes_down));
    let sum = |values: &Values| {
        bytes(
            values
                .iter()
                .flatten()
                .fold(0, |sum, it| it.saturating_add(sum)),
        )
    };
    let label = format!(
        "Bytes in the last hour: {}B to backends, {}B to clients; now {now_up} to backends, {now_down} to clients",
        sum(&up),
        sum(&down)
    );
    let end = chart::scale(most(&up).max(most(&down)));
    let words = |html: &mut Html| {
        html.element("span", |html| {
            html.markup("<span class=\"key\"></span>To backends ");
            html.words("strong", "", now_up);
        });
        html.element("span", |html| {
            html.markup("<span class=\"key two\"></span>To clients ");
            html.words("strong", "", now_down);
        });
    };
    let paths = [
        ("line", chart::line(&up, end)),
        ("line two", chart::line(&down, end)),
    ];
    chart::write(html, &label, words, &paths);
}

fn failures(html: &mut Html, points: &Points) {
    let failed = values(points, |it| it.failed.into(), u64::saturating_add);
    let sum: u64 = failed.iter().flatten().sum();
    let label = format!("Sessions that failed in the last hour: {}", number(sum));
    let words = |html: &mut Html| {
        html.element("span", |html| {
            html.markup("Failures ");
            html.words("strong", "", number(sum));
        });
        html.markup("<span>in the last hour</span>");
    };
    let paths = [("bars", chart::bars(&failed, chart::scale(most(&failed))))];
    chart::write(html, &label, words, &paths);
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
        if let Some(reasons) = counts.failed_by_reason.listed(number) {
            html.text(format_args!(" ({reasons})"));
        }
    });
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
        state(html, Tone::Good, "connects; changed ");
    } else {
        state(html, Tone::Odd, "down; changed ");
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
            html.text(until(facts.not_after, view.now));
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
