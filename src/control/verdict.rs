//! What the daemon says once it has seen hello and cookie: whether the client may ask.
//!
//! Like [`super::wire::Hello`] it is encoded by hand: one byte for the verdict, a big-endian `u16` length,
//! and that many bytes of UTF-8 with the reason.

use std::io::Read;

use super::wire::WireError;

/// The longest reason, in bytes.
const MAX_REASON: usize = 4096;

const ADMITTED: u8 = 0;
const REFUSED: u8 = 1;
const WRONG_COOKIE: u8 = 2;

/// Whether a client may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Admitted,
    /// It may not, for this reason.
    Refused(String),
    /// It has shown another cookie than that of this daemon; the reason says where that is.
    WrongCookie(String),
}

impl Verdict {
    /// Returns the bytes to send; a reason that is too long is cut.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, reason) = match self {
            Self::Admitted => (ADMITTED, ""),
            Self::Refused(reason) => (REFUSED, reason.as_str()),
            Self::WrongCookie(reason) => (WRONG_COOKIE, reason.as_str()),
        };
        let mut length = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(length) {
            length -= 1;
        }
        let mut bytes = vec![kind];
        bytes.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
        bytes.extend(&reason.as_bytes()[..length]);
        bytes
    }

    /// Reads what the daemon says; one that is not known counts as a refusal.
    pub fn read<R: Read>(reader: &mut R) -> Result<Self, WireError> {
        let mut head = [0; 3];
        reader.read_exact(&mut head)?;
        let [kind, high, low] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > MAX_REASON {
            return Err(WireError::TooLarge {
                length: length as u64,
                limit: MAX_REASON as u64,
            });
        }
        let mut reason = vec![0; length];
        reader.read_exact(&mut reason)?;
        let reason = String::from_utf8_lossy(&reason).into_owned();
        Ok(match kind {
            ADMITTED => Self::Admitted,
            WRONG_COOKIE => Self::WrongCookie(reason),
            _ => Self::Refused(reason),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_survives_the_journey_and_a_long_reason_is_cut() {
        for verdict in [
            Verdict::Admitted,
            Verdict::Refused("no".into()),
            Verdict::WrongCookie("other".into()),
        ] {
            let read = Verdict::read(&mut verdict.to_bytes().as_slice()).unwrap();
            assert_eq!(read, verdict);
        }
        let long = Verdict::Refused("ä".repeat(MAX_REASON)).to_bytes();
        let Ok(Verdict::Refused(reason)) = Verdict::read(&mut long.as_slice()) else {
            panic!("{long:?}");
        };
        assert_eq!(reason.len(), MAX_REASON);
    }

    #[test]
    fn an_unknown_verdict_is_a_refusal_and_half_of_one_is_none() {
        let read = |mut bytes: &[u8]| Verdict::read(&mut bytes);
        assert_eq!(
            read(b"\x09\0\x02no").unwrap(),
            Verdict::Refused("no".into())
        );
        assert!(matches!(read(b"\x01\0\x02n"), Err(WireError::Truncated)));
        assert!(matches!(
            read(b"\x01\xff\xff"),
            Err(WireError::TooLarge { .. })
        ));
    }
}
