//! Text for people: tables, durations, colours.
//!
//! Nothing is ever cut off, and a colour only underlines what the words say already.

use std::{
    fmt::{Display, Write as _},
    time::Duration,
};

use jiff::Timestamp;

/// What a piece of text means for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Heading,
    Good,
    Odd,
    Bad,
}

/// Colours on a terminal, nothing elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    pub(super) fn new(on: bool) -> Self {
        Self { on }
    }

    pub(super) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Odd => "33",
            Tone::Bad => "31",
            Tone::Plain => "",
        };
        if self.on && !code.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A piece of text in a table.
#[derive(Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl Display, tone: Tone) -> Self {
        Self {
            text: one_line(&text.to_string()),
            tone,
        }
    }

    pub(super) fn plain(text: impl Display) -> Self {
        Self::new(text, Tone::Plain)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(headings: &[&str]) -> Self {
        let heading = |text: &&str| Cell::new(text, Tone::Heading);
        Self {
            rows: vec![headings.iter().map(heading).collect()],
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Returns the lines, indented by two spaces.
    pub(super) fn text(&self, paint: Paint) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(Cell::width).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let mut text = String::new();
        for row in &self.rows {
            text.push_str(&line(row, &widths, paint));
            text.push('\n');
        }
        text
    }
}

fn line(row: &[Cell], widths: &[usize], paint: Paint) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        let gap = " ".repeat(width - cell.width());
        let _ = write!(line, "  {}{gap}", paint.paint(&cell.text, cell.tone));
    }
    line.truncate(line.trim_end().len());
    line
}

/// Returns `text` with control characters made visible, since certificates and programs that
/// others wrote must not steer the reader's terminal.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                clean.extend(character.escape_unicode());
            }
            '\n' | '\t' => clean.push(character),
            _ if character.is_control() => clean.extend(character.escape_default()),
            _ => clean.push(character),
        }
    }
    clean
}

/// Returns a JSON document with the characters escaped that steer terminals and that JSON need not escape. They
/// can stand in its strings alone, so that it says the same.
pub(super) fn escaped_json(document: &str) -> String {
    let mut escaped = String::with_capacity(document.len());
    for character in document.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(character));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// The same on one line, so that a line cannot look like another one.
pub(super) fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Returns the beginning of `text` if it has more characters than `most`, and a mark in place of the rest.
pub(super) fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(most.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// Returns a number of bytes in its largest unit: `999`, `1.2K`, `34M`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    let mut unit = UNITS.iter();
    let (mut whole, mut rest, mut name) = (number, 0, "");
    while whole >= 1024 {
        (whole, rest) = (whole / 1024, whole % 1024);
        name = unit.next().copied().unwrap_or_default();
    }
    match (name, whole) {
        ("", _) | (_, 10..) => format!("{whole}{name}"),
        _ => format!("{whole}.{}{name}", rest * 10 / 1024),
    }
}

/// Returns a moment to the second.
pub(super) fn moment(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Returns a duration in its two largest units, as `3m 12s`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    if seconds < 10 {
        return format!("{}s", (duration.as_secs_f64() * 10.0).round() / 10.0);
    }
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    parts.join(" ")
}

/// The same for seconds that came over the wire.
pub(super) fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Returns the first half of a fingerprint: enough to tell certificates apart.
pub(super) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// Returns a command as it could be typed.
pub(super) fn command(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

fn quote(word: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_is_cut() {
        let mut table = Table::new(&["A", "NAME"]);
        table.row([Cell::plain("wide one"), Cell::new("ok", Tone::Good)]);
        let plain = "  A         NAME\n  wide one  ok\n";
        assert_eq!(table.text(Paint::new(false)), plain);
        let coloured = table.text(Paint::new(true));
        assert!(coloured.contains("\x1b[32mok\x1b[0m"), "{coloured:?}");
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(
            clean("CN=\x1b[2Jüber\u{202e}"),
            "CN=\\u{1b}[2Jüber\\u{202e}"
        );
    }

    #[test]
    fn a_document_is_the_same_without_what_terminals_obey() {
        let value = serde_json::json!({"user": "a\u{9b}\u{202e}\x7f\x1b\n\u{e4}"});
        let escaped = escaped_json(&value.to_string());
        assert!(!escaped.contains(|it: char| it.is_control() || it == '\u{202e}'));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&escaped).unwrap(),
            value
        );
    }

    #[test]
    fn a_cell_is_one_line_whatever_is_in_it() {
        let cell = Cell::plain("a\nb\tc\u{9b}d\x07");
        assert_eq!(cell.text, "a\\nb\\tc\\u{9b}d\\u{7}");
    }

    #[test]
    fn a_long_text_is_shortened_by_characters() {
        for (text, most, short) in [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("äöüß", 3, "äö…")]
        {
            assert_eq!(shortened(text, most), short);
        }
    }

    #[test]
    fn bytes_have_a_unit() {
        let cases = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1280, "1.2K"),
            (10 * 1024, "10K"),
            (3 << 30, "3.0G"),
            (u64::MAX, "15E"),
        ];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [
            (0.24, "0.2s"),
            (3.0, "3s"),
            (192.4, "3m 12s"),
            (7_776_000.0, "90d"),
        ];
        for (input, text) in cases {
            assert_eq!(seconds(input), text);
        }
    }

    #[test]
    fn commands_can_be_typed_again() {
        let words = ["/x", "--now", "it's", ""].map(str::to_owned);
        assert_eq!(command(&words), r"/x --now 'it'\''s' ''");
    }
}
