//! Reads the configuration file and finds every mistake that shows without its meaning.
//!
//! serde stops at the first mistake. So the parsed text is kept as a tree whose keys and values
//! know their place; what serde complains about is cut out of the tree, and serde asked again.

use std::{fs, io::Read, ops::Range, path::Path};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer, Error},
};

use super::{ConfigError, Problem, file::File, nearest::nearest, report::SHOWN_MAX};
use crate::sys::files;

/// The largest file that is read. A configuration of thousands of listeners is smaller.
const FILE_MAX: u64 = 1024 * 1024;

/// Returns the text of the file at `path`.
pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    if let Some(what) = files::unfit(kind) {
        return Err(ConfigError::NotAFile {
            path: path.to_owned(),
            what,
        });
    }
    let mut bytes = Vec::new();
    let file = files::open(path, fs::OpenOptions::new().read(true), 0).map_err(failed)?;
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    decode(path, bytes)
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, ConfigError> {
    if bytes.len() as u64 > FILE_MAX {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            limit: FILE_MAX,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ConfigError::NotText {
            path: path.to_owned(),
            line: 1 + String::from_utf8_lossy(good).matches('\n').count(),
        }
    })
}

/// Returns the line at which `text` holds a certificate or key, from 1.
///
/// Wherever it stands, no line of such a text is to be shown.
pub(super) fn pem_line(text: &str) -> Option<usize> {
    let begins = |line: &str| line.contains("-----BEGIN ") && !line.trim_start().starts_with('#');
    Some(1 + text.lines().position(begins)?)
}

/// Returns what `text` says, without the keys and values named in the problems beside it.
pub(super) fn parse(text: &str) -> (File, Vec<Problem>) {
    let (mut tree, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors.iter().take(SHOWN_MAX).map(problem).collect();
    if !problems.is_empty() {
        // What recovery made of broken syntax says little about what was meant.
        return (File::default(), problems);
    }
    loop {
        let error = match File::deserialize(Deserializer::from(tree.clone())) {
            Ok(file) => return (file, problems),
            Err(error) => error,
        };
        problems.push(problem(&error));
        let cut = error
            .span()
            .is_some_and(|span| cut_table(tree.get_mut(), &span));
        if !cut || problems.len() == SHOWN_MAX {
            return (File::default(), problems);
        }
    }
}

/// Cuts the key or value at `span` out of `table`; returns whether it was there.
fn cut_table(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    // A table has the place of its header, so what it holds is looked at first.
    if table.iter_mut().any(|(_, value)| cut_value(value, span)) {
        return true;
    }
    let here = table
        .iter()
        .find(|(key, value)| key.span() == *span || is_at(value, span));
    let key = here.map(|(key, _)| key.clone());
    key.is_some_and(|key| table.remove(&**key.get_ref()).is_some())
}

fn cut_value(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => cut_table(table, span),
        DeValue::Array(array) => array.iter_mut().any(|item| cut_value(item, span)),
        _ => false,
    }
}

/// Returns whether `value`, or an item of the array it is, stands at `span`.
fn is_at(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    let items = value.get_ref().as_array();
    value.span() == *span || items.is_some_and(|items| items.iter().any(|item| is_at(item, span)))
}

fn problem(error: &Error) -> Problem {
    Problem {
        message: reword(error.message()),
        span: error.span(),
    }
}

/// Says in the file's words what serde says in its own.
fn reword(message: &str) -> String {
    for (theirs, ours) in [
        ("unknown field ", "unknown key"),
        ("unknown variant ", "unknown value"),
    ] {
        if let Some(rest) = message.strip_prefix(theirs) {
            return suggest(ours, rest);
        }
    }
    let ours = message.replace(", expected i64", ", expected an integer");
    ours.replace(", expected a sequence", ", expected an array")
}

/// Turns ``"`bnid`, expected one of `bind`, `name`"`` into a question, or a list of what there is.
fn suggest(what: &str, rest: &str) -> String {
    let (word, expected) = rest.rsplit_once(", expected ").unwrap_or((rest, ""));
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match nearest(word.trim_matches('`'), &known) {
        Some(meant) => format!("{what} {word}; did you mean `{meant}`?"),
        None => format!("{what} {word}; known here: {}", known.join(", ")),
    }
}
