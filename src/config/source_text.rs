//! The text of a configuration file.

use std::{fmt, sync::Arc};

/// The text that a configuration was read from, which a supervisor leaves to the next one.
///
/// It takes no part in comparisons: texts that mean the same are the same configuration. Workers do not get it.
#[derive(Clone, Default)]
pub struct SourceText(Arc<str>);

impl SourceText {
    /// Returns it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SourceText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialEq for SourceText {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SourceText {}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceText({} bytes)", self.0.len())
    }
}
