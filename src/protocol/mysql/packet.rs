//! Packet framing: three bytes of length, least significant first, one byte of sequence number,
//! then the payload.

use std::fmt;

use thiserror::Error;

/// Bytes before each payload.
pub const HEADER_LEN: usize = 4;

/// Largest packet that is read during login. Clients send up to 64 KiB of connection attributes,
/// beside user, database and authentication data.
pub const LOGIN_LIMIT: usize = 128 * 1024;

/// Length that announces a continuation in the next packet; nothing in the connection phase is that
/// long.
const CONTINUED: usize = 0xff_ffff;

/// One packet inside a receive buffer.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Packet<'a> {
    /// Counts the packets of both sides within one exchange, modulo 256.
    pub seq: u8,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// A payload may be a password, so only its length is shown.
impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Packet {{ seq: {}, {} bytes }}",
            self.seq,
            self.payload.len()
        )
    }
}

/// The announced length cannot be right for this phase.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("packet of {announced} bytes announced where at most {limit} are expected")]
pub struct PacketTooLong {
    /// Length in the header.
    pub announced: usize,
    /// Length that would have been accepted.
    pub limit: usize,
}

/// Returns how many bytes the payload behind the header at the beginning of `buf` has, or `None` while the
/// header is incomplete.
pub fn announced(buf: &[u8], limit: usize) -> Result<Option<usize>, PacketTooLong> {
    let Some([low, middle, high, _]) = buf.first_chunk() else {
        return Ok(None);
    };
    let announced = u32::from_le_bytes([*low, *middle, *high, 0]) as usize;
    if announced > limit || announced == CONTINUED {
        return Err(PacketTooLong { announced, limit });
    }
    Ok(Some(announced))
}

/// Returns the first packet of `buf` and how many bytes it takes, or `None` while it is incomplete.
///
/// A length above `limit` is an error as soon as the header is there, so a buffer of `limit +
/// HEADER_LEN` bytes is always enough.
pub fn split(buf: &[u8], limit: usize) -> Result<Option<(Packet<'_>, usize)>, PacketTooLong> {
    let Some(announced) = announced(buf, limit)? else {
        return Ok(None);
    };
    let length = HEADER_LEN + announced;
    Ok(buf.get(..length).map(|whole| {
        let (seq, payload) = (whole[HEADER_LEN - 1], &whole[HEADER_LEN..]);
        (Packet { seq, payload }, length)
    }))
}

/// Appends one packet to `out`.
///
/// # Panics
///
/// When `payload` needs more than one packet; nothing in the connection phase comes near.
pub fn write(seq: u8, payload: &[u8], out: &mut Vec<u8>) {
    assert!(
        payload.len() < CONTINUED,
        "a packet of the connection phase is short"
    );
    let [low, middle, high, ..] = payload.len().to_le_bytes();
    out.reserve_exact(HEADER_LEN + payload.len());
    out.extend_from_slice(&[low, middle, high, seq]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn incomplete_packets_ask_for_more() {
        let whole = [2, 0, 0, 7, b'o', b'k'];
        for end in 0..whole.len() {
            assert_eq!(split(&whole[..end], 2), Ok(None), "{end} bytes");
        }
        let packet = Packet {
            seq: 7,
            payload: b"ok",
        };
        assert_eq!(split(&whole, 2), Ok(Some((packet, 6))));
    }

    #[test]
    fn a_long_length_is_refused_before_the_payload_arrives() {
        let error = PacketTooLong {
            announced: 3,
            limit: 2,
        };
        assert_eq!(split(&[3, 0, 0, 0], 2), Err(error));
        assert!(split(&[0xff, 0xff, 0xff, 0], usize::MAX).is_err());
    }

    #[test]
    fn an_empty_packet_is_a_packet() {
        let packet = Packet {
            seq: 3,
            payload: b"",
        };
        assert_eq!(split(&[0, 0, 0, 3, 9], 10), Ok(Some((packet, 4))));
    }

    #[test]
    fn debug_hides_the_payload() {
        let packet = Packet {
            seq: 4,
            payload: b"secret\0",
        };
        assert_eq!(format!("{packet:?}"), "Packet { seq: 4, 7 bytes }");
    }

    proptest! {
        #[test]
        fn written_packets_are_read_back(seq: u8, payload: Vec<u8>, behind: Vec<u8>) {
            let mut out = Vec::new();
            write(seq, &payload, &mut out);
            let length = out.len();
            out.extend_from_slice(&behind);
            let packet = Packet { seq, payload: &payload };
            prop_assert_eq!(split(&out, LOGIN_LIMIT), Ok(Some((packet, length))));
        }

        #[test]
        fn any_bytes_are_survived(buf: Vec<u8>, limit in 0_usize..300) {
            if let Ok(Some((packet, consumed))) = split(&buf, limit) {
                prop_assert!(packet.payload.len() <= limit && consumed <= buf.len());
            }
        }
    }
}
