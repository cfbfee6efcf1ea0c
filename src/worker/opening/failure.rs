//! Why a session came to nothing.

use crate::{
    config::Address,
    facts::{EndReason, FailureReason},
    protocol::proxy_header::HeaderError,
    session::{ending::SessionEnd, leg::LegError, stop::StopReason},
    tls::{RefusedCertificate, stream::TlsError},
    worker::{
        backends::{BackendError, BackendFailure, ProtocolError},
        deadline::Late,
        places::NoPlace,
    },
};

/// Why a session came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No backend serves it.
    #[error("backend: {0}")]
    Backend(#[from] BackendFailure),
    /// The client's connection or its TLS.
    #[error("client: {0}")]
    Client(LegError),
    /// There was nothing to relay: a request to cancel a query was passed on.
    #[error("a request to cancel a query was passed on")]
    Cancelled,
    /// The database refused the login, and the client has heard so.
    #[error("the database refused the login")]
    Denied,
    /// It was told to stop.
    #[error("{}", stopped(.0))]
    Stopped(StopReason),
    /// The client has as many sessions as the listener lets one have.
    #[error("the client has as many sessions as `per_client` allows")]
    ClientFull,
    /// The listener has as many sessions as it may.
    #[error("the listener has as many sessions as `max_connections` allows")]
    Full,
    /// The client does not use TLS where it must, and was told so.
    #[error("refused: the client does not use TLS")]
    NoTls,
    /// The client left when it was asked to prove who it is.
    #[error("the client left when it was asked to prove who it is")]
    LeftLogin,
    /// It took too long, and the backend was not the one that was waited for.
    #[error(transparent)]
    Late(#[from] Late),
    /// The client asked for something that it cannot have, and was told so.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The client said nothing and left.
    #[error("the client left without a word")]
    Silent,
}

/// What a client asked for that it cannot have.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It comes from the network of the load balancers, and sends no header.
    #[error("the client does not begin with a PROXY header, as all from its network must")]
    NoProxyHeader,
    /// It sends a header, and is none of the load balancers.
    #[error("the client begins with a PROXY header, and `proxy_protocol.from` does not list it")]
    UnlistedBalancer,
    /// It sends a header where none is expected.
    #[error("the client begins with a PROXY header, and `proxy_protocol.accept` is not set")]
    UnexpectedProxyHeader,
    /// Its header cannot be read.
    #[error("PROXY header: {0}")]
    ProxyHeader(#[from] HeaderError),
    /// What it sends is not in the protocol, or the protocol has no way to pass it on.
    #[error(transparent)]
    Protocol(ProtocolError),
}

impl Failure {
    /// Blames a backend.
    pub(super) fn of_backend(backend: &Address, error: impl Into<BackendError>) -> Self {
        BackendFailure::at(backend, error).into()
    }

    /// Says that a client's protocol forbids what it asked for.
    pub(super) fn refused(error: impl Into<ProtocolError>) -> Self {
        Refusal::Protocol(error.into()).into()
    }

    /// Returns the reason by which it is counted.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Backend(_) => EndReason::BackendFailed,
            Self::Cancelled => EndReason::Cancel,
            Self::Denied => EndReason::LoginDenied,
            Self::Stopped(reason) => reason.reason(),
            Self::ClientFull => EndReason::ClientFull,
            Self::Full => EndReason::Full,
            Self::LeftLogin => EndReason::LoginLeft,
            Self::Silent => EndReason::Silent,
            Self::Client(_) | Self::Late(_) | Self::NoTls | Self::Refused(_) => {
                EndReason::Refused(self.refusal())
            }
        }
    }

    /// Returns why the client was not let in, if that is what became of it.
    fn refusal(&self) -> FailureReason {
        match self {
            Self::Client(LegError::Tls(error)) => error.reason(),
            Self::Client(LegError::Io(_) | LegError::Ended) => FailureReason::ClientLeft,
            Self::Late(_) => FailureReason::Timeout,
            Self::NoTls => FailureReason::NoTls,
            _ => FailureReason::Protocol,
        }
    }

    /// Returns the certificate of a client that was refused for it.
    pub fn certificate(&self) -> Option<&RefusedCertificate> {
        match self {
            Self::Client(LegError::Tls(TlsError::Certificate { certificate, .. })) => {
                Some(certificate)
            }
            _ => None,
        }
    }
}

impl From<Failure> for SessionEnd {
    fn from(failure: Failure) -> Self {
        let words = failure.to_string();
        if let Failure::Stopped(reason) = &failure {
            return Self::stopped(reason, words);
        }
        Self::new(failure.reason(), words).refused_for(failure.certificate())
    }
}

/// Says why a session was told to stop before it had begun.
fn stopped(reason: &StopReason) -> &'static str {
    match reason {
        StopReason::Drained => "it had not begun when the drain timeout was over",
        StopReason::EndedBy(_) => "an operator ended it with `proxyctl end` before it had begun",
    }
}

impl From<NoPlace> for Failure {
    fn from(refusal: NoPlace) -> Self {
        match refusal {
            NoPlace::Full => Self::Full,
            NoPlace::ClientFull => Self::ClientFull,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;
    use crate::worker::deadline::Phase;

    fn lost() -> LegError {
        io::Error::from(io::ErrorKind::ConnectionReset).into()
    }

    #[test]
    fn a_client_that_was_not_let_in_has_the_reason_of_that() {
        let late = Late {
            limit: Duration::ZERO,
            phase: Phase::Login,
        };
        for (failure, reason) in [
            (late.into(), FailureReason::Timeout),
            (Failure::NoTls, FailureReason::NoTls),
            (Failure::Client(lost()), FailureReason::ClientLeft),
            (
                Failure::Client(TlsError::NotTls.into()),
                FailureReason::NotTls,
            ),
            (Failure::refused(""), FailureReason::Protocol),
            (Refusal::NoProxyHeader.into(), FailureReason::Protocol),
        ] {
            let end = SessionEnd::from(failure);
            assert_eq!(end.reason(), EndReason::Refused(reason));
        }
        let backend = "db:1".parse().unwrap();
        let down = SessionEnd::from(Failure::of_backend(&backend, BackendError::Refused));
        assert_eq!(down.reason(), EndReason::BackendFailed);
        assert!(down.reason().is_failure() && !down.reason().is_ordinary());
    }

    #[test]
    fn a_failure_says_whose_it_is() {
        let backend: Address = "db:1".parse().unwrap();
        let late = Late {
            limit: Duration::from_secs(10),
            phase: Phase::LetIn,
        };
        let waited =
            "the handshake timeout of 10 s passed while waiting for the login to be decided";
        for (failure, words) in [
            (Failure::from(late), waited.to_owned()),
            (
                Failure::of_backend(&backend, late),
                format!("backend: db:1: {waited}"),
            ),
            (
                Failure::Client(LegError::Ended),
                "client: it closed the connection".to_owned(),
            ),
            (
                Refusal::UnlistedBalancer.into(),
                "refused: the client begins with a PROXY header, and `proxy_protocol.from` does not list it"
                    .to_owned(),
            ),
            (
                Failure::refused("its login is cut short"),
                "refused: its login is cut short".to_owned(),
            ),
        ] {
            assert_eq!(failure.to_string(), words);
        }
    }
}
