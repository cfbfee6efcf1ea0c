//! The id of a session.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of a session, which no other session has.
///
/// It is made of the origin of the worker that accepted the client, which is another for each worker and
/// grows with time, and of a count. Written as two hexadecimal numbers, `18c9f2a3b4d5e-1a`, for people and in
/// JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The worker's origin.
    pub origin: u64,
    /// The number of the session among those of the worker, from 1.
    pub number: u64,
}

impl SessionId {
    /// Returns the id as bytes, in network order.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.origin.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Returns the id that [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let [origin, number] = [both >> 64, both & u128::from(u64::MAX)];
        Self {
            origin: u64::try_from(origin).unwrap_or(u64::MAX),
            number: u64::try_from(number).unwrap_or(u64::MAX),
        }
    }
}

/// Why a text is no [`SessionId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the id of a session: `proxyctl sessions` shows ids, such as 18c9f2a3b4d5e-1a"
)]
pub struct NoSessionId(String);

/// The longest text that a complaint repeats, in characters.
const LONGEST: usize = 40;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.origin, self.number)
    }
}

impl FromStr for SessionId {
    type Err = NoSessionId;

    fn from_str(text: &str) -> Result<Self, NoSessionId> {
        let parsed = text.split_once('-').and_then(|(origin, number)| {
            Some(Self {
                origin: hexadecimal(origin)?,
                number: hexadecimal(number)?,
            })
        });
        parsed.ok_or_else(|| NoSessionId(text.chars().take(LONGEST).collect()))
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    // The standard parser would take a plus sign too.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.origin, self.number).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            let (origin, number) = Deserialize::deserialize(deserializer)?;
            Ok(Self { origin, number })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_short_and_can_be_typed() {
        let id = SessionId {
            origin: 0x1_8c9f_2a3b_4d5e,
            number: 26,
        };
        assert_eq!(id.to_string(), "18c9f2a3b4d5e-1a");
        assert_eq!("18C9F2A3B4D5E-1A".parse(), Ok(id));
        for wrong in ["", "-", "1", "1-", "-1", "+1-1", "1-1-1", "1-g", " 1-1"] {
            assert!(wrong.parse::<SessionId>().is_err(), "{wrong}");
        }
        let long = "x".repeat(1000).parse::<SessionId>().unwrap_err();
        assert!(long.to_string().len() < 200);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(origin: u64, number: u64) {
            let id = SessionId { origin, number };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(SessionId::from_bytes(id.to_bytes()), id);
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<SessionId>(&json).unwrap(), id);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,50}") {
            let _ = text.parse::<SessionId>();
        }
    }
}
