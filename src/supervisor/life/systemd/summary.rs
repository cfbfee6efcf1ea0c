//! The line about the daemon's state that `systemctl status` shows.

use std::fmt;

use crate::facts::amount;

/// The most characters of a failed reload's reason in the line; the log has the whole reason.
const MAX_REASON: usize = 200;

/// What the daemon does with sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum State {
    /// No worker has served yet.
    Starting,
    /// It takes new sessions.
    Serving,
    /// It waits for its sessions to end.
    Draining,
}

/// The daemon's state in short.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct Summary {
    /// What the daemon does.
    pub state: State,
    /// The number of the generation in force.
    pub generation: u64,
    /// How many worker processes serve or finish sessions.
    pub workers: usize,
    /// How many sessions are open.
    pub sessions: u64,
    /// Why the last reload failed, if it did.
    pub last_error: Option<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = amount(self.sessions, "session");
        match self.state {
            State::Starting => return f.write_str("starting"),
            State::Draining => return write!(f, "draining, {sessions} left"),
            State::Serving => {}
        }
        let workers = amount(self.workers as u64, "worker");
        write!(f, "generation {}, {workers}, {sessions}", self.generation)?;
        match &self.last_error {
            None => Ok(()),
            Some(reason) => write!(f, "; last reload failed: {}", in_short(reason)),
        }
    }
}

/// Returns one line of limited length: a line break would end the assignment in the message.
fn in_short(reason: &str) -> String {
    let mut line: String = reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_REASON)
        .collect();
    if reason.chars().nth(MAX_REASON).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> Summary {
        Summary {
            state: State::Serving,
            generation: 7,
            workers: 2,
            sessions: 143,
            last_error: None,
        }
    }

    #[test]
    fn a_daemon_that_serves_tells_generation_workers_and_sessions() {
        assert_eq!(
            serving().to_string(),
            "generation 7, 2 workers, 143 sessions"
        );
        let one = Summary {
            workers: 1,
            sessions: 1,
            ..serving()
        };
        assert_eq!(one.to_string(), "generation 7, 1 worker, 1 session");
    }

    #[test]
    fn a_daemon_that_drains_tells_what_is_left() {
        let draining = Summary {
            state: State::Draining,
            sessions: 12,
            ..serving()
        };
        assert_eq!(draining.to_string(), "draining, 12 sessions left");
    }

    #[test]
    fn a_failed_reload_is_told_in_one_short_line() {
        let failed = Summary {
            last_error: Some(format!("a.pem:\nno PEM block{}", "!".repeat(500))),
            ..serving()
        };
        let line = failed.to_string();
        assert!(line.starts_with(
            "generation 7, 2 workers, 143 sessions; last reload failed: a.pem: no PEM block!"
        ));
        assert!(line.ends_with("!…"));
        assert!(!line.contains('\n'));
        assert!(line.chars().count() < 300);
    }
}
