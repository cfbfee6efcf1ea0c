//! Text for people: tables, durations, colours.
//!
//! Nothing is ever cut off, and a colour only underlines what the words say already.

use std::fmt::{Display, Write as _};

pub(super) use crate::facts::{bytes, clean, duration, moment, seconds, shortened};

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

/// The same as [`clean`] on one line, so that a line cannot look like another one.
pub(super) fn one_line(text: &str) -> String {
    clean(text).replace('\n', "\\n").replace('\t', "\\t")
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
    fn commands_can_be_typed_again() {
        let words = ["/x", "--now", "it's", ""].map(str::to_owned);
        assert_eq!(command(&words), r"/x --now 'it'\''s' ''");
    }
}
