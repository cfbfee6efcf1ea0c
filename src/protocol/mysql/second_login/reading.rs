//! The first packet of a second login, while it comes.

use super::carrying::Carrying;
use super::error::SecondLoginError;
use super::{Failure, first_answer, refuse};
use crate::protocol::mysql::auth::{Exchange, Session, Step, Then};
use crate::protocol::mysql::command::Sighting;
use crate::protocol::mysql::error::ErrorPacket;
use crate::protocol::mysql::incoming::Incoming;
use crate::protocol::mysql::packet::HEADER_LEN;
use crate::protocol::watch::{Failed, Fault};

/// A change of user that was sighted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reading {
    /// What the last login left.
    pub(super) session: Session,
    /// What has come of the packet.
    pub(super) packet: Incoming,
    /// How many bytes of its header the database has already.
    pub(super) passed: u8,
    /// The answer to a command before it has yet to come.
    pub(super) out_of_turn: bool,
}

impl Reading {
    /// Begins with what was sighted among bytes that the watch does not have.
    pub(super) fn new(session: Session, sighting: Sighting) -> Self {
        // The whole header, at most.
        let packet = Incoming::part(sighting.passed()).unwrap_or_default();
        Self::begun(session, sighting, packet)
    }

    /// Begins with what was sighted, of which this has come.
    pub(super) fn begun(session: Session, sighting: Sighting, packet: Incoming) -> Self {
        Self {
            session,
            packet,
            passed: u8::try_from(sighting.passed().len()).unwrap_or_default(),
            out_of_turn: sighting.out_of_turn,
        }
    }

    /// Takes what the client sends; returns how many bytes of that, and what begins when all has come.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
    ) -> Result<(usize, Option<(Carrying, Step)>), Failure> {
        if self.out_of_turn {
            return Err(Failed {
                to_client: first_answer(&ErrorPacket::out_of_order()),
                fault: Fault::Client(SecondLoginError::OutOfTurn),
            });
        }
        let taken = self.packet.take(bytes);
        let taken = taken.map_err(|error| {
            refuse(
                self.packet.answer(),
                &ErrorPacket::packet_too_large(),
                error,
            )
        })?;
        Ok((taken, self.begin()?))
    }

    /// Begins to carry the login if its packet is whole.
    fn begin(&self) -> Result<Option<(Carrying, Step)>, Failure> {
        let Some(command) = self.packet.whole() else {
            return Ok(None);
        };
        let answer = self.packet.answer();
        let begun = Exchange::change_user(self.session, command);
        let (exchange, mut first) =
            begun.map_err(|error| refuse(answer, &error.packet(), error))?;
        if matches!(first.then, Then::Continue) {
            let sealed = first.to_server.len() != command.payload.len() + HEADER_LEN;
            if sealed && self.passed > 0 {
                // The database was told another length already.
                let reason = SecondLoginError::SealedInPieces;
                let error = ErrorPacket::unsupported_login(reason.to_string());
                return Err(refuse(answer, &error, reason));
            }
            first.to_server.drain(..usize::from(self.passed));
        }
        let carrying = Carrying::new(exchange, command, answer);
        Ok(Some((carrying, first)))
    }
}
