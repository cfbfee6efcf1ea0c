//! Why a second login ends its session.

use thiserror::Error;

use crate::protocol::mysql::auth::{AuthError, Refusal};
use crate::protocol::mysql::packet::PacketTooLong;
use crate::protocol::sealing::SealError;

/// Why a second login ends its session; an ERR of the database is none of these.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SecondLoginError {
    /// One side does not keep to the protocol.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The answer to the command before it has yet to come, and would be taken for the decision.
    #[error("the client did not wait for the answer to its last command")]
    OutOfTurn,
    /// No login has packets so long.
    #[error(transparent)]
    Packet(#[from] PacketTooLong),
    /// The login cannot be carried over these legs.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The password cannot be encrypted for the database.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A part of the header went to the database before it was known what it belongs to, and now its length
    /// changes.
    #[error("a change of user that has to be sealed comes in pieces")]
    SealedInPieces,
}
