//! The deadline of an opening, and what is waited for when it passes.

use std::{fmt, future::Future, time::Duration};

use tokio::time::{Instant, timeout_at};

/// What an opening waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The PROXY header of a load balancer.
    ProxyHeader,
    /// What the client wants: a request for TLS, or the start of a session.
    Request,
    /// The client's TLS.
    ClientTls,
    /// The client's login.
    Login,
    /// What client and backend say to each other until the client is let in.
    LetIn,
    /// The addresses of a backend's name.
    Lookup,
    /// A connection to a backend.
    Connect,
    /// What the backend says first.
    Greeting,
    /// What the backend says to the start of a session.
    Answer,
    /// TLS with the backend.
    BackendTls,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProxyHeader => "a PROXY header",
            Self::Request => "the client's request",
            Self::ClientTls => "the client's TLS handshake",
            Self::Login => "the client's login",
            Self::LetIn => "the login to be decided",
            Self::Lookup => "the addresses of its name",
            Self::Connect => "a connection",
            Self::Greeting => "its greeting",
            Self::Answer => "its answer to the start-up message",
            Self::BackendTls => "its TLS handshake",
        })
    }
}

/// When an opening must be over.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// Begins now an opening that may take so long.
    pub fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now() + limit,
            limit,
        }
    }

    /// Returns when it is.
    pub fn at(self) -> Instant {
        self.at
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        Instant::now() >= self.at
    }

    /// Returns one that leaves one of so many `parts` of the whole time for what comes after it.
    #[must_use]
    pub fn sparing(self, parts: u32) -> Self {
        Self {
            at: self.at - self.limit / parts,
            ..self
        }
    }

    /// Returns one that is no later than that.
    #[must_use]
    pub fn no_later_than(self, at: Instant) -> Self {
        Self {
            at: self.at.min(at),
            ..self
        }
    }

    /// Returns one that is no later than so long from now.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        self.no_later_than(Instant::now() + limit)
    }

    /// Says that it has passed in a phase.
    pub fn late(self, phase: Phase) -> Late {
        Late {
            limit: self.limit,
            phase,
        }
    }

    /// Waits no longer than that. Of phases inside of each other the innermost is told of.
    pub async fn in_time<T, E: From<Late>>(
        self,
        phase: Phase,
        wait: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match timeout_at(self.at, wait).await {
            Ok(result) => result,
            Err(_) => Err(self.late(phase).into()),
        }
    }
}

/// The deadline of an opening has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handshake timeout of {} s passed while waiting for {phase}", limit.as_secs_f64())]
pub struct Late {
    /// How long the opening was allowed to take.
    pub limit: Duration,
    /// What was waited for.
    pub phase: Phase,
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_innermost_phase_is_told_of() {
        let deadline = Deadline::after(Duration::ZERO);
        let inner = deadline.in_time(Phase::ClientTls, pending::<Result<(), Late>>());
        let late = deadline.in_time(Phase::Login, inner).await.unwrap_err();
        assert_eq!(late.phase, Phase::ClientTls);
    }

    #[test]
    fn a_deadline_only_moves_forward_to_now() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let spare = deadline.at() - deadline.sparing(10).at();
        assert_eq!(spare, Duration::from_secs(1));
        assert!(deadline.within(Duration::from_secs(2)).at() < deadline.at());
        assert_eq!(deadline.within(Duration::from_secs(60)).at(), deadline.at());
        let words = "the handshake timeout of 10 s passed while waiting for a connection";
        assert_eq!(
            deadline
                .within(Duration::ZERO)
                .late(Phase::Connect)
                .to_string(),
            words
        );
    }
}
