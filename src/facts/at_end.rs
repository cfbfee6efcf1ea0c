//! What became of the sessions that were open when the daemon began to end.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::amount;

/// What became of the sessions that were open when the daemon began to end.
///
/// Its text is a part of a sentence: `5 sessions ended by themselves and 2 were cut`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionsAtEnd {
    /// How many their client or backend has ended.
    pub ended: u64,
    /// How many were cut: by `stop`, because the drain timeout was over, or because their worker died.
    pub cut: u64,
}

impl fmt::Display for SessionsAtEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = amount(self.ended, "session");
        let itself = if self.ended == 1 {
            "itself"
        } else {
            "themselves"
        };
        match (self.ended, self.cut) {
            (0, 0) => f.write_str("no session was open"),
            (0, 1) => f.write_str("1 session was cut"),
            (0, cut) => write!(f, "{cut} sessions were cut"),
            (_, 0) => write!(f, "{ended} ended by {itself} and none was cut"),
            (_, 1) => write!(f, "{ended} ended by {itself} and 1 was cut"),
            (_, cut) => write!(f, "{ended} ended by {itself} and {cut} were cut"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_sessions_is_told_in_words() {
        let told = |ended, cut| SessionsAtEnd { ended, cut }.to_string();
        assert_eq!(told(0, 0), "no session was open");
        assert_eq!(told(0, 1), "1 session was cut");
        assert_eq!(told(0, 7), "7 sessions were cut");
        assert_eq!(told(1, 0), "1 session ended by itself and none was cut");
        assert_eq!(told(5, 1), "5 sessions ended by themselves and 1 was cut");
        assert_eq!(told(5, 2), "5 sessions ended by themselves and 2 were cut");
    }
}
