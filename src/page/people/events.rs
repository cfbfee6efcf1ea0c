//! What happened: a time line of the rarer things, and the newest events in words.

use std::{fmt::Display, time::Duration};

use jiff::Timestamp;

use super::{
    View,
    markup::Html,
    words::{Tone, ago, section, state, table},
};
use crate::{
    control::{Event, EventKind},
    facts::{amount, moment},
};

/// Events that are shown in words.
const MOST_EVENTS: usize = 50;

/// Marks on a lane, the newest ones.
const MOST_MARKS: usize = 200;

const HOUR: u64 = 3600;

/// The times that a time line can span, with their words; it spans the shortest that has all that is known.
const SPANS: [(u64, &str); 5] = [
    (HOUR, "1 hour"),
    (6 * HOUR, "6 hours"),
    (24 * HOUR, "24 hours"),
    (7 * 24 * HOUR, "7 days"),
    (30 * 24 * HOUR, "30 days"),
];

/// A row of the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Takeovers,
    Upgrades,
    Restarts,
    Reloads,
}

impl Lane {
    const ALL: [Self; 4] = [
        Self::Reloads,
        Self::Restarts,
        Self::Takeovers,
        Self::Upgrades,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Takeovers => "Takeovers",
            Self::Upgrades => "Upgrades",
            Self::Restarts => "Restarts",
            Self::Reloads => "Reloads",
        }
    }

    /// Returns the lane of a kind of event, and whether it tells of a failure; `None` if it is on none.
    fn of(kind: EventKind) -> Option<(Self, bool)> {
        match kind {
            EventKind::Reloaded | EventKind::RolledBack | EventKind::RollbackEnded => {
                Some((Self::Reloads, false))
            }
            EventKind::ReloadFailed => Some((Self::Reloads, true)),
            EventKind::Started | EventKind::WorkersFound => Some((Self::Restarts, false)),
            EventKind::WorkerFailed | EventKind::HelperFailed => Some((Self::Restarts, true)),
            EventKind::SessionsTakenOver | EventKind::WorkerHandedOver => {
                Some((Self::Takeovers, false))
            }
            EventKind::Upgraded => Some((Self::Upgrades, false)),
            EventKind::UpgradeFailed => Some((Self::Upgrades, true)),
            EventKind::Expired
            | EventKind::Unchanged
            | EventKind::WorkerServing
            | EventKind::ExitHook
            | EventKind::ExitHookSet
            | EventKind::Ending
            | EventKind::ClockJumped
            | EventKind::SessionsEnded
            | EventKind::SessionsRevoked => None,
        }
    }
}

/// A mark on a lane.
#[derive(Debug)]
struct Mark<'a> {
    event: &'a Event,
    failed: bool,
    /// Where it stands, in percent from the left.
    place: f64,
}

/// Writes the time line and the events.
pub(super) fn write(html: &mut Html, view: &View<'_>) {
    section(html, "events", "What happened", |html| {
        timeline(html, view);
        let headings = ["When", "What", "In words"];
        html.element_with("div", &[("class", &"events")], |html| {
            table(
                html,
                ("events-table", "The last events"),
                &headings,
                |html| {
                    for event in view.recent.events.iter().rev().take(MOST_EVENTS) {
                        html.element("tr", |html| row(html, event, view.now));
                    }
                },
            );
        });
        if view.recent.events.is_empty() {
            html.markup("<p class=\"note\">No event is known yet.</p>");
        } else {
            html.markup(
                "<p class=\"note\"><code>proxyctl events</code> lists all that are remembered.</p>",
            );
        }
    });
}

fn row(html: &mut Html, event: &Event, now: Timestamp) {
    let tone = match (event.kind, Lane::of(event.kind)) {
        (_, Some((_, true))) | (EventKind::Expired | EventKind::SessionsRevoked, _) => Tone::Odd,
        _ => Tone::Quiet,
    };
    html.element("td", |html| ago(html, event.at, now));
    html.element("td", |html| state(html, tone, event.kind.word()));
    html.words("td", "text", &event.message);
}

/// Returns how far back the time line goes, in seconds, and that in words.
fn span(events: &[&Event], now: Timestamp) -> (u64, &'static str) {
    let oldest = events.iter().map(|it| it.at).min().unwrap_or(now);
    let age = Duration::try_from(now.duration_since(oldest)).unwrap_or_default();
    let fits = SPANS.into_iter().find(|(span, _)| age.as_secs() <= *span);
    fits.unwrap_or(SPANS[SPANS.len() - 1])
}

