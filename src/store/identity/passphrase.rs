//! Where a passphrase comes from: a file or a program, never a person.

mod command;

use std::{fmt, path::Path};

use zeroize::Zeroizing;

pub(crate) use self::command::CommandFault;
use crate::store::files::read::Content;

/// The most bytes of a passphrase, and of what a program writes that is asked for one.
const LIMIT: usize = 4096;

/// A passphrase, wiped from memory when dropped.
#[derive(Clone, Default)]
pub(crate) struct Passphrase(Zeroizing<Vec<u8>>);

/// It is not shown.
impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Why a text is no passphrase.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineFault {
    #[error("the passphrase is empty")]
    Empty,
    #[error("it holds more than one line; a passphrase is one line")]
    SeveralLines,
    #[error("it holds more than {LIMIT} bytes, which is no passphrase")]
    TooLong,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassphraseFault {
    #[error("no passphrase came from {program}: {why}")]
    Command { program: String, why: CommandFault },
    #[error(transparent)]
    File(LineFault),
}

/// What gives the passphrase of a key, should it be asked.
#[derive(Clone, Copy)]
pub(crate) enum Opener<'a> {
    /// A program and its arguments.
    Command(&'a [String]),
    /// A file that was read.
    File(&'a Path, &'a Content),
    /// Nothing does.
    Nothing,
}

/// Says where the passphrase came from.
impl fmt::Display for Opener<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => {
                write!(f, "the passphrase that {} wrote", program_of(command))
            }
            Self::File(path, _) => write!(f, "the passphrase in {}", path.display()),
            Self::Nothing => f.write_str("no passphrase"),
        }
    }
}

impl Opener<'_> {
    /// Returns the passphrase; `None` if nothing gives one. Runs the program, for up to ten
    /// seconds.
    pub(crate) fn passphrase(&self) -> Result<Option<Passphrase>, PassphraseFault> {
        match self {
            Self::Command(command) => command::output_of(command, command::DEADLINE)
                .and_then(|output| Ok(Passphrase::one_line(&output)?))
                .map(Some)
                .map_err(|why| PassphraseFault::Command {
                    program: program_of(command).to_owned(),
                    why,
                }),
            Self::File(_, content) => Passphrase::one_line(&content.bytes)
                .map(Some)
                .map_err(PassphraseFault::File),
            Self::Nothing => Ok(None),
        }
    }
}

/// Its arguments may be secrets and are never told.
fn program_of(command: &[String]) -> &str {
    command.first().map_or("", String::as_str)
}

impl Passphrase {
    /// Takes a text that is one line, whose end does not belong to it.
    pub(crate) fn one_line(text: &[u8]) -> Result<Self, LineFault> {
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.contains(&b'\n') {
            return Err(LineFault::SeveralLines);
        }
        match line.len() {
            0 => Err(LineFault::Empty),
            1..=LIMIT => Ok(Self(Zeroizing::new(line.to_vec()))),
            _ => Err(LineFault::TooLong),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
impl From<&str> for Passphrase {
    fn from(text: &str) -> Self {
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_line_is_no_part_of_a_passphrase() {
        for text in ["s\u{e9}cret 1", "s\u{e9}cret 1\n", "s\u{e9}cret 1\r\n"] {
            let passphrase = Passphrase::one_line(text.as_bytes()).unwrap();
            assert_eq!(passphrase.as_bytes(), "s\u{e9}cret 1".as_bytes());
        }
        let blanks = Passphrase::one_line(b" secret \n").unwrap();
        assert_eq!(blanks.as_bytes(), b" secret ");
    }

    #[test]
    fn what_is_no_single_line_is_no_passphrase() {
        let long = "x".repeat(LIMIT + 1);
        for (text, fault) in [
            ("", LineFault::Empty),
            ("\n", LineFault::Empty),
            ("secret\n\n", LineFault::SeveralLines),
            ("secret\nuser: me\n", LineFault::SeveralLines),
            (&long, LineFault::TooLong),
        ] {
            let told = Passphrase::one_line(text.as_bytes()).unwrap_err();
            assert_eq!(told, fault, "{text:?}");
        }
    }

    #[test]
    fn neither_a_passphrase_nor_an_argument_is_ever_shown() {
        let passphrase = Passphrase::from("secret");
        assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
        let command = ["/bin/sh", "-c", "exit 1", "secret"].map(str::to_owned);
        let opener = Opener::Command(&command);
        let fault = opener.passphrase().unwrap_err();
        let told = format!("{opener} {fault} {fault:?}");
        assert!(told.contains("/bin/sh"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}
