//! Handshake messages behind the handshake: read by their heads, across records, without keeping them.
//!
//! Of a ticket and of a request to renegotiate nothing is used, so that their bodies are skipped by a
//! count. What is kept between two records is a few bytes.

use super::{
    Fault, alert,
    state::{Role, State},
    suite::Version,
};

/// Bytes in front of each message: its type and the length of what follows (RFC 8446 §4).
pub(super) const HEAD_LEN: usize = 4;

/// The most bytes of a message's body, as rustls has it.
pub(super) const MAX_BODY: u32 = 0xffff;

/// The fewest bytes of a ticket's body (RFC 8446 §4.6.1): lifetime, age, and three lengths, one of a
/// ticket that is not empty.
const MIN_TICKET: u32 = 4 + 4 + 1 + 2 + 1 + 2;

const NEW_SESSION_TICKET: u8 = 4;
pub(super) const KEY_UPDATE: u8 = 24;

/// A message that may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The sender's next record has its next key (RFC 8446 §4.6.3).
    KeyUpdate,
    /// A ticket for another session, which is never used (RFC 8446 §4.6.1).
    Ticket,
    /// The peer of a TLS 1.2 session wants new keys (RFC 5246 §7.4.1).
    Renegotiation,
}

/// How far the reading of messages is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Between two messages.
    Between,
    /// In a message's head, of which this many bytes have come.
    Head([u8; HEAD_LEN - 1], u8),
    /// In a message's body, of which this many bytes are missing.
    Body(Kind, u32),
}

/// A message that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The peer's key changes; the value says whether ours has to.
    KeyUpdate(u8),
    /// Nothing is to be done.
    Ticket,
    /// It must be refused.
    Renegotiation,
}

/// Reads on in `bytes`, the content of handshake records, to the end of a message or of the bytes.
pub(super) fn read(state: &mut State, bytes: &mut &[u8]) -> Result<Option<Event>, Fault> {
    let (kind, missing) = match state.reading {
        Reading::Body(kind, missing) => (kind, missing),
        reading => match head(reading, bytes) {
            Ok(head) => classify(state, head)?,
            Err(reading) => {
                state.reading = reading;
                return Ok(None);
            }
        },
    };
    let taken = bytes.len().min(missing as usize);
    let (body, rest) = bytes.split_at(taken);
    *bytes = rest;
    let missing = missing - u32::try_from(taken).unwrap_or(missing);
    if missing > 0 {
        state.reading = Reading::Body(kind, missing);
        return Ok(None);
    }
    state.reading = Reading::Between;
    Ok(Some(match kind {
        Kind::KeyUpdate => Event::KeyUpdate(body.last().copied().ok_or(Fault::Undecodable)?),
        Kind::Ticket => Event::Ticket,
        Kind::Renegotiation => Event::Renegotiation,
    }))
}

/// Completes a head; `Err` is how far it has come.
fn head(reading: Reading, bytes: &mut &[u8]) -> Result<[u8; HEAD_LEN], Reading> {
    let (mut head, mut have) = match reading {
        Reading::Head([a, b, c], have) => ([a, b, c, 0], have),
        _ => ([0; HEAD_LEN], 0),
    };
    while let Some(place) = head.get_mut(usize::from(have)) {
        let Some((byte, rest)) = bytes.split_first() else {
            return Err(match have {
                0 => Reading::Between,
                have => Reading::Head([head[0], head[1], head[2]], have),
            });
        };
        *place = *byte;
        *bytes = rest;
        have += 1;
    }
    Ok(head)
}

/// Returns what a message is, and the length of its body.
fn classify(state: &State, head: [u8; HEAD_LEN]) -> Result<(Kind, u32), Fault> {
    let [kind, a, b, c] = head;
    let length = u32::from_be_bytes([0, a, b, c]);
    let (kind, lengths) = match (state.version(), state.role, kind) {
        (Version::Tls13, _, KEY_UPDATE) => (Kind::KeyUpdate, 1..=1),
        (Version::Tls13, Role::Client, NEW_SESSION_TICKET) => (Kind::Ticket, MIN_TICKET..=MAX_BODY),
        (Version::Tls12, role, kind) if kind == alert::renegotiation(role) => {
            let longest = match role {
                Role::Client => 0,
                Role::Server => MAX_BODY,
            };
            (Kind::Renegotiation, 0..=longest)
        }
        _ => return Err(Fault::MessageType(kind)),
    };
    if lengths.contains(&length) {
        Ok((kind, length))
    } else {
        Err(Fault::Undecodable)
    }
}
