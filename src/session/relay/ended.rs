//! How a session ended.

use std::{error::Error, time::Duration};

use crate::{
    facts::EndReason,
    protocol::watch::{Failed, Fault, Side},
    session::{conversation::First, leg::LegError, stop::StopReason},
};

/// How a session ended.
#[derive(Debug)]
pub enum Ended {
    /// Both sides closed at once.
    Closed,
    /// The client closed first.
    ClientClosed,
    /// The backend closed first.
    BackendClosed,
    /// No byte moved for as long as the listener allows.
    Idle,
    /// One side had ended, and the other did and said nothing for too long after that.
    HalfClosed,
    /// The client's connection failed.
    Client(LegError),
    /// The backend's connection failed.
    Backend(LegError),
    /// It was told to stop.
    Stopped(StopReason),
    /// A second login inside the session came to nothing.
    SecondLogin(Box<SecondLoginEnd>),
}

impl Ended {
    /// Returns the reason by which it is counted.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Closed => EndReason::Closed,
            Self::ClientClosed => EndReason::ClientClosed,
            Self::BackendClosed => EndReason::BackendClosed,
            Self::Idle => EndReason::IdleTimeout,
            Self::HalfClosed => EndReason::HalfClosed,
            Self::Client(error) | Self::Backend(error) if error.is_key_used_up() => {
                EndReason::KeyUsedUp
            }
            Self::Client(LegError::Tls(_) | LegError::FailedBefore) => EndReason::ClientTls,
            Self::Client(LegError::Dead(_)) => EndReason::ClientDead,
            Self::Client(_) => EndReason::ClientLost,
            Self::Backend(LegError::Tls(_) | LegError::FailedBefore) => EndReason::BackendTls,
            Self::Backend(LegError::Dead(_)) => EndReason::BackendDead,
            Self::Backend(_) => EndReason::BackendLost,
            Self::Stopped(reason) => reason.reason(),
            Self::SecondLogin(_) => EndReason::ChangeUserFailed,
        }
    }

    /// Returns how a session ended in which both sides have said all.
    pub(super) fn closed(first: First) -> Self {
        match first {
            First::Neither => Self::Closed,
            First::Client => Self::ClientClosed,
            First::Backend => Self::BackendClosed,
            First::BackendFailed(error) => Self::Backend(error),
        }
    }
}

/// A second login that came to nothing.
#[derive(Debug)]
pub struct SecondLoginEnd {
    /// Why.
    pub fault: SecondLoginFault,
    /// What the client is told.
    pub words: Vec<u8>,
}

/// Why a second login came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum SecondLoginFault {
    /// The client's connection failed.
    #[error("client: {0}")]
    Client(LegError),
    /// The backend's connection failed.
    #[error("backend: {0}")]
    Backend(LegError),
    /// The client broke the protocol, or asked for what it cannot have.
    #[error("refused: {0}")]
    Refused(Box<dyn Error + Send + Sync>),
    /// The backend broke the protocol.
    #[error("backend: {0}")]
    BadBackend(Box<dyn Error + Send + Sync>),
    /// It took longer than the handshake timeout.
    #[error("{}the handshake timeout of {} s passed while waiting for the login to be decided",
        late(*.side), .limit.as_secs_f64())]
    Late {
        /// Who had to say something when the time was over.
        side: Side,
        /// How long it might have taken.
        limit: Duration,
    },
}

fn late(side: Side) -> &'static str {
    match side {
        Side::Client => "",
        Side::Server => "backend: ",
    }
}

impl From<SecondLoginEnd> for Ended {
    fn from(end: SecondLoginEnd) -> Self {
        Self::SecondLogin(Box::new(end))
    }
}

impl SecondLoginEnd {
    /// Returns the end that a watch, which had so much time, has put to a session.
    pub(super) fn of<E: Error + Send + Sync + 'static>(failed: Failed<E>, limit: Duration) -> Self {
        Self {
            fault: match failed.fault {
                Fault::Client(error) => SecondLoginFault::Refused(Box::new(error)),
                Fault::Server(error) => SecondLoginFault::BadBackend(Box::new(error)),
                Fault::Late(side) => SecondLoginFault::Late { side, limit },
            },
            words: failed.to_client,
        }
    }
}
