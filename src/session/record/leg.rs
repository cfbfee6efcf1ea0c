//! One connection of a session in its record.

use std::fmt;

use zeroize::Zeroizing;

use super::{Damaged, MovingLeg, WaitingLeg};
use crate::{session::leg::WriteSide, tls::records::State};

/// More bytes than any connection carries. Counts below it can be added up without overflow.
const MOST_COUNT: u64 = 1 << 62;

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
    /// TLS has failed behind what was received last.
    pub failed: bool,
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
            .field("failed", &self.failed)
            .field("write", &self.write)
            .finish()
    }
}

impl LegRecord {
    /// Puts a leg together from the parts of a record.
    pub(super) fn of(
        moving: &MovingLeg,
        (cookie, tls): (u64, Option<State>),
        waiting: WaitingLeg,
    ) -> Result<Self, Damaged> {
        let tls = match (tls, &moving.tls) {
            (Some(tls), Some(moving)) => Some(tls.with_moving(moving)?),
            (None, None) => None,
            _ => return Err(Damaged::Value),
        };
        let WaitingLeg {
            held,
            early,
            unsent,
        } = waiting;
        let leg = Self {
            cookie,
            taken: moving.taken,
            queued: moving.queued,
            tls,
            held,
            early,
            unsent,
            ended: moving.ended,
            failed: moving.failed,
            write: moving.write,
        };
        // Heads of records are of TLS, and so are its failures; both counts include what waits.
        let is_possible = (leg.tls.is_some() || (leg.held.is_empty() && !leg.failed))
            && (leg.held.len() as u64..MOST_COUNT).contains(&leg.taken)
            && (leg.unsent.len() as u64..MOST_COUNT).contains(&leg.queued);
        is_possible.then_some(leg).ok_or(Damaged::Value)
    }

    /// Returns the leg without keys, and without what waits in it.
    pub(super) fn without_bytes(&self) -> Self {
        Self {
            tls: None,
            held: Zeroizing::default(),
            early: Zeroizing::default(),
            unsent: Zeroizing::default(),
            ..*self
        }
    }

    /// Returns what moves in the leg.
    pub(super) fn moving(&self) -> MovingLeg {
        MovingLeg {
            taken: self.taken,
            queued: self.queued,
            ended: self.ended,
            failed: self.failed,
            write: self.write,
            tls: self.tls.as_ref().map(State::moving),
            output: None,
            peeked: 0,
        }
    }

    /// Returns the bytes that wait in the leg.
    pub(super) fn waiting(&self) -> [&[u8]; 3] {
        [&self.held, &self.early, &self.unsent]
    }
}
