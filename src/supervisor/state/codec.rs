//! The book as bytes: [`MAGIC`], the version in two bytes, the higher one first, and JSON.

use std::io::{self, Write as _};

use super::Book;

/// What a book begins with.
const MAGIC: [u8; 8] = *b"PRXBOOK\0";

/// The version of the book, which is raised when parts change their meaning. A part that is added leaves it.
const VERSION: u16 = 1;

/// Bytes in front of the JSON.
const HEAD: usize = MAGIC.len() + size_of::<u16>();

/// Why a book cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum Unreadable {
    /// It is something else.
    #[error("it is no book of a supervisor")]
    NoBook,
    /// Another program has written it.
    #[error("it has version {0} of the book, and this program reads version {VERSION}")]
    Version(u16),
    /// It is damaged.
    #[error("it cannot be understood: {0}")]
    Content(#[from] serde_json::Error),
}

impl Book {
    /// Writes it at the beginning of `room`; returns how many bytes it takes. Fails when there is not enough room.
    ///
    /// It leaves no other copy of the secrets.
    pub(in crate::supervisor) fn encode(&self, room: &mut [u8]) -> io::Result<usize> {
        let all = room.len();
        let mut rest = room;
        rest.write_all(&MAGIC)?;
        rest.write_all(&VERSION.to_be_bytes())?;
        serde_json::to_writer(&mut rest, self)?;
        Ok(all - rest.len())
    }

    /// Reads it.
    pub(in crate::supervisor) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (head, json) = bytes.split_at_checked(HEAD).ok_or(Unreadable::NoBook)?;
        let version = head.strip_prefix(&MAGIC).ok_or(Unreadable::NoBook)?;
        let version = version
            .iter()
            .fold(0, |version, byte| version << 8 | u16::from(*byte));
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        Ok(serde_json::from_slice(json)?)
    }
}

/// Parts that a program of another version may write otherwise: what of them cannot be read is left out.
pub(super) mod lenient {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, de::DeserializeOwned};
    use serde_json::Value;

    /// Reads a part; one that cannot be read has its default.
    pub(in crate::supervisor::state) fn part<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: DeserializeOwned + Default,
    {
        let value = Value::deserialize(deserializer)?;
        Ok(serde_json::from_value(value).unwrap_or_default())
    }

    /// Reads a list without the elements that cannot be read.
    pub(in crate::supervisor::state) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: DeserializeOwned,
    {
        let values: Vec<Value> = part(deserializer)?;
        let read = values.into_iter().map(serde_json::from_value);
        Ok(read.filter_map(Result::ok).collect())
    }

    /// Reads a map without the values that cannot be read.
    pub(in crate::supervisor::state) fn map<'de, D, T>(
        deserializer: D,
    ) -> Result<BTreeMap<String, T>, D::Error>
    where
        D: Deserializer<'de>,
        T: DeserializeOwned,
    {
        let values: BTreeMap<String, Value> = part(deserializer)?;
        let read = values.into_iter();
        let read = read.filter_map(|(key, it)| Some((key, serde_json::from_value(it).ok()?)));
        Ok(read.collect())
    }
}

#[cfg(test)]
mod tests;
