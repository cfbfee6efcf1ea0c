//! Writes HTML. What is not a literal of this program is escaped, because there is no other way to write it.

use std::fmt::{self, Display, Write};

/// The most characters of one text: what strangers wrote may be as long as they like.
const MOST_CHARACTERS: usize = 1200;

/// Attributes of an element: names that are literals, and values that are escaped.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

/// HTML that is being written.
#[derive(Debug, Default)]
pub(super) struct Html {
    text: String,
}

impl Html {
    /// Writes markup, which is a literal.
    pub(super) fn markup(&mut self, markup: &'static str) {
        self.text.push_str(markup);
    }

    /// Writes text, escaped and bounded.
    pub(super) fn text(&mut self, text: impl Display) {
        // Writing to a string does not fail; the escape ends a text that is too long by failing.
        let _ = write!(Escape::new(&mut self.text), "{text}");
    }

    /// Writes an element and what is inside.
    pub(super) fn element(&mut self, name: &'static str, inside: impl FnOnce(&mut Self)) {
        self.element_with(name, &[], inside);
    }

    /// Writes an element with attributes, and what is inside.
    pub(super) fn element_with(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.open(name, attributes);
        inside(self);
        for part in ["</", name, ">"] {
            self.text.push_str(part);
        }
    }

    /// Writes an element's beginning, or one that holds nothing and has no end, such as `input`.
    pub(super) fn open(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.text.push('<');
        self.text.push_str(name);
        for (name, value) in attributes {
            for part in [" ", name, "=\""] {
                self.text.push_str(part);
            }
            self.text(value);
            self.text.push('"');
        }
        self.text.push('>');
    }

    /// Writes an element of this class with a text in it.
    pub(super) fn words(&mut self, name: &'static str, class: &'static str, text: impl Display) {
        if class.is_empty() {
            self.element(name, |it| it.text(text));
        } else {
            self.element_with(name, &[("class", &class)], |it| it.text(text));
        }
    }

    /// Writes an element `path` of an SVG, whose text consists of commands and numbers; anything else is left out.
    pub(super) fn path(&mut self, class: &'static str, path: &str) {
        let is_drawn = |it: &char| it.is_ascii_alphanumeric() || " .-".contains(*it);
        self.open("path", &[("class", &class)]);
        self.text.pop();
        self.text.push_str(" d=\"");
        self.text.extend(path.chars().filter(is_drawn));
        self.text.push_str("\"></path>");
    }

    /// Writes sentences, in which what stands between backquotes is a command.
    pub(super) fn prose(&mut self, text: &str) {
        for (number, piece) in text.split('`').enumerate() {
            if number % 2 == 1 {
                self.words("code", "", piece);
            } else {
                self.text(piece);
            }
        }
    }

    /// Returns what was written.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Escapes what is written through it for texts and for attributes in double quotes.
struct Escape<'a> {
    out: &'a mut String,
    left: usize,
}

impl<'a> Escape<'a> {
    fn new(out: &'a mut String) -> Self {
        Self {
            out,
            left: MOST_CHARACTERS,
        }
    }
}

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if self.left == 0 {
                self.out.push('…');
                return Err(fmt::Error);
            }
            self.left -= 1;
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                '\n' | '\t' => self.out.push(' '),
                // They turn the direction of what follows, so that it reads as something else.
                '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    self.out.extend(character.escape_unicode());
                }
                _ if character.is_control() => self.out.extend(character.escape_default()),
                _ => self.out.push(character),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Html)) -> String {
        let mut html = Html::default();
        write(&mut html);
        html.finish()
    }

    #[test]
    fn what_strangers_wrote_is_never_markup() {
        let hostile = "\"><script>alert('1')</script>&amp;";
        let safe = "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;";
        assert_eq!(written(|it| it.text(hostile)), safe);
        let element = written(|it| it.element_with("p", &[("title", &hostile)], |_| {}));
        assert_eq!(element, format!("<p title=\"{safe}\"></p>"));
        let prose = written(|it| it.prose("run `<b>` or `x"));
        assert_eq!(prose, "run <code>&lt;b&gt;</code> or <code>x</code>");
    }

    #[test]
    fn what_steers_the_reader_is_made_visible() {
        assert_eq!(
            written(|it| it.text("a\u{202e}b\x1b\nc\0")),
            "a\\u{202e}b\\u{1b} c\\u{0}"
        );
    }

    #[test]
    fn a_path_has_commands_and_numbers_alone() {
        let path = written(|it| it.path("line", "M0 -1.5\"><b>L2 3"));
        assert_eq!(path, "<path class=\"line\" d=\"M0 -1.5bL2 3\"></path>");
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = written(|it| it.text("<".repeat(MOST_CHARACTERS + 1)));
        assert_eq!(text, "&lt;".repeat(MOST_CHARACTERS) + "…");
        let text = written(|it| it.text("ä".repeat(MOST_CHARACTERS)));
        assert_eq!(text.chars().count(), MOST_CHARACTERS);
    }

    proptest::proptest! {
        #[test]
        fn no_text_leaves_its_place(text in "\\PC*") {
            let out = written(|it| it.text(&text));
            proptest::prop_assert!(!out.contains(['<', '>', '"', '\'']));
        }
    }
}
