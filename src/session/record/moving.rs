//! The part of a record that changes with every step of its session.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | how often the record was written |
//! | 4 | how often the session was taken over |
//! | 1 | how suspect the session is of ending its workers |
//! | 8, 8 | bytes that were passed on, of the client and of the backend |
//! | 8 | when a byte moved last, in milliseconds of the clock that runs while the machine sleeps |
//! | 5 | which directions are over, and which side ended first |
//! | 12 | where the [body](super::body) lies |
//! | 1 | flags: 1 bytes wait elsewhere, 2 the watcher is among them |
//! | 12 | where those bytes lie, if there are any |
//! | | the client's leg, then the backend's |
//! | | what watches the session, unless it lies elsewhere |
//!
//! A leg: 8 and 8 bytes, what was taken from its socket and made for it; 1 byte of flags (1 ended, 2 failed, 4 and 8
//! how far its closing is, 16 TLS, 32 output in the scratch space, 64 peeked); what moves in its TLS; where its output
//! lies (12); how much of its socket was peeked at and is counted as taken (4).

use std::fmt;

use super::{Damaged, Flows, fields::take_u64};
use crate::{protocol::bytes::Reader, session::leg::WriteSide, tls::records::encode::MOVING_LEN};

/// Where bytes lie in a table: in bytes from where its bytes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first byte.
    pub at: u64,
    /// How many there are.
    pub length: u32,
}

/// The most bytes of a watcher that lie beside the rest.
pub const MOST_WATCHER: usize = 96;

/// The most bytes of the moving part without its legs and its watcher.
pub const FIXED: usize = 8 + 4 + 1 + 24 + 5 + 12 + 1 + 12;

/// The most bytes of the moving part.
pub const MOST_MOVING: usize = FIXED + 2 * MovingLeg::most(true, true) + MOST_WATCHER;

/// What changes with every step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Moving<'m> {
    /// How often the record was written.
    pub commits: u64,
    /// How often another worker has taken the session over.
    pub takeovers: u32,
    /// How suspect it is of ending its workers
    /// ([`takeover::suspicion`](crate::session::takeover::suspicion)).
    pub suspicion: u8,
    /// Bytes of the client that were passed on.
    pub bytes_up: u64,
    /// Bytes of the backend that were passed on.
    pub bytes_down: u64,
    /// When a byte moved last, in milliseconds since the machine was started (`CLOCK_BOOTTIME`,
    /// `clock_gettime(2)`).
    pub moved: u64,
    /// How far both directions have come.
    pub flows: Flows,
    /// Where the body lies.
    pub body: Extent,
    /// Where the bytes lie that wait in the session, if any do.
    pub waiting: Option<Extent>,
    /// The client's leg, and the backend's.
    pub legs: [MovingLeg; 2],
    /// What watches the session; `None` if it lies where the bytes wait.
    pub watcher: Option<&'m [u8]>,
}

/// What watches the session may be secret; only how long it is is shown.
impl fmt::Debug for Moving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moving")
            .field("commits", &self.commits)
            .field("flows", &self.flows)
            .field("legs", &self.legs)
            .field("watcher", &self.watcher.map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

/// What changes of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovingLeg {
    /// Bytes that were taken from the socket, since it was connected.
    pub taken: u64,
    /// Bytes that were made for the socket, since it was connected.
    pub queued: u64,
    /// The peer sends nothing more.
    pub ended: bool,
    /// TLS has failed behind what was received last.
    pub failed: bool,
    /// How far the closing of our direction has come.
    pub write: WriteSide,
    /// What moves in its TLS, if it has any.
    pub tls: Option<[u8; MOVING_LEN]>,
    /// Where the last of what was made for the socket lies, if it was made in the scratch space.
    pub output: Option<Extent>,
    /// How many bytes of a Unix socket are counted as taken, though they may have been peeked at alone.
    pub peeked: u32,
}

const WAITING: u8 = 1;
const WATCHER_WAITS: u8 = 2;

const ENDED: u8 = 1;
const FAILED: u8 = 2;
const WRITE: u8 = 4 | 8;
const TLS: u8 = 16;
const OUTPUT: u8 = 32;
const PEEKED: u8 = 64;

