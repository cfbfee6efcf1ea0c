//! The record of an established session: all of it as bytes, from which any process that has its two sockets can
//! go on.
//!
//! A record has three parts, because they change at different times: what [moves](moving) with every step, the
//! [body] that hardly ever changes, and the bytes that [wait](waiting). All numbers are in network order.
//!
//! What is read is hostile input, since a worker that was taken over may have written it: each length is bounded
//! before it is believed, and nothing is cast. A record holds keys and what passes through a session, and is
//! wiped when it is dropped.

mod about;
pub mod body;
mod fields;
mod leg;
pub mod moving;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
pub mod version;
pub mod waiting;

use std::io;

use zeroize::Zeroizing;

pub use self::{
    body::{Body, ReadBody, Seat},
    leg::LegRecord,
    moving::{Extent, MOST_MOVING, MOST_WATCHER, Moving, MovingLeg},
    version::{OLDEST, VERSION},
    waiting::{MOST_WAITING, WaitingLeg},
};
use super::{
    conversation::{First, Flow},
    live::Facts,
    relay::Patience,
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

/// The most bytes of a record.
pub const MOST_BYTES: usize =
    64 + MOST_MOVING + body::MOST_BODY + Watcher::MAX_ENCODED + 8 * MOST_WAITING;

/// An established session.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its id.
    pub id: SessionId,
    /// How often another worker has taken it over.
    pub takeovers: u32,
    /// How suspect it is of ending its workers
    /// ([`takeover::suspicion`](crate::session::takeover::suspicion)).
    pub suspicion: u8,
    /// Bytes of the client that were passed on.
    pub bytes_up: u64,
    /// Bytes of the backend that were passed on.
    pub bytes_down: u64,
    /// When it began, in microseconds since 1970.
    pub began: u64,
    /// When a byte moved last, in milliseconds since the machine was started (`CLOCK_BOOTTIME`,
    /// `clock_gettime(2)`).
    pub moved: u64,
    /// How it counts against limits.
    pub seat: Seat,
    /// How long nothing may move in it before it ends.
    pub patience: Patience,
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
    #[error(
        "the record of a session has version {0}, and this program reads {OLDEST} to {VERSION}; the sessions of a \
         release are gone on with by the one before and the one behind it"
    )]
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
    /// Puts a record together from its parts.
    pub fn of(moving: &Moving<'_>, body: &[u8], waiting: Option<&[u8]>) -> Result<Self, Damaged> {
        let body = ReadBody::take(body)?;
        let ([client, backend], waits) = match waiting {
            Some(waiting) => waiting::take(waiting, moving.watcher.is_none())?,
            None => Default::default(),
        };
        let watcher = moving.watcher.or(waits.as_deref().map(Vec::as_slice));
        let watcher = watcher.ok_or(Damaged::Short)?;
        let all = watcher.len();
        let (watcher, length) = Watcher::decode(watcher)?;
        if length != all {
            return Err(Malformed.into());
        }
        let [client_tls, backend_tls] = body.tls;
        let [client_cookie, backend_cookie] = body.cookies;
        let [moving_client, moving_backend] = &moving.legs;
        Ok(Self {
            id: body.id,
            takeovers: moving.takeovers,
            suspicion: moving.suspicion,
            bytes_up: moving.bytes_up,
            bytes_down: moving.bytes_down,
            began: body.began,
            moved: moving.moved,
            seat: body.seat,
            patience: body.patience,
            flows: moving.flows,
            client: LegRecord::of(moving_client, (client_cookie, client_tls), client)?,
            backend: LegRecord::of(moving_backend, (backend_cookie, backend_tls), backend)?,
            watcher,
            facts: body.facts,
        })
    }

    /// Returns the record without its connections: without keys, and without what waits in it.
    #[must_use]
    pub fn about(&self) -> Self {
        Self {
            client: self.client.without_bytes(),
            backend: self.backend.without_bytes(),
            watcher: Watcher::None,
            seat: self.seat.clone(),
            facts: self.facts.clone(),
            ..*self
        }
    }

    /// Returns the record's parts behind each other, each behind its length: [`MOST_BYTES`] at most.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, TooLong> {
        let mut watcher = Zeroizing::new(Vec::with_capacity(Watcher::MAX_ENCODED));
        self.watcher.encode(&mut watcher).map_err(|long| TooLong {
            length: long.length,
            limit: long.limit,
        })?;
        let (beside, waits) = split_watcher(&watcher);
        let legs = [self.client.waiting(), self.backend.waiting()];
        let mut waiting = Zeroizing::new(Vec::with_capacity(waiting::length(legs, waits)));
        waiting::put(legs, waits, &mut waiting)?;
        let mut body = Zeroizing::new(Vec::with_capacity(body::MOST_BODY));
        self.body().put(&mut body)?;
        let place = |length: usize| Extent {
            at: 0,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        };
        let moving = Moving {
            commits: 1,
            takeovers: self.takeovers,
            suspicion: self.suspicion,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            moved: self.moved,
            flows: self.flows,
            body: place(body.len()),
            waiting: Some(place(waiting.len())),
            legs: [self.client.moving(), self.backend.moving()],
            watcher: beside,
        };
        let mut head = Zeroizing::new(Vec::with_capacity(MOST_MOVING));
        moving.put(&mut head);
        let length = 12 + head.len() + body.len() + waiting.len();
        // Room for all of it, because memory that a vector has grown out of is not wiped.
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        for part in [&head, &body, &waiting] {
            fields::put_bytes(part, &mut out);
        }
        Ok(out)
    }

    fn body(&self) -> Body<'_> {
        Body {
            version: VERSION,
            id: self.id,
            began: self.began,
            seat: &self.seat,
            patience: self.patience,
            cookies: [self.client.cookie, self.backend.cookie],
            tls: [self.client.tls.as_ref(), self.backend.tls.as_ref()],
            facts: &self.facts,
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let moving = fields::take_bytes(&mut reader, MOST_MOVING)?;
        let moving = Moving::take(moving)?;
        let body = fields::take_bytes(&mut reader, body::MOST_BODY)?;
        let waiting = fields::take_bytes(&mut reader, MOST_BYTES)?;
        if !reader.rest().is_empty() {
            return Err(Damaged::Long);
        }
        Self::of(&moving, body, Some(waiting))
    }
}

/// Returns a watcher's bytes as those that lie beside the moving part, or as those that wait elsewhere.
pub(super) fn split_watcher(watcher: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    if watcher.len() <= MOST_WATCHER {
        (Some(watcher), None)
    } else {
        (None, Some(watcher))
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
