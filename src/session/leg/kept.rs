//! A leg as data, and back.

use super::{Ledger, Leg, LegError, Unsent};
use crate::{
    facts::UnkeptReason,
    session::{
        record::{Extent, LegRecord, MovingLeg},
        scratch::Scratch,
        socket::Socket,
    },
    tls::{
        records::{Records, State},
        stream::TlsStream,
    },
};

/// Why a leg does not go on from a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record of a session belongs to another socket")]
pub struct OtherSocket;

impl Leg {
    /// Returns what changes of the leg with every step.
    pub fn moving(&self, scratch: &Scratch) -> Result<MovingLeg, UnkeptReason> {
        let output = match &self.unsent {
            Unsent::Scratch(span) if !span.is_empty() => {
                let at = scratch.place(*span).ok_or(UnkeptReason::TooLong)?;
                let length = u32::try_from(span.len()).map_err(|_| UnkeptReason::TooLong)?;
                Some(Extent {
                    at: at as u64,
                    length,
                })
            }
            _ => None,
        };
        Ok(MovingLeg {
            taken: self.taken,
            queued: self.queued,
            ended: self.ended,
            failed: self.has_failed,
            write: self.write,
            tls: self.tls_state().map(State::moving),
            output,
            peeked: self.peeked,
        })
    }

    /// Returns the bytes that wait outside the scratch space: the head of a TLS record, plaintext that was not passed
    /// on, and what is to be sent.
    pub fn waiting(&self) -> [&[u8]; 3] {
        let held = self.tls.as_ref().map_or(&[][..], |tls| tls.held());
        [held, &self.early, self.unsent.own()]
    }

    /// Returns the state of TLS, behind its handshake.
    pub fn tls_state(&self) -> Option<&State> {
        Some(self.tls.as_ref()?.records()?.state())
    }

    /// Returns how often keys of TLS were renewed.
    pub fn renewals(&self) -> u32 {
        let records = self.tls.as_ref().and_then(|tls| tls.records());
        records.map_or(0, Records::renewals)
    }

    /// Returns the most bytes of what [`Self::moving`] tells.
    pub fn most_moving(&self) -> usize {
        let is_unix = matches!(self.socket, Socket::Unix(_));
        MovingLeg::most(self.tls.is_some(), is_unix)
    }

    /// Returns how many bytes were taken from the socket, and how many the socket has taken, by this process's own
    /// counts.
    pub fn counts(&self) -> (u64, u64) {
        (self.taken, self.queued - self.unsent.len() as u64)
    }

    /// Notes from now on what is done with the socket, if it is a Unix socket; with `None`, notes it no longer.
    pub fn set_ledger(&mut self, ledger: Option<Ledger>) {
        self.ledger = ledger.filter(|_| matches!(self.socket, Socket::Unix(_)));
        if let Some(ledger) = &self.ledger {
            ledger.note_written(self.counts().1, false);
        }
    }

    /// Notes that the connection has ended without a proper end, though its socket may not say so any more.
    pub fn mark_cut(&mut self) {
        self.ends_cut = true;
    }

    /// Takes from a Unix socket what was peeked at, now that it is noted in this commit.
    pub fn consume(&mut self, commit: u64) -> Result<(), LegError> {
        if self.peeked == 0 {
            return Ok(());
        }
        self.socket.discard(self.peeked as usize)?;
        self.peeked = 0;
        if let Some(ledger) = &self.ledger {
            ledger.note_consumed(commit);
        }
        Ok(())
    }

    /// Gives TLS to a leg, as its handshake would.
    #[cfg(test)]
    pub(crate) fn set_tls(&mut self, tls: TlsStream) {
        self.tls = Some(Box::new(tls));
    }

    /// Gives the socket back, for a leg that goes on from its record.
    #[cfg(test)]
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Goes on with a leg from its record, over the socket that the record names.
    pub fn resume(socket: Socket, record: LegRecord) -> Result<Self, OtherSocket> {
        if socket.cookie() != record.cookie {
            return Err(OtherSocket);
        }
        let LegRecord {
            taken,
            queued,
            tls,
            mut held,
            mut early,
            mut unsent,
            ended,
            failed,
            write,
            ..
        } = record;
        // Whole records may wait behind a head, which the worker before had read and not looked at.
        let has_more = !held.is_empty();
        let tls = tls.map(|state| Box::new(TlsStream::resume(state, &mut held)));
        Ok(Self {
            socket,
            tls,
            unsent: Unsent::of(std::mem::take(&mut *unsent)),
            early: std::mem::take(&mut *early),
            fault: failed.then(|| Box::new(LegError::FailedBefore)),
            ended,
            spoken: true,
            write,
            taken,
            queued,
            has_failed: failed,
            has_more,
            ends_cut: false,
            peeked: 0,
            ledger: None,
        })
    }
}