impl<'m> Moving<'m> {
    /// Appends the part, [`MOST_MOVING`] bytes at most.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.commits.to_be_bytes());
        out.extend_from_slice(&self.takeovers.to_be_bytes());
        out.push(self.suspicion);
        for number in [self.bytes_up, self.bytes_down, self.moved] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        self.flows.put(out);
        self.body.put(out);
        let waiting = if self.waiting.is_some() { WAITING } else { 0 };
        let watcher = if self.watcher.is_none() {
            WATCHER_WAITS
        } else {
            0
        };
        out.push(waiting | watcher);
        if let Some(waiting) = self.waiting {
            waiting.put(out);
        }
        for leg in &self.legs {
            leg.put(out);
        }
        if let Some(watcher) = self.watcher {
            out.extend_from_slice(watcher);
        }
    }

    /// Reads the part; nothing may stand behind it.
    pub fn take(bytes: &'m [u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let commits = take_u64(&mut reader)?;
        let takeovers = reader.u32_be().ok_or(Damaged::Short)?;
        let suspicion = reader.u8().ok_or(Damaged::Short)?;
        let mut number = || take_u64(&mut reader);
        let (bytes_up, bytes_down, moved) = (number()?, number()?, number()?);
        let flows = Flows::take(&mut reader)?;
        let body = Extent::take(&mut reader)?;
        let flags = reader.u8().ok_or(Damaged::Short)?;
        if flags & !(WAITING | WATCHER_WAITS) != 0 || flags == WATCHER_WAITS {
            return Err(Damaged::Value);
        }
        let waiting = match flags & WAITING {
            0 => None,
            _ => Some(Extent::take(&mut reader)?),
        };
        let legs = [MovingLeg::take(&mut reader)?, MovingLeg::take(&mut reader)?];
        let rest = reader.rest();
        let watcher = match flags & WATCHER_WAITS {
            0 if rest.len() > MOST_WATCHER => return Err(Damaged::Length),
            0 => Some(rest),
            _ if rest.is_empty() => None,
            _ => return Err(Damaged::Long),
        };
        Ok(Self {
            commits,
            takeovers,
            suspicion,
            bytes_up,
            bytes_down,
            moved,
            flows,
            body,
            waiting,
            legs,
            watcher,
        })
    }
}

impl MovingLeg {
    /// Returns the most bytes of a leg, with TLS or not, over a Unix socket or not.
    pub const fn most(has_tls: bool, is_unix: bool) -> usize {
        let tls = if has_tls { MOVING_LEN } else { 0 };
        let peeked = if is_unix { 4 } else { 0 };
        17 + tls + 12 + peeked
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.taken.to_be_bytes());
        out.extend_from_slice(&self.queued.to_be_bytes());
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        out.push(
            flag(self.ended, ENDED)
                | flag(self.failed, FAILED)
                | (self.write as u8) << WRITE.trailing_zeros()
                | flag(self.tls.is_some(), TLS)
                | flag(self.output.is_some(), OUTPUT)
                | flag(self.peeked > 0, PEEKED),
        );
        if let Some(tls) = &self.tls {
            out.extend_from_slice(tls);
        }
        if let Some(output) = self.output {
            output.put(out);
        }
        if self.peeked > 0 {
            out.extend_from_slice(&self.peeked.to_be_bytes());
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (taken, queued) = (take_u64(reader)?, take_u64(reader)?);
        let flags = reader.u8().ok_or(Damaged::Short)?;
        let is_set = |flag| flags & flag != 0;
        if flags & !(ENDED | FAILED | WRITE | TLS | OUTPUT | PEEKED) != 0 {
            return Err(Damaged::Value);
        }
        let leg = Self {
            taken,
            queued,
            ended: is_set(ENDED),
            failed: is_set(FAILED),
            write: match (flags & WRITE) >> WRITE.trailing_zeros() {
                0 => WriteSide::Open,
                1 => WriteSide::Closing,
                2 => WriteSide::Closed,
                _ => return Err(Damaged::Value),
            },
            tls: if is_set(TLS) {
                Some(reader.array().ok_or(Damaged::Short)?)
            } else {
                None
            },
            output: if is_set(OUTPUT) {
                Some(Extent::take(reader)?)
            } else {
                None
            },
            peeked: if is_set(PEEKED) {
                reader.u32_be().ok_or(Damaged::Short)?
            } else {
                0
            },
        };
        let is_possible = !is_set(PEEKED) || leg.peeked > 0;
        let is_possible = is_possible && leg.taken >= u64::from(leg.peeked);
        is_possible.then_some(leg).ok_or(Damaged::Value)
    }
}

impl Extent {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            at: take_u64(reader)?,
            length: reader.u32_be().ok_or(Damaged::Short)?,
        })
    }
}
