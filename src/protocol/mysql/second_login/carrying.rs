//! A second login that is carried, packet by packet, until the database has decided.

use super::error::SecondLoginError;
use super::{Failure, refuse};
use crate::protocol::mysql::auth::{AuthError, Exchange, Session, Step, unsealable};
use crate::protocol::mysql::command::changed_user;
use crate::protocol::mysql::error::ErrorPacket;
use crate::protocol::mysql::incoming::Incoming;
use crate::protocol::mysql::packet::Packet;
use crate::protocol::sealing::{SealError, Sealing};
use crate::protocol::watch::{Awaited, Failed, Fault, LONGEST_USER, Side, Wants};

/// A second login on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Carrying {
    /// Whose turn it is, and what is sent.
    pub(super) exchange: Exchange,
    /// The number of a packet in answer to what the client sent last.
    pub(super) answer: u8,
    /// Who logs in, cut at [`LONGEST_USER`] bytes.
    pub(super) user: Vec<u8>,
    /// What has come of the client's next packet.
    pub(super) client: Incoming,
    /// What has come of the database's.
    pub(super) server: Incoming,
    /// What the exchange waits for, if that is a ciphertext.
    pub(super) sealing: Option<Sealing>,
}

impl Carrying {
    /// Begins with the client's command, and the number of a packet in answer to it.
    pub(super) fn new(exchange: Exchange, command: Packet<'_>, answer: u8) -> Self {
        let user = changed_user(command.payload).unwrap_or_default();
        Self {
            exchange,
            answer,
            user: user[..user.len().min(LONGEST_USER)].to_vec(),
            client: Incoming::default(),
            server: Incoming::default(),
            sealing: None,
        }
    }

    /// Says what it needs now.
    pub(super) fn wants(&self) -> Wants<'_> {
        match &self.sealing {
            Some(sealing) => Wants::Sealing(sealing),
            None => Wants::Bytes(Awaited {
                client: self.exchange.awaits_client(),
                server: true,
            }),
        }
    }

    /// Takes what a side sends, up to the end of one packet; returns how many bytes of that, and what is to
    /// be done when the packet is whole.
    pub(super) fn take(
        &mut self,
        from: Side,
        bytes: &[u8],
    ) -> Result<(usize, Option<Step>), Failure> {
        let incoming = match from {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        let taken = incoming.take(bytes);
        let answer = incoming.answer();
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if from == Side::Client => {
                return Err(refuse(answer, &ErrorPacket::packet_too_large(), error));
            }
            Err(error) => return Err(self.server_failed(error)),
        };
        if incoming.whole().is_none() {
            return Ok((taken, None));
        }
        let whole = std::mem::take(incoming);
        let step = whole.whole().map(|packet| match from {
            Side::Client => {
                self.answer = answer;
                let step = self.exchange.from_client(packet);
                step.map_err(|error| self.client_failed(error))
            }
            Side::Server => {
                let step = self.exchange.from_server(packet);
                step.map_err(|error| self.server_failed(error))
            }
        });
        Ok((taken, step.transpose()?))
    }

    /// Takes what was to be sealed.
    pub(super) fn sealed(&mut self, sealed: Result<Vec<u8>, SealError>) -> Result<Step, Failure> {
        self.sealing = None;
        let sealed = sealed.map_err(|error| match unsealable(error) {
            Some(told) => refuse(self.answer, &told, error),
            None => self.server_failed(error),
        })?;
        let step = self.exchange.encrypted(&sealed);
        step.map_err(|error| self.client_failed(error))
    }

    /// Ends the login: returns what it leaves for the next, and what the client has begun to send.
    pub(super) fn end(&mut self) -> (Session, Incoming) {
        (self.exchange.session(), std::mem::take(&mut self.client))
    }

    /// Says which side had to say something when its time was over, and what the client is told.
    pub(super) fn run_out(&mut self) -> (Side, Vec<u8>) {
        self.exchange.run_out()
    }

    /// Returns the packet that ends the login for the client.
    pub(super) fn last_words(&mut self, error: &ErrorPacket) -> Vec<u8> {
        self.exchange.last_words(error)
    }

    fn client_failed(&self, error: AuthError) -> Failure {
        refuse(self.answer, &error.packet(), error)
    }

    fn server_failed(&mut self, error: impl Into<SecondLoginError>) -> Failure {
        Failed {
            to_client: self.last_words(&ErrorPacket::backend_failed()),
            fault: Fault::Server(error.into()),
        }
    }
}
