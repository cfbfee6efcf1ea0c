//! The forms of a log line: text, JSON, or for the journal of systemd.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use nix::sys::stat::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{config::LogFormat, sys::files::Standard};

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Text with time and level.
    Text,
    /// One JSON object a line.
    Json,
    /// For the journal, which has a time of its own: a priority in the form of sd-daemon(3) and
    /// the message, always in one line.
    Journal,
}

impl Form {
    /// Returns the form of lines in `format` that go to `descriptor`, or to a file without one.
    pub fn of(format: LogFormat, descriptor: Option<Standard>) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text if descriptor.is_some_and(leads_to_journal) => Self::Journal,
            LogFormat::Text => Self::Text,
        }
    }

    /// Returns the line that reports lost lines.
    pub(super) fn loss(self, number: u64, why: &str) -> Vec<u8> {
        let message = match number {
            1 => format!("1 log line was lost because {why}"),
            _ => format!("{number} log lines were lost because {why}"),
        };
        let now = Timestamp::now();
        let line = match self {
            Self::Text => format!("{now:.6}  WARN {message} lost_lines={number}\n"),
            Self::Journal => format!("<4>{} lost_lines={number}\n", one_line(&message)),
            Self::Json => {
                let document = serde_json::json!({
                    "timestamp": format!("{now:.6}"),
                    "level": "WARN",
                    "message": message,
                    "lost_lines": number,
                });
                format!("{document}\n")
            }
        };
        line.into_bytes()
    }
}

/// Whether this descriptor is connected to the journal, according to systemd (systemd.exec(5),
/// `JOURNAL_STREAM`).
pub(crate) fn leads_to_journal(descriptor: Standard) -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let about = descriptor.with(|fd| fstat(fd));
    about.is_ok_and(|about| names(&named, about.st_dev, about.st_ino))
}

/// Whether a `JOURNAL_STREAM` names this device and inode: two decimal numbers with a colon between.
fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream == format!("{device}:{inode}")
}

/// Returns the priority of a level, as a number of sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Formats events for the journal.
#[derive(Debug)]
pub(super) struct JournalLines;

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        let priority = priority(*event.metadata().level());
        writeln!(writer, "<{priority}>{}", one_line(&text))
    }
}

/// Returns `text` without line breaks, at which the journal would begin another record.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) {
        Cow::Owned(text.replace('\r', "").replace('\n', "\\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Gives a line without a priority that of an error: a worker writes such a line only when it panics.
pub(super) fn with_priority(line: &str) -> Cow<'_, str> {
    match line.as_bytes() {
        [b'<', b'0'..=b'7', b'>', ..] => Cow::Borrowed(line),
        _ => Cow::Owned(format!("<3>{line}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_stream_is_a_device_and_an_inode() {
        assert!(names("8:1234", 8, 1234));
        for other in ["", "8:12345", "8", "1234:8", " 8:1234"] {
            assert!(!names(other, 8, 1234), "{other}");
        }
    }

    #[test]
    fn a_record_of_the_journal_is_one_line_with_a_priority() {
        assert_eq!(with_priority("<6>fine"), "<6>fine");
        assert_eq!(with_priority("thread panicked"), "<3>thread panicked");
        assert_eq!(one_line("a\r\nb"), "a\\nb");
    }

    #[test]
    fn a_loss_is_told_in_every_form() {
        let told = |form: Form, number| String::from_utf8(form.loss(number, "of it")).unwrap();
        assert!(
            told(Form::Text, 1).contains(" WARN 1 log line was lost because of it lost_lines=1\n")
        );
        assert!(told(Form::Journal, 7).starts_with("<4>7 log lines were lost because of it"));
        let document: serde_json::Value = serde_json::from_str(&told(Form::Json, 7)).unwrap();
        assert_eq!(
            (&document["level"], &document["lost_lines"]),
            (&"WARN".into(), &7.into())
        );
    }
}
