//! Which certificate of an identity clients may be shown.
//!
//! Certificates are numbered in the order in which they are written to disk. The report of a successful
//! reload names the oldest certificate that a handshake begun afterwards may show; the daemon may load
//! newer ones by itself at any time.

use std::{collections::HashMap, fmt, time::Instant};

/// What is known of an identity's certificates.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// The number of each certificate by its fingerprint.
    numbers: HashMap<String, usize>,
    /// The confirmed numbers and when they were confirmed; both only grow.
    confirmed: Vec<(Instant, usize)>,
}

/// What is wrong with a certificate that was shown.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Wrong {
    /// It was never written to disk as a good one.
    Unknown,
    /// A newer certificate was confirmed before the handshake began.
    Stale {
        /// The number of the certificate that was shown.
        shown: usize,
        /// The least number that was right.
        least: usize,
    },
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter.write_str("it was never written to disk as a good one"),
            Self::Stale { shown, least } => {
                write!(
                    formatter,
                    "it is number {shown}, and {least} was confirmed before"
                )
            }
        }
    }
}

impl Truth {
    /// Notes a certificate that is about to be written; returns its number.
    pub(crate) fn issue(&mut self, sha256: &str) -> usize {
        let number = self.numbers.len();
        self.numbers.insert(sha256.to_owned(), number);
        number
    }

    /// Returns the number of a certificate; `None` if it was never issued.
    pub(crate) fn number(&self, sha256: &str) -> Option<usize> {
        self.numbers.get(sha256).copied()
    }

    /// Notes that from `at` on no certificate older than this number may be shown.
    pub(crate) fn confirm(&mut self, at: Instant, number: usize) {
        if self.confirmed.last().is_none_or(|(_, last)| *last < number) {
            self.confirmed.push((at, number));
        }
    }

    /// Returns the least number that is right in a handshake that began at `begun`.
    pub(crate) fn least(&self, begun: Instant) -> usize {
        let before = self.confirmed.iter().rev().find(|(at, _)| *at <= begun);
        before.map_or(0, |(_, number)| *number)
    }

    /// Judges the certificate of a handshake that began at `begun`.
    pub(crate) fn judge(&self, sha256: &str, begun: Instant) -> Result<(), Wrong> {
        let shown = self.number(sha256).ok_or(Wrong::Unknown)?;
        let least = self.least(begun);
        if shown < least {
            return Err(Wrong::Stale { shown, least });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_confirmed_and_what_is_newer_is_right() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut truth = Truth::default();
        for name in ["a", "b", "c"] {
            truth.issue(name);
        }
        truth.confirm(at(5), 1);
        assert_eq!(truth.judge("a", at(4)), Ok(()));
        let stale = Wrong::Stale { shown: 0, least: 1 };
        assert_eq!(truth.judge("a", at(5)), Err(stale));
        assert_eq!(truth.judge("b", at(6)), Ok(()));
        assert_eq!(truth.judge("c", at(6)), Ok(()));
        assert_eq!(truth.judge("d", at(6)), Err(Wrong::Unknown));
    }

    #[test]
    fn an_older_confirmation_that_is_heard_late_takes_nothing_back() {
        let now = Instant::now();
        let mut truth = Truth::default();
        truth.issue("a");
        truth.issue("b");
        truth.confirm(now, 1);
        truth.confirm(now, 0);
        assert_eq!(truth.least(now), 1);
    }
}
