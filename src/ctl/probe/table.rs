//! What a probe found, for people.

use std::fmt::Write as _;

use super::{
    document::{Document, ServerDocument},
    tone,
};
use crate::ctl::{
    check::word,
    render::{Cell, Paint, Table, Tone, clean, one_line, short},
};

/// Up to how many servers all that they show is shown.
const SHOWN_WHOLE: usize = 4;

/// Returns a row for each server, what is wrong with it, and of a few servers all that they show.
pub(super) fn table(document: &Document, paint: Paint) -> String {
    let servers = &document.servers;
    if servers.is_empty() {
        return String::new();
    }
    let mut text = overview(document, paint);
    for server in servers {
        text.push_str(&faults(server, paint));
    }
    if servers.len() <= SHOWN_WHOLE {
        for server in servers.iter().filter(|it| it.tls.is_some()) {
            text.push_str(&whole(server, paint));
        }
    }
    text
}

fn overview(document: &Document, paint: Paint) -> String {
    let expects = document.expected.is_some();
    let expected = expects.then_some("EXPECTED");
    let headings = ["SERVER", "STATE", "PROTOCOL", "TLS", "VERIFIED"];
    let others = ["DAYS LEFT", "SHA256", "SUBJECT"];
    let headings: Vec<_> = headings.into_iter().chain(expected).chain(others).collect();
    let mut table = Table::new(&headings);
    for it in &document.servers {
        let days = it.days_left.map(|days| days.to_string());
        let subject = it.chain.first().map_or("-", |leaf| &leaf.subject);
        let first = [
            Cell::plain(it.label()),
            Cell::new(word(it.state), tone(it.state)),
            Cell::plain(it.protocol),
            Cell::plain(it.tls.as_ref().map_or("-", |tls| tls.version)),
            truth(it.verified),
        ];
        let last = [
            Cell::plain(days.as_deref().unwrap_or("-")),
            Cell::plain(it.sha256.as_deref().map_or("-", short)),
            Cell::plain(subject),
        ];
        let expected = expects.then(|| truth(it.expected));
        table.row(first.into_iter().chain(expected).chain(last));
    }
    table.text(paint)
}

fn truth(is: Option<bool>) -> Cell {
    match is {
        Some(true) => Cell::new("yes", Tone::Good),
        Some(false) => Cell::new("no", Tone::Bad),
        None => Cell::plain("-"),
    }
}

fn faults(server: &ServerDocument, paint: Paint) -> String {
    let mut text = String::new();
    for finding in &server.findings {
        let state = paint.paint(word(finding.level), tone(finding.level));
        let (label, message) = (one_line(&server.label()), one_line(&finding.message));
        let _ = writeln!(text, "  {state} {label}: {message}");
    }
    text
}

/// Returns all that a server shows.
fn whole(server: &ServerDocument, paint: Paint) -> String {
    let mut text = String::new();
    let heading = paint.paint(&one_line(&server.label()), Tone::Heading);
    let _ = writeln!(text, "{heading}");
    let mut line = |what: &str, value: &str| {
        let _ = writeln!(text, "  {what:<11} {}", one_line(value));
    };
    if let Some(tls) = &server.tls {
        let parts = [Some(tls.version), tls.suite, tls.group.as_deref()];
        line(
            "TLS",
            &parts.into_iter().flatten().collect::<Vec<_>>().join(", "),
        );
    }
    line(
        "name",
        server
            .name
            .as_deref()
            .unwrap_or("none is checked; name one by --name"),
    );
    if server.asks_for_client_certificate {
        line("client", "it asks for a client certificate");
    }
    for (place, it) in server.chain.iter().enumerate() {
        let _ = writeln!(
            text,
            "  certificate {} of {}",
            place + 1,
            server.chain.len()
        );
        let mut line = |what: &str, value: &str| {
            let _ = writeln!(text, "    {what:<9} {}", clean(&one_line(value)));
        };
        line("subject", &it.subject);
        line("issuer", &it.issuer);
        line("serial", &it.serial);
        line("sha256", &it.sha256);
        line("valid", &format!("{} to {}", it.not_before, it.not_after));
        line("key", &it.key_type);
        if !it.dns_names.is_empty() {
            line("names", &it.dns_names.join(", "));
        }
    }
    text
}
