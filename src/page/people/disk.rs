//! What the disk has, and whether a restart is safe.

use super::{
    View,
    markup::Html,
    words::{Tone, ago, section, state},
};
use crate::{
    control::{DiskState, TlsStatus, WatchState},
    facts::seconds,
};

/// Writes how the disk stands to what is served.
pub(super) fn write(html: &mut Html, view: &View<'_>) {
    let tls = &view.status.tls;
    section(html, "disk", "On disk", |html| {
        html.element_with("dl", &[("class", &"facts")], |html| {
            let mut row = |name: &'static str, inside: &dyn Fn(&mut Html)| {
                html.element("div", |html| {
                    html.words("dt", "", name);
                    html.element("dd", inside);
                });
            };
            row("Files", &|html| files(html, view));
            row("Restart", &|html| restart(html, tls));
            row("Loaded", &|html| {
                html.text(format_args!(
                    "generation {} by {}, ",
                    tls.generation, tls.trigger
                ));
                ago(html, tls.loaded_at, view.now);
            });
            row("Watched", &|html| watched(html, tls));
            if let Some(error) = &tls.last_error {
                row("Last load", &|html| {
                    state(html, Tone::Bad, "failed ");
                    ago(html, error.at, view.now);
                    html.text(format_args!(" ({}): ", error.trigger));
                    html.prose(&error.message);
                });
            }
            if let Some(rollback) = &tls.rollback {
                row("Rollback", &|html| {
                    let to = rollback.to_generation;
                    state(html, Tone::Odd, format_args!("to generation {to}, "));
                    ago(html, rollback.since, view.now);
                    html.markup("; <code>proxyctl reload-tls</code> serves what is on disk");
                });
            }
            if !tls.not_tried.is_empty() {
                row("Not tried", &|html| html.text(tls.not_tried.join("; ")));
            }
        });
    });
}

fn files(html: &mut Html, view: &View<'_>) {
    let disk = &view.status.tls.disk;
    let (tone, word) = match (disk.state, disk.settling) {
        (DiskState::Same, _) => (Tone::Good, "what is served"),
        (_, true) => (Tone::Quiet, "may be being written"),
        (DiskState::Changed, _) => (Tone::Odd, "changed since; a reload would serve it"),
        (DiskState::Invalid, _) => (Tone::Bad, "invalid; what was last good is served"),
    };
    state(html, tone, word);
    html.markup("; first seen ");
    ago(html, disk.since, view.now);
    if let Some(reason) = &disk.reason {
        html.markup(": ");
        html.prose(reason);
    }
}

fn restart(html: &mut Html, tls: &TlsStatus) {
    if tls.restart_safe {
        state(
            html,
            Tone::Good,
            "safe: a cold start would serve everything",
        );
    } else if tls.disk.leaves_open() {
        state(html, Tone::Odd, "not known");
    } else {
        state(
            html,
            Tone::Bad,
            "not safe: a cold start would fail or serve less",
        );
    }
    if let Some(unseen) = &tls.disk.unseen {
        html.markup(": ");
        html.prose(unseen);
    }
}

fn watched(html: &mut Html, tls: &TlsStatus) {
    let every = seconds(tls.watch.interval_s);
    match tls.watch.state {
        WatchState::Off => html.markup("no, it reloads only when told"),
        WatchState::Events => html.text(format_args!("as files change, and every {every}")),
        WatchState::Interval => {
            html.text(format_args!("every {every}"));
            if let Some(reason) = &tls.watch.reason {
                html.text(format_args!(", because {reason}"));
            }
        }
    }
}
