//! Packets of MySQL from a leg.

use zeroize::Zeroizing;

use crate::{
    protocol::mysql::{
        Packet,
        packet::{self, HEADER_LEN},
    },
    session::leg::{Leg, LegError},
};

/// A leg and what was read from it but not dealt with.
pub(super) struct Reader {
    /// The leg.
    pub(super) leg: Leg,
    /// What was read.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// The number of the next packet that is written in answer: of the second, if nothing was read.
    pub(super) answer: u8,
}

/// A packet that was read whole.
pub(super) struct Owned {
    /// Its number.
    pub(super) seq: u8,
    /// What follows the header.
    pub(super) payload: Zeroizing<Vec<u8>>,
}

impl Owned {
    pub(super) fn as_packet(&self) -> Packet<'_> {
        Packet {
            seq: self.seq,
            payload: &self.payload,
        }
    }
}

impl Reader {
    pub(super) fn new(leg: Leg) -> Self {
        Self {
            leg,
            bytes: Zeroizing::new(Vec::new()),
            answer: 1,
        }
    }

    /// Takes the next packet from what was read; `None` if it is not whole.
    pub(super) fn take(&mut self) -> Result<Option<Owned>, packet::PacketTooLong> {
        let split = packet::split(&self.bytes, packet::LOGIN_LIMIT).inspect_err(|_| {
            let seq = self.bytes.get(HEADER_LEN - 1);
            self.answer = seq.map_or(0, |seq| seq.wrapping_add(1));
        })?;
        let Some((packet, length)) = split else {
            return Ok(None);
        };
        let owned = Owned {
            seq: packet.seq,
            payload: Zeroizing::new(packet.payload.to_vec()),
        };
        self.answer = packet.seq.wrapping_add(1);
        self.bytes.drain(..length);
        Ok(Some(owned))
    }

    pub(super) async fn read(&mut self) -> Result<(), LegError> {
        self.leg.receive(&mut self.bytes).await
    }

    /// Gives the leg back, with what was not dealt with.
    pub(super) fn into_leg(mut self) -> Leg {
        self.leg.unread(&self.bytes);
        self.leg
    }
}
