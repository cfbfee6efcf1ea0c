//! The book as bytes: JSON (RFC 8259), in each version that a program beside this one may read.

use std::io;

use super::{
    Book,
    versions::{self, Unread},
};

/// What a book begins with.
const KIND: [u8; 8] = *b"PRXBOOK\0";

/// Why a book cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum Unreadable {
    /// It is no book, or none that this program reads.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// It is damaged.
    #[error("it cannot be understood: {0}")]
    Content(#[from] serde_json::Error),
}

impl Book {
    /// Writes it at the beginning of `room`; returns how many bytes it takes. Fails when there is not enough room.
    ///
    /// It leaves no other copy of the secrets.
    pub(in crate::supervisor) fn encode(&self, room: &mut [u8]) -> io::Result<usize> {
        versions::write(KIND, room, |room| Ok(serde_json::to_writer(room, self)?))
    }

    /// Reads it.
    pub(in crate::supervisor) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (json, _) = versions::find(KIND, bytes)?;
        Ok(serde_json::from_slice(&bytes[json])?)
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
