//! The record layer of an established session: what TLS does once its handshake is over.
//!
//! rustls makes every handshake. When one ends, its connection is dissolved into [`State`], which is
//! plain data: cipher suite, keys, nonces, sequence numbers and a few counters. [`Records`] opens and
//! seals records on it: bytes in, bytes out, without a socket or a clock. So a session can be
//! encoded in the middle of a conversation and go on in another process.
//!
//! TLS 1.3 (RFC 8446) and TLS 1.2 (RFC 5246, RFC 5288, RFC 7905) with the suites of [`suite::SUITES`].
//! Renegotiation is refused, and tickets of a server are skipped. Anything that a peer may not send
//! ends the connection with the alert that the RFC names for it.

pub mod alert;
pub mod encode;
pub mod fault;
pub mod fuzzing;
pub mod key;
pub mod limits;
pub mod state;
pub mod suite;

mod message;
mod open;
mod seal;

use aws_lc_rs::aead::LessSafeKey;

pub use self::{
    alert::Alert,
    fault::Fault,
    limits::{Limits, Wear},
    state::{Role, State},
    suite::{Suite, Version},
};
use super::space::{Plaintext, Space};

/// The most bytes of plaintext in one record (RFC 8446 §5.1, RFC 5246 §6.2.1).
pub const MAX_PLAIN: usize = 1 << 14;

/// The most bytes that a record takes beside its plaintext: header, explicit nonce, tag.
pub const MAX_OVERHEAD: usize = 5 + 8 + 16;

/// An established TLS connection.
///
/// The contexts of the two ciphers are made when they are needed; see [`Self::rest`].
pub struct Records {
    state: Box<State>,
    sealing: Option<LessSafeKey>,
    opening: Option<LessSafeKey>,
    /// How often a key was renewed, in either direction.
    renewals: u32,
    limits: &'static Limits,
}

/// Keys and nonces are not shown.
impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Records").field(&self.state).finish()
    }
}

impl From<State> for Records {
    /// Goes on from a state.
    fn from(state: State) -> Self {
        Self::with_limits(state, &limits::DEFAULT)
    }
}

impl Records {
    /// Goes on from a state, with other limits of what a key may protect.
    pub fn with_limits(state: State, limits: &'static Limits) -> Self {
        Self {
            state: Box::new(state),
            sealing: None,
            opening: None,
            renewals: 0,
            limits,
        }
    }

    /// Returns all that is needed to go on elsewhere.
    ///
    /// Only one of two that go on from the same state may send: a nonce must never protect two
    /// different records.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns how often a key was renewed since this began, in either direction: as long as that stays the same,
    /// so do the keys.
    pub fn renewals(&self) -> u32 {
        self.renewals
    }

    /// Returns the cipher suite.
    pub fn suite(&self) -> &'static Suite {
        self.state.suite
    }

    /// Returns which end this is.
    pub fn role(&self) -> Role {
        self.state.role
    }

    /// Returns whether the peer said that it sends nothing more (RFC 8446 §6.1).
    pub fn peer_closed(&self) -> bool {
        self.state.peer_closed
    }

    /// Frees the memory of the ciphers, about 1.2 KiB, until records come or go again.
    pub fn rest(&mut self) {
        self.sealing = None;
        self.opening = None;
    }

    /// Returns which key has protected three quarters of what it may, if it cannot be renewed: then
    /// the session will have to end.
    pub fn nears_limit(&self) -> Option<Wear> {
        self.limits.near(&self.state)
    }

    /// Opens the whole records at the front of `bytes`, appends their data to `plain`, and puts out
    /// what has to be answered. Returns how many of `bytes` are done with; the rest is the head of a
    /// record.
    ///
    /// What stands behind the peer's `close_notify` is ignored. After an error, `out` holds the
    /// alert that tells the peer, unless nothing may be sent any more, and the session is over.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        plain: &mut impl Plaintext,
        out: &mut Space,
    ) -> Result<usize, Fault> {
        let mut used = 0;
        while !self.state.peer_closed {
            match self.receive_one(&bytes[used..], plain, out) {
                Ok(0) => return Ok(used),
                Ok(length) => used += length,
                Err(fault) => {
                    self.fail(fault, out);
                    return Err(fault);
                }
            }
        }
        Ok(bytes.len())
    }

    /// Seals `plain` into as many records as it takes.
    ///
    /// Nothing may be sent behind [`Self::close`] or an error.
    pub fn send(&mut self, plain: &[u8], out: &mut Space) -> Result<(), Fault> {
        if plain.is_empty() {
            return Ok(());
        }
        if self.state.sent_close {
            return Err(Fault::SentBehindClose);
        }
        let result = self.seal_data(plain, out);
        result.inspect_err(|fault| self.fail(*fault, out))
    }

    /// Puts out the message that nothing more will be sent (RFC 8446 §6.1), once.
    pub fn close(&mut self, out: &mut Space) {
        self.seal_last_alert(alert::Level::Warning, Alert::CLOSE_NOTIFY, out);
    }

    /// Ends the session because of a fault: tells the peer, if there is an alert for it, and sends
    /// nothing more (RFC 8446 §6.2).
    fn fail(&mut self, fault: Fault, out: &mut Space) {
        match fault.alert() {
            Some(alert) => self.seal_last_alert(alert::Level::Fatal, alert, out),
            None => self.state.sent_close = true,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
