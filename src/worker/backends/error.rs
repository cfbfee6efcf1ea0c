//! Why a backend is of no use to a session.

use std::{error::Error, fmt, io, time::Duration};

use super::dialer::Failures;
use crate::{
    config::Address, facts::Unresolved, session::leg::LegError, tls::stream::TlsError,
    worker::deadline::Late,
};

/// What a protocol says is wrong with what a peer has sent.
pub type ProtocolError = Box<dyn Error + Send + Sync>;

/// Why a backend is of no use to a session. The texts stand behind its address, in log lines and in the
/// status.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Its only address failed.
    #[error(transparent)]
    Connect(io::Error),
    /// Its only address, or its path, has not answered within the connect timeout.
    #[error("no answer within {} s", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// All addresses of its name that were tried failed, or have not answered within the connect timeout.
    #[error(transparent)]
    Addresses(Failures),
    /// Some addresses of its name failed, and others had not answered when the opening had to be over.
    #[error("{0}; {1}")]
    AddressesLate(Failures, Late),
    /// The resolver has no addresses for its name.
    #[error("its name cannot be resolved: {0}")]
    Lookup(Unresolved),
    /// The resolver has not found its addresses within the connect timeout.
    #[error("its name was not resolved within {} s", .0.as_secs_f64())]
    LookupLate(Duration),
    /// The resolver could not connect to its path.
    #[error(transparent)]
    Path(Unresolved),
    /// The opening had to be over, and this backend was waited for.
    #[error(transparent)]
    Late(#[from] Late),
    /// It is connected, and has sent nothing within the connect timeout.
    #[error("connected, and nothing came within {} s", .0.as_secs_f64())]
    Mute(Duration),
    /// It closed the connection, or that failed, before what it has to send first.
    #[error("no {expected} came: {error}")]
    NotHeard {
        /// What it has to send first.
        expected: &'static str,
        /// What happened instead.
        error: LegError,
    },
    /// TLS with it failed.
    #[error("TLS: {0}")]
    Tls(TlsError),
    /// Its connection ended or failed.
    #[error(transparent)]
    Lost(LegError),
    /// It has no TLS, which the configuration demands of it.
    #[error("it has no TLS; {remedy}, or `backend_tls.mode = \"off\"` here")]
    NoTls {
        /// What may be done about that at the backend.
        remedy: &'static str,
    },
    /// It sends more than its greeting before TLS begins. The sender of that may not be the backend (as in
    /// CVE-2021-23222): once TLS has begun, the data would pass for the backend's.
    #[error("it sends unencrypted data behind its greeting, where TLS is to begin")]
    UnencryptedData,
    /// It refuses the connection without a reason that can be trusted.
    #[error("it refuses the connection")]
    Refused,
    /// It refuses the connection, and gives this reason.
    #[error(transparent)]
    RefusedFor(ProtocolError),
    /// What it sends is not in its protocol.
    #[error(transparent)]
    Violation(ProtocolError),
    /// It has not taken a request to cancel a query within the connect timeout.
    #[error("it has not taken a request to cancel in time")]
    CancelNotTaken,
}

impl BackendError {
    /// Says that what a backend sends is not in its protocol.
    pub fn violation(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Violation(Box::new(error))
    }
}

impl From<LegError> for BackendError {
    fn from(error: LegError) -> Self {
        match error {
            LegError::Tls(error) => Self::Tls(error),
            other => Self::Lost(other),
        }
    }
}

impl From<TlsError> for BackendError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

/// Why a session has no backend: those that were tried, in that order, and what was wrong with each.
#[derive(Debug)]
pub struct BackendFailure(Vec<(Address, BackendError)>);

impl BackendFailure {
    /// Says what is wrong with the only backend that matters.
    pub fn at(backend: &Address, error: impl Into<BackendError>) -> Self {
        Self(vec![(backend.clone(), error.into())])
    }
}

impl FromIterator<(Address, BackendError)> for BackendFailure {
    fn from_iter<T: IntoIterator<Item = (Address, BackendError)>>(tried: T) -> Self {
        Self(tried.into_iter().collect())
    }
}

impl fmt::Display for BackendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (backend, error)) in self.0.iter().enumerate() {
            let gap = if position == 0 { "" } else { "; " };
            write!(f, "{gap}{backend}: {error}")?;
        }
        Ok(())
    }
}

impl Error for BackendFailure {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::deadline::Phase;

    const LIMIT: Duration = Duration::from_millis(2500);

    fn late(phase: Phase) -> Late {
        Late {
            limit: LIMIT,
            phase,
        }
    }

    fn reset() -> LegError {
        io::Error::from(io::ErrorKind::ConnectionReset).into()
    }

    #[test]
    fn a_failure_says_what_happened_and_what_to_do() {
        let gone = Unresolved::NoSuchName("Name or service not known".to_owned());
        for (error, words) in [
            (
                BackendError::Connect(io::Error::other("unreachable")),
                "unreachable",
            ),
            (BackendError::NoAnswer(LIMIT), "no answer within 2.5 s"),
            (
                BackendError::Lookup(gone.clone()),
                "its name cannot be resolved: Name or service not known",
            ),
            (
                BackendError::LookupLate(LIMIT),
                "its name was not resolved within 2.5 s",
            ),
            (BackendError::Path(gone), "Name or service not known"),
            (
                late(Phase::Greeting).into(),
                "the handshake timeout of 2.5 s passed while waiting for its greeting",
            ),
            (
                BackendError::Mute(LIMIT),
                "connected, and nothing came within 2.5 s",
            ),
            (
                BackendError::NotHeard {
                    expected: "greeting",
                    error: LegError::Ended,
                },
                "no greeting came: it closed the connection",
            ),
            (reset().into(), "connection reset"),
            (
                BackendError::NoTls {
                    remedy: "set `ssl = on` there",
                },
                "it has no TLS; set `ssl = on` there, or `backend_tls.mode = \"off\"` here",
            ),
            (
                BackendError::UnencryptedData,
                "it sends unencrypted data behind its greeting, where TLS is to begin",
            ),
            (BackendError::Refused, "it refuses the connection"),
            (BackendError::RefusedFor("too many".into()), "too many"),
            (
                BackendError::CancelNotTaken,
                "it has not taken a request to cancel in time",
            ),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }

    #[test]
    fn tls_that_fails_is_told_from_a_connection_that_does() {
        let tls = BackendError::from(LegError::Tls(TlsError::NotTls));
        assert!(matches!(tls, BackendError::Tls(_)));
        let words = LegError::Tls(TlsError::NotTls).to_string();
        assert_eq!(tls.to_string(), words);
        assert!(matches!(reset().into(), BackendError::Lost(_)));
    }

    #[test]
    fn all_backends_that_were_tried_are_named() {
        let address = |text: &str| text.parse().unwrap();
        let one = BackendFailure::at(&address("a:1"), BackendError::Refused);
        assert_eq!(one.to_string(), "a:1: it refuses the connection");
        let tried = [
            (address("a:1"), BackendError::NoAnswer(LIMIT)),
            (address("unix:/run/b"), BackendError::Refused),
        ];
        assert_eq!(
            BackendFailure::from_iter(tried).to_string(),
            "a:1: no answer within 2.5 s; unix:/run/b: it refuses the connection"
        );
    }
}
