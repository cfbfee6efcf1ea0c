//! What is wrong with a file, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something wrong with what is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The identity or listener it concerns, as `identity "default"`; empty for the configuration.
    pub subject: String,
    /// The file, if it is about one.
    pub file: Option<String>,
    /// What is wrong and what to do about it.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        f.write_str(&self.reason)
    }
}
