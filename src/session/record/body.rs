//! The part of a record that hardly ever changes: whose session it is, its sockets, and its keys.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | the [version] |
//! | 1 | in version 2, which no release writes: the version again |
//! | 16 | the session's id |
//! | 8 | when it began, in microseconds since 1970 |
//! | | the listener's name |
//! | 2, 1 | the number by which its sessions are counted; whether the client's sessions are counted |
//! | 8, 8, 8 | how long nothing may move; how long while one side has ended; how long a peer may owe an acknowledgement: in milliseconds, the highest number for no end |
//! | | of both legs: the cookie of the socket (8), and the TLS state as it was when this was written |
//! | | what is known of it |

use super::{
    Damaged, TooLong, about,
    fields::{put_text, take_flag, take_text, take_u64},
    version,
};
use crate::{
    facts::SessionId,
    protocol::bytes::Reader,
    session::{live::Facts, relay::Patience},
    tls::records::{State, encode::MAX_LEN},
};

/// The most bytes of a body.
pub const MOST_BODY: usize =
    256 + 2 * MAX_LEN + 5 * (5 + about::MOST_TEXT) + 32 * 4 + about::MOST_CHAIN;

/// What makes version 2 another one than version 1.
const MARK: u8 = 2;

/// How a session counts against the limits of its listener and of its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The listener's name.
    pub listener: String,
    /// The number by which workers count the listener's sessions.
    pub number: u16,
    /// Whether it counts as one of its client's sessions.
    pub counts_client: bool,
}

/// A body that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Body<'b> {
    /// The version in which it is written.
    pub version: u16,
    /// The session's id.
    pub id: SessionId,
    /// When it began, in microseconds since 1970.
    pub began: u64,
    /// How it counts against limits.
    pub seat: &'b Seat,
    /// How long nothing may move in it before it ends.
    pub patience: Patience,
    /// The sockets, by the numbers that the kernel never uses twice (`SO_COOKIE`, socket(7)).
    pub cookies: [u64; 2],
    /// The TLS of both legs, as far as they have any.
    pub tls: [Option<&'b State>; 2],
    /// What is known of it.
    pub facts: &'b Facts,
}

/// A body that was read.
#[derive(Debug)]
pub struct ReadBody {
    /// See [`Body`].
    pub id: SessionId,
    /// See [`Body`].
    pub began: u64,
    /// See [`Body`].
    pub seat: Seat,
    /// See [`Body`].
    pub patience: Patience,
    /// See [`Body`].
    pub cookies: [u64; 2],
    /// See [`Body`].
    pub tls: [Option<State>; 2],
    /// See [`Body`].
    pub facts: Facts,
}

impl Body<'_> {
    /// Returns how many bytes the body has at most.
    pub fn room(&self) -> usize {
        let text = |text: &Option<Box<str>>| 5 + text.as_ref().map_or(0, |it| it.len());
        let Facts {
            server_name,
            user,
            backend,
            tls,
            ..
        } = self.facts;
        let texts = text(server_name) + text(user) + text(backend);
        let chain = tls.as_ref().and_then(|it| it.certificate.as_ref());
        let chain = chain.map_or(0, |it| it.ders.iter().map(|der| 4 + der.len()).sum());
        let tls = self.tls.iter().flatten().count() * MAX_LEN;
        256 + self.seat.listener.len() + tls + texts + chain
    }

    /// Appends the body; on an error nothing is appended.
    pub fn put(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let before = out.len();
        about::bounded(self.seat.listener.len(), about::MOST_TEXT)?;
        out.extend_from_slice(&self.version.to_be_bytes());
        if self.version >= 2 {
            out.push(MARK);
        }
        out.extend_from_slice(&self.id.to_bytes());
        out.extend_from_slice(&self.began.to_be_bytes());
        put_text(Some(&self.seat.listener), out);
        out.extend_from_slice(&self.seat.number.to_be_bytes());
        out.push(u8::from(self.seat.counts_client));
        for time in self.patience.to_milliseconds() {
            out.extend_from_slice(&time.to_be_bytes());
        }
        for (cookie, tls) in self.cookies.iter().zip(self.tls) {
            out.extend_from_slice(&cookie.to_be_bytes());
            out.push(u8::from(tls.is_some()));
            if let Some(tls) = tls {
                tls.put(out);
            }
        }
        about::put(self.facts, out).inspect_err(|_| out.truncate(before))
    }
}

impl ReadBody {
    /// Reads a body; nothing may stand behind it.
    pub fn take(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16_be().ok_or(Damaged::Short)?;
        if !version::is_read(version) {
            return Err(Damaged::Version(version));
        }
        if version >= 2 && reader.u8() != Some(MARK) {
            return Err(Damaged::Value);
        }
        let id = SessionId::from_bytes(reader.array().ok_or(Damaged::Short)?);
        let began = take_u64(&mut reader)?;
        let listener = take_text(&mut reader, about::MOST_TEXT)?;
        let seat = Seat {
            listener: listener.ok_or(Damaged::Value)?.into(),
            number: reader.u16_be().ok_or(Damaged::Short)?,
            counts_client: take_flag(&mut reader)?,
        };
        let mut time = || take_u64(&mut reader);
        let patience = Patience::of_milliseconds([time()?, time()?, time()?]);
        let (client, backend) = (take_socket(&mut reader)?, take_socket(&mut reader)?);
        let facts = about::take(&mut reader, client.1.as_ref())?;
        if !reader.rest().is_empty() {
            return Err(Damaged::Long);
        }
        Ok(Self {
            id,
            began,
            seat,
            patience,
            cookies: [client.0, backend.0],
            tls: [client.1, backend.1],
            facts,
        })
    }
}

fn take_socket(reader: &mut Reader<'_>) -> Result<(u64, Option<State>), Damaged> {
    let cookie = take_u64(reader)?;
    if !take_flag(reader)? {
        return Ok((cookie, None));
    }
    let (state, length) = State::take(reader.rest())?;
    reader.take(length).ok_or(Damaged::Short)?;
    Ok((cookie, Some(state)))
}
