//! Why a connection of a session fails.

use std::{io, time::Duration};

use super::opening::MAX_OPENING;
use crate::tls::{records::Fault, stream::TlsError};

/// Why a leg failed.
#[derive(Debug, thiserror::Error)]
pub enum LegError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// TLS failed, as the worker that served the session before has found.
    #[error("TLS failed while another worker served the session")]
    FailedBefore,
    /// The peer left in the middle.
    #[error("it closed the connection")]
    Ended,
    /// The peer sent more than its opening can need.
    #[error("it sent more than {MAX_OPENING} bytes before its opening was over")]
    TooLong,
    /// The peer acknowledged nothing for so long, while something waited for that.
    #[error(
        "it has acknowledged nothing for {:.1} s of what was sent to it (limits.dead_peer_timeout)",
        .0.as_secs_f64()
    )]
    Dead(Duration),
}

impl LegError {
    /// Returns the number of the system's error, if it is one (errno(3)).
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Self::Io(error) => error.raw_os_error(),
            _ => None,
        }
    }

    /// Returns whether a TLS key that cannot be renewed has protected as much as it may.
    pub fn is_key_used_up(&self) -> bool {
        matches!(self, Self::Tls(TlsError::Session(Fault::KeysExhausted(_))))
    }

    /// Returns whether TLS failed, and not the connection below it.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::FailedBefore)
    }

    /// Returns whether the peer itself said in TLS that it ends; an attacker on the network can cause all
    /// other errors.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Tls(error) if error.is_told())
    }
}
