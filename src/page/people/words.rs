//! Words, icons and moments that several parts of the page share.

use std::{fmt::Display, time::Duration};

use jiff::Timestamp;

use super::markup::Html;
use crate::{
    facts::{Moment, duration, moment},
    findings::Level,
};

/// What something means for the reader. Each has a colour, a shape and words beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Quiet,
    Odd,
    Bad,
}

impl Tone {
    /// Returns the name of its class.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Quiet => "quiet",
            Self::Odd => "odd",
            Self::Bad => "bad",
        }
    }

    /// Returns the tone of what is so urgent.
    pub(super) fn of(level: Level) -> Self {
        match level {
            Level::Ok => Self::Good,
            Level::Warning => Self::Odd,
            Level::Critical | Level::Unknown => Self::Bad,
        }
    }

    /// Writes its icon, which words must stand beside.
    pub(super) fn icon(self, html: &mut Html) {
        html.markup(match self {
            Self::Good => {
                "<svg class=\"icon good\" aria-hidden=\"true\" viewBox=\"0 0 16 16\"><use href=\"#icon-good\"/></svg>"
            }
            Self::Quiet => {
                "<svg class=\"icon quiet\" aria-hidden=\"true\" viewBox=\"0 0 16 16\"><use href=\"#icon-quiet\"/></svg>"
            }
            Self::Odd => {
                "<svg class=\"icon odd\" aria-hidden=\"true\" viewBox=\"0 0 16 16\"><use href=\"#icon-odd\"/></svg>"
            }
            Self::Bad => {
                "<svg class=\"icon bad\" aria-hidden=\"true\" viewBox=\"0 0 16 16\"><use href=\"#icon-bad\"/></svg>"
            }
        });
    }
}

/// Writes a word with the icon and colour of its tone.
pub(super) fn state(html: &mut Html, tone: Tone, word: impl Display) {
    let class = format!("state {}", tone.class());
    html.element_with("span", &[("class", &class)], |html| {
        tone.icon(html);
        html.text(word);
    });
}

/// Writes how long ago something was, with the moment behind it.
pub(super) fn ago(html: &mut Html, at: Timestamp, now: Timestamp) {
    let text = moment(at);
    html.element_with("time", &[("datetime", &text), ("title", &text)], |html| {
        match Duration::try_from(now.duration_since(at)) {
            Ok(time) if time < Duration::from_secs(1) => html.text("just now"),
            Ok(time) => html.text(format_args!("{} ago", duration(time))),
            Err(_) => html.text(format_args!(
                "in {}",
                duration(at.duration_since(now).unsigned_abs())
            )),
        }
    });
}

/// Writes the day of a moment, with the whole moment behind it.
pub(super) fn day(html: &mut Html, at: Moment) {
    let text = at.to_string();
    let day = text.split_once('T').map_or(&*text, |(day, _)| day);
    html.element_with("time", &[("datetime", &text), ("title", &text)], |html| {
        html.text(day);
    });
}

/// Returns how long it is until a moment, as `ends in 3d 4h` or `ended 2h 5m ago`.
pub(super) fn until(end: Moment, now: Timestamp) -> String {
    match Duration::try_from(end.duration_since(now)) {
        Ok(left) if left > Duration::from_secs(4000 * 86_400) => {
            "ends in over ten years".to_owned()
        }
        // Hours say nothing beside many days.
        Ok(left) if left > Duration::from_secs(10 * 86_400) => {
            format!("ends in {} days", left.as_secs() / 86_400)
        }
        Ok(left) => format!("ends in {}", duration(left)),
        Err(_) => {
            let over = now.duration_since(end.to_timestamp()).unsigned_abs();
            format!("ended {} ago", duration(over))
        }
    }
}

/// Writes a number with a space between thousands: `12 345`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            // A narrow space that does not break.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Writes a section with its heading; `inside` follows it.
pub(super) fn section(
    html: &mut Html,
    id: &'static str,
    heading: impl Display,
    inside: impl FnOnce(&mut Html),
) {
    let label = format!("{id}-heading");
    html.element_with(
        "section",
        &[("id", &id), ("aria-labelledby", &label)],
        |html| {
            html.element_with("h2", &[("id", &label)], |html| html.text(heading));
            inside(html);
        },
    );
}

/// Writes a table that scrolls by itself where it is wider than the window.
pub(super) fn table(
    html: &mut Html,
    (id, caption): (&'static str, &'static str),
    headings: &[&'static str],
    rows: impl FnOnce(&mut Html),
) {
    let attributes: &[(&'static str, &dyn Display)] = &[
        ("class", &"scrolls"),
        ("id", &id),
        ("role", &"region"),
        ("aria-label", &caption),
        ("tabindex", &0),
    ];
    html.element_with("div", attributes, |html| {
        html.element("table", |html| {
            html.words("caption", "unseen", caption);
            html.element("thead", |html| {
                html.element("tr", |html| {
                    for heading in headings {
                        html.element_with("th", &[("scope", &"col")], |it| it.text(heading));
                    }
                });
            });
            html.element("tbody", rows);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::at;

    #[test]
    fn numbers_are_grouped() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1\u{202f}000"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn an_end_is_told_as_people_say_it() {
        let now = at("2026-01-02T00:00:00Z");
        let end = |text: &str| until(text.parse().unwrap(), now);
        assert_eq!(end("2026-04-01T12:00:00Z"), "ends in 89 days");
        assert_eq!(end("2026-01-03T01:00:00Z"), "ends in 1d 1h");
        assert_eq!(end("2026-01-01T23:00:00Z"), "ended 1h ago");
        assert_eq!(end("9999-12-31T23:59:59Z"), "ends in over ten years");
    }
}