/// Returns the marks of a lane within the last `span` seconds, the newest ones if there are very many.
fn marks<'a>(events: &[&'a Event], lane: Lane, span: u64, now: Timestamp) -> Vec<Mark<'a>> {
    #[allow(clippy::cast_precision_loss, reason = "a span is some days")]
    let whole = span as f64;
    let mut marks: Vec<_> = events
        .iter()
        .rev()
        .filter_map(|event| {
            let (of, failed) = Lane::of(event.kind)?;
            let age = now.duration_since(event.at).as_secs_f64().max(0.0);
            let place = 100.0 * (1.0 - age / whole);
            (of == lane && place >= 0.0).then_some(Mark {
                event,
                failed,
                place,
            })
        })
        .take(MOST_MARKS)
        .collect();
    marks.reverse();
    marks
}

fn timeline(html: &mut Html, view: &View<'_>) {
    let events: Vec<&Event> = view
        .recent
        .events
        .iter()
        .filter(|it| Lane::of(it.kind).is_some())
        .collect();
    let (span, words) = span(&events, view.now);
    html.element_with("dl", &[("class", &"lanes")], |html| {
        for lane in Lane::ALL {
            let marks = marks(&events, lane, span, view.now);
            html.words("dt", "", lane.name());
            html.element("dd", |html| draw(html, lane, &marks, words));
        }
        html.markup("<dt></dt>");
        html.element_with("dd", &[("class", &"axis")], |html| {
            html.element("span", |html| html.text(format_args!("{words} ago")));
            html.words("span", "", "now");
        });
    });
    html.markup("<p class=\"note\">A dot is what went as it should, a triangle is a failure.</p>");
}

fn draw(html: &mut Html, lane: Lane, marks: &[Mark<'_>], words: &str) {
    let failures = marks.iter().filter(|it| it.failed).count();
    let label = format!(
        "{} of the last {words}: {}, {}",
        lane.name(),
        amount((marks.len() - failures) as u64, "event"),
        amount(failures as u64, "failure")
    );
    let attributes: &[(&'static str, &dyn Display)] = &[
        ("width", &"100%"),
        ("height", &22),
        ("role", &"img"),
        ("aria-label", &label),
    ];
    html.element_with("svg", attributes, |html| {
        html.markup("<line class=\"lane\" x1=\"0\" x2=\"100%\" y1=\"11\" y2=\"11\"/>");
        for mark in marks {
            let place = format!("{:.2}%", mark.place);
            let title = format!("{}: {}", moment(mark.event.at), mark.event.message);
            if mark.failed {
                let at: &[(&'static str, &dyn Display)] =
                    &[("x", &place), ("y", &"11"), ("overflow", &"visible")];
                html.element_with("svg", at, |html| {
                    html.markup("<path class=\"mark odd\" d=\"M0-7 7 6H-7Z\">");
                    html.words("title", "", &title);
                    html.markup("</path>");
                });
            } else {
                let at: &[(&'static str, &dyn Display)] = &[
                    ("class", &"mark"),
                    ("cx", &place),
                    ("cy", &"11"),
                    ("r", &"5.5"),
                ];
                html.element_with("circle", at, |html| html.words("title", "", &title));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::at;

    fn event(kind: EventKind, when: &str) -> Event {
        Event {
            seq: 1,
            at: at(when),
            kind,
            message: String::new(),
        }
    }

    #[test]
    fn a_time_line_spans_what_is_known() {
        let now = at("2026-01-02T12:00:00Z");
        let span_of = |when: &str| span(&[&event(EventKind::Reloaded, when)], now).1;
        assert_eq!(span(&[], now).1, "1 hour");
        assert_eq!(span_of("2026-01-02T11:30:00Z"), "1 hour");
        assert_eq!(span_of("2026-01-02T10:30:00Z"), "6 hours");
        assert_eq!(span_of("2026-01-01T13:00:00Z"), "24 hours");
        assert_eq!(span_of("2020-01-01T13:00:00Z"), "30 days");
    }

    #[test]
    fn a_mark_stands_where_its_time_was_and_what_is_older_has_none() {
        let now = at("2026-01-02T12:00:00Z");
        let events = [
            event(EventKind::Reloaded, "2026-01-02T10:00:00Z"),
            event(EventKind::ReloadFailed, "2026-01-02T11:15:00Z"),
            event(EventKind::WorkerFailed, "2026-01-02T11:30:00Z"),
            event(EventKind::Reloaded, "2026-01-02T12:00:01Z"),
        ];
        let events: Vec<_> = events.iter().collect();
        let marks = marks(&events, Lane::Reloads, HOUR, now);
        let found: Vec<_> = marks
            .iter()
            .map(|it| (it.place.round(), it.failed))
            .collect();
        assert_eq!(found, [(25.0, true), (100.0, false)]);
    }
}
