//! What a worker asks the resolver for, and why it does not get it.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// What a worker asks the resolver for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Wanted {
    /// The addresses of a host.
    Host(String),
    /// A connection to the Unix socket at a path.
    Path(PathBuf),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why the resolver has nothing for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unresolved {
    /// There is no such name, or it has no address, as the C library says it.
    #[error("{0}")]
    NoSuchName(String),
    /// The name servers gave no usable answer, as the C library says it.
    #[error("{0}")]
    Temporary(String),
    /// The lookup or the connection failed for another reason, which the text gives.
    #[error("{0}")]
    Failed(String),
    /// Nothing came as long as the worker wanted to wait.
    #[error("the lookup has no answer after {:.1} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    /// All threads of the resolver were busy with other names as long as the worker wanted to wait.
    #[error("other lookups without an answer kept this one waiting for {:.1} s", .0.as_secs_f32())]
    NoThread(Duration),
    /// The worker waits for too much already.
    #[error("the worker has too many lookups without an answer")]
    TooMany,
    /// No listener's backend has this name or path.
    #[error("no listener has this backend")]
    NotConfigured,
}

impl Unresolved {
    /// Whether only time was missing.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::NoThread(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_told_how_long_it_has_waited() {
        let late = Unresolved::NoAnswer(Duration::from_millis(2500));
        assert_eq!(late.to_string(), "the lookup has no answer after 2.5 s");
    }
}
