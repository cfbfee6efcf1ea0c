//! The document around the sections: head, header, what refreshes it, and footer.

use std::fmt::Display;

use jiff::Timestamp;

use super::{markup::Html, policy, words::Tone};
use crate::facts::{PROGRAM_VERSION, moment};

/// What every page says.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    /// The name of this host; empty if it is not known.
    pub(super) host: &'a str,
    /// The verdict in words.
    pub(super) headline: &'a str,
    /// The verdict's tone.
    pub(super) tone: Tone,
    /// The present.
    pub(super) now: Timestamp,
}

/// Writes the document, with `main` as its main part.
pub(super) fn write(frame: &Frame<'_>, main: impl FnOnce(&mut Html)) -> String {
    let mut html = Html::default();
    html.markup("<!DOCTYPE html>\n<html lang=\"en\">\n");
    html.element("head", |html| head(html, frame));
    html.markup("\n");
    html.element("body", |html| {
        html.markup(ICONS);
        html.markup("<a class=\"skip\" href=\"#main\">Skip to the verdict</a>\n");
        html.element("header", |html| header(html, frame));
        html.markup(SILENCE);
        let attributes: &[(&'static str, &dyn Display)] = &[("id", &"main"), ("tabindex", &-1)];
        html.element_with("main", attributes, main);
        html.element("footer", footer);
        html.markup("<script>");
        html.markup(policy::SCRIPT);
        html.markup("</script>");
    });
    html.markup("\n</html>\n");
    html.finish()
}

fn head(html: &mut Html, frame: &Frame<'_>) {
    html.markup(concat!(
        "\n<meta charset=\"utf-8\">\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        "<meta name=\"color-scheme\" content=\"light dark\">\n",
        "<meta name=\"robots\" content=\"noindex\">\n",
        "<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\n",
    ));
    html.element("title", |html| {
        html.text(frame.headline);
        html.markup(" · proxyd");
        if !frame.host.is_empty() {
            html.text(format_args!(" on {}", frame.host));
        }
    });
    html.markup(match frame.tone {
        Tone::Good | Tone::Quiet => policy::ICON_GOOD,
        Tone::Odd => policy::ICON_ODD,
        Tone::Bad => policy::ICON_BAD,
    });
    html.markup("<style>");
    html.markup(policy::STYLE);
    html.markup("</style>\n");
}

fn header(html: &mut Html, frame: &Frame<'_>) {
    html.element_with("p", &[("class", &"name")], |html| {
        html.words("strong", "", "proxyd");
        if !frame.host.is_empty() {
            html.markup(" on ");
            html.words("span", "host", frame.host);
        }
    });
    html.element_with("p", &[("class", &"updated")], |html| {
        let text = moment(frame.now);
        let clock = text.get(11..19).unwrap_or(&text);
        html.markup("As of ");
        html.element_with("time", &[("id", &"updated"), ("datetime", &text)], |html| {
            html.text(format_args!("{clock} UTC"));
        });
        html.markup("<span id=\"every\"></span>");
    });
    // What a screen reader says when the verdict changes; the rest of a refresh is silent.
    html.element_with(
        "p",
        &[("id", &"said"), ("class", &"unseen"), ("role", &"status")],
        |html| html.text(frame.headline),
    );
}

fn footer(html: &mut Html) {
    html.element("p", |html| {
        html.text(format_args!("proxyd {PROGRAM_VERSION}. "));
        html.markup(concat!(
            "All times are UTC. For monitoring systems: ",
            "<a href=\"/metrics\">/metrics</a>, <a href=\"/healthz\">/healthz</a>, ",
            "<a href=\"/readyz\">/readyz</a>. In a terminal: <code>proxyctl status</code>, ",
            "<code>proxyctl check</code>, <code>proxyctl events</code>."
        ));
    });
}

/// Where the script says that no answer came.
const SILENCE: &str = "<p id=\"silence\" role=\"alert\" hidden></p>\n";

/// The shapes of the icons: a tick, a dot, a triangle and an octagon with exclamation marks, so that shapes alone tell
/// them apart.
const ICONS: &str = concat!(
    "<svg width=\"0\" height=\"0\" class=\"shapes\" aria-hidden=\"true\"><defs>",
    "<symbol id=\"icon-good\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"7.5\"/>",
    "<path class=\"sign\" d=\"M4.5 8.3 7 10.7 11.6 5.6\"/></symbol>",
    "<symbol id=\"icon-quiet\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"4\"/></symbol>",
    "<symbol id=\"icon-odd\" viewBox=\"0 0 16 16\"><path d=\"M8 .8 15.7 14.6H.3Z\"/>",
    "<path class=\"sign\" d=\"M8 5.6V9.6M8 12V12.4\"/></symbol>",
    "<symbol id=\"icon-bad\" viewBox=\"0 0 16 16\"><path d=\"M4.8.4H11.2L15.6 4.8V11.2L11.2 15.6H4.8L.4 11.2V4.8Z\"/>",
    "<path class=\"sign\" d=\"M8 3.8V8.8M8 11.7V12.1\"/></symbol>",
    "</defs></svg>\n"
);
