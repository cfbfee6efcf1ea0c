//! What a driver has to do after each packet of a login.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::protocol::PASSWORD_IN_CLEAR;
use crate::protocol::mysql::command::ChangeUserError;
use crate::protocol::mysql::error::ErrorPacket;
use crate::protocol::mysql::login::LoginError;
use crate::protocol::sealing::{SealError, Sealing};

/// What to send, and what comes then. Both buffers hold whole packets and may be empty.
#[must_use]
pub struct Step {
    /// Bytes for the client.
    pub to_client: Vec<u8>,
    /// Bytes for the database; over a private leg they may hold a password.
    pub to_server: Zeroizing<Vec<u8>>,
    /// What to do when both are sent.
    pub then: Then,
}

impl Step {
    pub(super) fn client(packet: Vec<u8>, then: Then) -> Self {
        Self::new(packet, Vec::new(), then)
    }

    pub(super) fn server(packet: Vec<u8>) -> Self {
        Self::new(Vec::new(), packet, Then::Continue)
    }

    fn new(to_client: Vec<u8>, to_server: Vec<u8>, then: Then) -> Self {
        Self {
            to_client,
            to_server: Zeroizing::new(to_server),
            then,
        }
    }
}

/// The bytes may be secret; only their lengths are shown.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("to_client", &self.to_client.len())
            .field("to_server", &self.to_server.len())
            .field("then", &self.then)
            .finish()
    }
}

/// What comes after a step.
#[derive(Debug)]
pub enum Then {
    /// The database let the client in: copy bytes from here on.
    Accepted,
    /// Read the next packet, from either side.
    Continue,
    /// Encrypt the password, mixed with the scramble, then call
    /// [`Exchange::encrypted`](super::Exchange::encrypted).
    Encrypt(Sealing),
    /// The proxy ends this login, and has written to the client why: flush and close.
    Refused(Refusal),
    /// The database ends this login, and its error is on its way to the client: flush and close.
    Rejected,
}

/// Why the proxy does not carry a login.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The database expects the password over its TLS, but the client will not send it without TLS
    /// of its own.
    #[error("this login needs the client to use TLS")]
    ClientNeedsTls,
    /// The password would cross the network in the clear, or the database could not read it.
    #[error("{}", PASSWORD_IN_CLEAR)]
    PasswordInClear,
    /// The session will be compressed: a change of user could not be seen in it, and would end with the
    /// password in the clear.
    #[error("compression needs TLS between the proxy and the database")]
    Compression,
}

impl Refusal {
    /// Returns the error that tells the client.
    #[must_use]
    pub fn packet(self) -> ErrorPacket {
        match self {
            Self::ClientNeedsTls => ErrorPacket::new(
                3159,
                *b"HY000",
                "This login needs TLS between client and proxy.",
            ),
            Self::PasswordInClear => ErrorPacket::unsupported_login(
                "This login would send the password in clear; the proxy has no TLS to the database.",
            ),
            Self::Compression => ErrorPacket::unsupported_login(self.to_string()),
        }
    }
}

/// A peer breaks the protocol; the login cannot go on.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AuthError {
    /// The client's change of user cannot be read.
    #[error(transparent)]
    ChangeUser(#[from] ChangeUserError),
    /// The client speaks when it is not its turn, or sends what is not expected now.
    #[error("the client sends a packet that does not belong here")]
    ClientOutOfTurn,
    /// The client's login cannot be read.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The login is over, or waits for [`Exchange::encrypted`](super::Exchange::encrypted).
    #[error("the login does not take packets now")]
    NotExpecting,
    /// Packets were lost or made up.
    #[error("packet number {found} where {expected} is expected")]
    Sequence {
        /// Number that comes next on that leg.
        expected: u8,
        /// Number in the packet.
        found: u8,
    },
    /// The database speaks when it is not its turn, or sends what is not expected now.
    #[error("the database sends a packet that does not belong here")]
    ServerOutOfTurn,
}

impl AuthError {
    /// Returns the error that tells the client.
    #[must_use]
    pub fn packet(self) -> ErrorPacket {
        match self {
            Self::ChangeUser(_) => ErrorPacket::unknown_command(),
            Self::Login(_) => ErrorPacket::bad_handshake(),
            Self::ClientOutOfTurn
            | Self::NotExpecting
            | Self::Sequence { .. }
            | Self::ServerOutOfTurn => ErrorPacket::out_of_order(),
        }
    }
}

/// Returns what the client is told of a password that cannot be encrypted; `None` if the fault is not the
/// client's but in the database's key.
#[must_use]
pub fn unsealable(error: SealError) -> Option<ErrorPacket> {
    match error {
        SealError::TooLong => Some(ErrorPacket::unsupported_login(error.to_string())),
        SealError::Key => None,
    }
}
