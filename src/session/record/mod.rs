//! The record of an established session: all of it as bytes, from which any process that has its two sockets can
//! go on.
//!
//! A record has a version; all numbers are in network order:
//!
//! | bytes | what |
//! |---|---|
//! | 2 | [`VERSION`] |
//! | 16 | the session's id |
//! | 4 | how often it was taken over |
//! | 8, 8 | bytes that were passed on, of the client and of the backend |
//! | 8 | when it began, in microseconds since 1970 |
//! | 8 | when a byte moved last, in milliseconds of the clock that runs while the machine sleeps |
//! | 1 | which directions are over, and which side ended first |
//! | | the client's leg, then the backend's ([`LegRecord`]) |
//! | | what watches the session ([`Watcher`]) |
//! | | what is known of it |
//!
//! What is read is hostile input, since a worker that was taken over may have written it: each length is bounded
//! before it is believed, and nothing is cast. A record holds keys and what passes through a session, and is
//! wiped when it is dropped.

mod about;
mod fields;
mod keeping;
mod leg;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use std::io;

use zeroize::Zeroizing;

use self::fields::take_u64;
pub use self::leg::{LegRecord, MOST_WAITING};
use super::{
    conversation::{First, Flow},
    live::Facts,
};
use crate::{
    facts::SessionId,
    protocol::{
        bytes::Reader,
        watch::{Malformed, Watch as _},
        watcher::Watcher,
    },
    tls::records::state::StateError,
};

/// The version of records that this program writes and reads.
pub const VERSION: u16 = 1;

/// The most bytes of a record.
pub const MOST_BYTES: usize =
    4096 + 4 * about::MOST_TEXT + about::MOST_CHAIN + Watcher::MAX_ENCODED + 6 * MOST_WAITING;

/// An established session.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// How often another worker has taken it over.
    pub takeovers: u32,
    /// Bytes of the client that were passed on.
    pub bytes_up: u64,
    /// Bytes of the backend that were passed on.
    pub bytes_down: u64,
    /// When it began, in microseconds since 1970.
    pub began: u64,
    /// When a byte moved last, in milliseconds since the machine was started (`CLOCK_BOOTTIME`,
    /// `clock_gettime(2)`).
    pub moved: u64,
    /// How far both directions have come.
    pub flows: Flows,
    /// The client's connection.
    pub client: LegRecord,
    /// The backend's connection.
    pub backend: LegRecord,
    /// What watches it.
    pub watcher: Watcher,
    /// What is known of it.
    pub facts: Facts,
}

/// How far the two directions of a session have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flows {
    /// Both move.
    Open,
    /// The client has ended its direction.
    ClientOver,
    /// The backend has ended its direction.
    BackendOver,
    /// The backend takes nothing more, and may still say something; the error, by its number (errno(3)).
    BackendFailed(i32),
}

/// Why a session cannot be recorded now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a part of the session has {length} bytes, and {limit} at most are recorded of it")]
pub struct TooLong {
    /// How long the part is, in bytes.
    pub length: usize,
    /// How much of it is recorded at most, in bytes.
    pub limit: usize,
}

/// Why bytes are no record of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Another version wrote it.
    #[error("the record of a session has version {0}, which this program does not know")]
    Version(u16),
    /// It ends too early.
    #[error("the record of a session is cut short")]
    Short,
    /// A length is larger than any that is written.
    #[error("the record of a session has an impossible length in it")]
    Length,
    /// A value has no meaning, or does not fit another one.
    #[error("the record of a session has an impossible value in it")]
    Value,
    /// Something stands behind its end.
    #[error("the record of a session is too long")]
    Long,
    /// The state of one of its TLS connections is none.
    #[error(transparent)]
    Tls(#[from] StateError),
    /// What watches it is damaged.
    #[error(transparent)]
    Watch(#[from] Malformed),
}

impl Record {
    /// Returns the record as bytes, [`MOST_BYTES`] at most.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, TooLong> {
        // Room for all of it, because memory that a vector has grown out of is not wiped.
        let waiting = [&self.client, &self.backend].map(LegRecord::waiting);
        let room = MOST_BYTES - 6 * MOST_WAITING + waiting.iter().sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&self.id.to_bytes());
        out.extend_from_slice(&self.takeovers.to_be_bytes());
        for number in [self.bytes_up, self.bytes_down, self.began, self.moved] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        self.flows.put(&mut out);
        self.client.put(&mut out)?;
        self.backend.put(&mut out)?;
        self.watcher.encode(&mut out).map_err(|long| TooLong {
            length: long.length,
            limit: long.limit,
        })?;
        about::put(&self.facts, &mut out)?;
        Ok(out)
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16_be().ok_or(Damaged::Short)?;
        if version != VERSION {
            return Err(Damaged::Version(version));
        }
        let id = SessionId::from_bytes(reader.array().ok_or(Damaged::Short)?);
        let takeovers = reader.u32_be().ok_or(Damaged::Short)?;
        let mut number = || take_u64(&mut reader);
        let (bytes_up, bytes_down, began, moved) = (number()?, number()?, number()?, number()?);
        let flows = Flows::take(&mut reader)?;
        let client = LegRecord::take(&mut reader)?;
        let backend = LegRecord::take(&mut reader)?;
        let (watcher, length) = Watcher::decode(reader.rest())?;
        reader.take(length).ok_or(Damaged::Short)?;
        let facts = about::take(&mut reader, client.tls.as_ref())?;
        if !reader.rest().is_empty() {
            return Err(Damaged::Long);
        }
        Ok(Self {
            id,
            takeovers,
            bytes_up,
            bytes_down,
            began,
            moved,
            flows,
            client,
            backend,
            watcher,
            facts,
        })
    }
}

impl Flows {
    /// Returns how far a conversation has come; one whose both directions are over is not recorded any more.
    pub(super) fn of(up: Flow, down: Flow, first: &First) -> Self {
        match (up, down, first) {
            (Flow::Over, _, First::BackendFailed(error)) => {
                Self::BackendFailed(error.os_error().unwrap_or(0))
            }
            (Flow::Over, _, _) => Self::ClientOver,
            (_, Flow::Over, _) => Self::BackendOver,
            _ => Self::Open,
        }
    }

    /// Returns the same as a conversation has it.
    pub(super) fn parts(self) -> (Flow, Flow, First) {
        match self {
            Self::Open => (Flow::Moving, Flow::Moving, First::Neither),
            Self::ClientOver => (Flow::Over, Flow::Moving, First::Client),
            Self::BackendOver => (Flow::Moving, Flow::Over, First::Backend),
            Self::BackendFailed(error) => {
                let error = io::Error::from_raw_os_error(error).into();
                (Flow::Over, Flow::Moving, First::BackendFailed(error))
            }
        }
    }

    fn put(self, out: &mut Vec<u8>) {
        let (kind, error) = match self {
            Self::Open => (0, 0),
            Self::ClientOver => (1, 0),
            Self::BackendOver => (2, 0),
            Self::BackendFailed(error) => (3, error),
        };
        out.push(kind);
        out.extend_from_slice(&error.to_be_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let kind = reader.u8().ok_or(Damaged::Short)?;
        let error = i32::from_be_bytes(reader.array().ok_or(Damaged::Short)?);
        match (kind, error) {
            (0, 0) => Ok(Self::Open),
            (1, 0) => Ok(Self::ClientOver),
            (2, 0) => Ok(Self::BackendOver),
            (3, error) => Ok(Self::BackendFailed(error)),
            _ => Err(Damaged::Value),
        }
    }
}
