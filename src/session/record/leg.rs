//! One connection of a session in its record.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    Damaged, TooLong,
    fields::{put_bytes, take_bytes, take_flag, take_u64},
};
use crate::{
    protocol::bytes::Reader,
    session::leg::WriteSide,
    tls::{records::State, stream::MAX_HELD},
};

/// The most bytes of each kind that wait in a leg and are recorded.
///
/// What is read at once is 64 KiB, and TLS makes that a little longer; a message behind a login is shorter. A
/// leg that holds more is in the middle of an opening. Of a TLS record that waits for its tail, [`MAX_HELD`] bytes
/// are recorded at most: it has to leave room for what is read behind it.
pub const MOST_WAITING: usize = 128 * 1024;

/// The most bytes of each kind, in the order in which they are written: heads of records, plaintext, and bytes
/// for the socket.
const MOST: [usize; 3] = [MAX_HELD, MOST_WAITING, MOST_WAITING];

/// One connection of a session.
#[derive(Clone, PartialEq, Eq)]
pub struct LegRecord {
    /// The socket, by the number that the kernel never uses twice (`SO_COOKIE`, socket(7)); 0 if it is not
    /// known.
    pub cookie: u64,
    /// Bytes that were taken from the socket, since it was connected.
    pub taken: u64,
    /// Bytes that were made for the socket, since it was connected; what waits in `unsent` is among them.
    pub queued: u64,
    /// The TLS of the connection, if it has any, behind its handshake.
    pub tls: Option<State>,
    /// Bytes that were taken and are the head of a TLS record.
    pub held: Zeroizing<Vec<u8>>,
    /// Plaintext that was received and not passed on.
    pub early: Zeroizing<Vec<u8>>,
    /// Bytes that the socket has not taken yet.
    pub unsent: Zeroizing<Vec<u8>>,
    /// The peer sends nothing more.
    pub ended: bool,
    /// How far the closing of our direction has come.
    pub write: WriteSide,
}

/// What waits in it may be secret; only how much it is is shown.
impl fmt::Debug for LegRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegRecord")
            .field("cookie", &self.cookie)
            .field("taken", &self.taken)
            .field("queued", &self.queued)
            .field("tls", &self.tls)
            .field("held", &self.held.len())
            .field("early", &self.early.len())
            .field("unsent", &self.unsent.len())
            .field("ended", &self.ended)
            .field("write", &self.write)
            .finish()
    }
}

impl LegRecord {
    /// Returns how many bytes wait in the leg.
    pub(super) fn waiting(&self) -> usize {
        self.held.len() + self.early.len() + self.unsent.len()
    }

    /// Appends the leg; on an error nothing is appended.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let waiting = [&self.held, &self.early, &self.unsent];
        for (bytes, limit) in waiting.iter().zip(MOST) {
            let length = bytes.len();
            if length > limit {
                return Err(TooLong { length, limit });
            }
        }
        for number in [self.cookie, self.taken, self.queued] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&[u8::from(self.ended), self.write as u8]);
        out.push(u8::from(self.tls.is_some()));
        if let Some(tls) = &self.tls {
            tls.put(out);
        }
        for bytes in waiting {
            put_bytes(bytes, out);
        }
        Ok(())
    }

    /// Takes a leg.
    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (cookie, taken, queued) = (take_u64(reader)?, take_u64(reader)?, take_u64(reader)?);
        let ended = take_flag(reader)?;
        let write = match reader.u8().ok_or(Damaged::Short)? {
            0 => WriteSide::Open,
            1 => WriteSide::Closing,
            2 => WriteSide::Closed,
            _ => return Err(Damaged::Value),
        };
        let tls = if take_flag(reader)? {
            let (state, length) = State::take(reader.rest())?;
            reader.take(length).ok_or(Damaged::Short)?;
            Some(state)
        } else {
            None
        };
        let mut waiting = |most| {
            let bytes = take_bytes(reader, most)?;
            Ok::<_, Damaged>(Zeroizing::new(bytes.to_vec()))
        };
        let [held, early, unsent] = MOST;
        let leg = Self {
            cookie,
            taken,
            queued,
            tls,
            held: waiting(held)?,
            early: waiting(early)?,
            unsent: waiting(unsent)?,
            ended,
            write,
        };
        leg.check()
    }

    fn check(self) -> Result<Self, Damaged> {
        // Heads of records are of TLS, and both counts include what waits.
        let is_possible = (self.tls.is_some() || self.held.is_empty())
            && self.taken >= self.held.len() as u64
            && self.queued >= self.unsent.len() as u64;
        is_possible.then_some(self).ok_or(Damaged::Value)
    }
}
