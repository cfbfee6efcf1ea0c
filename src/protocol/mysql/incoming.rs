//! A packet that comes in pieces.

use super::packet::{self, HEADER_LEN, LOGIN_LIMIT, Packet, PacketTooLong};
use crate::protocol::secret::Secret;

/// What has come of one packet of a login, which may hold a password.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Incoming(Secret);

impl Incoming {
    /// Takes what belongs to the packet from the beginning of `bytes`; returns how many bytes that is.
    ///
    /// A packet that is too long is an error as soon as its header is there.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, PacketTooLong> {
        let header = self.fill(bytes, HEADER_LEN);
        let Some(announced) = packet::announced(self.bytes(), LOGIN_LIMIT)? else {
            return Ok(header);
        };
        Ok(header + self.fill(&bytes[header..], HEADER_LEN + announced))
    }

    /// Takes as many bytes as are missing to this length.
    fn fill(&mut self, bytes: &[u8], length: usize) -> usize {
        let missing = length.saturating_sub(self.bytes().len());
        let taken = missing.min(bytes.len());
        self.0.extend(&bytes[..taken]);
        taken
    }

    /// Returns the packet if all of it has come.
    pub(super) fn whole(&self) -> Option<Packet<'_>> {
        let (packet, _) = packet::split(self.bytes(), LOGIN_LIMIT).ok()??;
        Some(packet)
    }

    /// Returns what has come of it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Returns the number of a packet in answer to it: of the second of an exchange, while its header has not come.
    pub(super) fn answer(&self) -> u8 {
        let seq = self.bytes().get(HEADER_LEN - 1);
        seq.map_or(1, |seq| seq.wrapping_add(1))
    }

    /// Returns a packet of which exactly these bytes have come; `None` if that is one that is too long, or
    /// whole.
    pub(super) fn part(bytes: &[u8]) -> Option<Self> {
        let mut incoming = Self::default();
        let taken = incoming.take(bytes).ok()?;
        (taken == bytes.len() && incoming.whole().is_none()).then_some(incoming)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_takes_its_own_bytes_and_no_more() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.answer(), 1);
        assert_eq!(incoming.take(b"\x02\0"), Ok(2));
        assert_eq!(incoming.take(b"\0\x07o"), Ok(3));
        assert_eq!((incoming.whole(), incoming.answer()), (None, 8));
        assert_eq!(incoming.take(b"k\x01\0\0"), Ok(1));
        let packet = Packet {
            seq: 7,
            payload: b"ok",
        };
        assert_eq!(incoming.whole(), Some(packet));
        assert_eq!(incoming.take(b"\x01"), Ok(0));
    }

    #[test]
    fn a_packet_that_is_too_long_is_known_by_its_header() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.take(b"\0\0\x03"), Ok(3));
        let error = PacketTooLong {
            announced: 0x03_0000,
            limit: LOGIN_LIMIT,
        };
        assert_eq!(incoming.take(b"\x04rest"), Err(error));
        assert_eq!(incoming.answer(), 5);
        assert_eq!(Incoming::part(b"\0\0\x03\x04"), None);
    }

    proptest! {
        #[test]
        fn a_part_is_what_has_come(bytes: Vec<u8>) {
            if let Some(part) = Incoming::part(&bytes) {
                prop_assert_eq!(part.bytes(), &bytes[..]);
                prop_assert!(part.whole().is_none());
            }
        }
    }
}
