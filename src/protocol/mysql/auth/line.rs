//! The count of packets on one leg.

use super::leg::Leg;
use super::step::AuthError;
use crate::protocol::mysql::packet;

/// Counts the packets of both directions on one leg, as the peer there does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    next: u8,
}

impl Line {
    /// Stands where the login comes next: behind the greeting, and behind the `SSLRequest` if the
    /// leg has TLS.
    pub(super) fn after_greeting(leg: Leg) -> Self {
        Self {
            next: if leg == Leg::Tls { 2 } else { 1 },
        }
    }

    /// Stands where a command comes next.
    pub(super) fn at_command() -> Self {
        Self { next: 0 }
    }

    /// Stands where this number comes next.
    pub(super) fn at(next: u8) -> Self {
        Self { next }
    }

    /// Returns the number that comes next.
    pub(super) fn peek(&self) -> u8 {
        self.next
    }

    /// Counts a packet of the peer.
    pub(super) fn receive(&mut self, found: u8) -> Result<(), AuthError> {
        let expected = self.next;
        if found != expected {
            return Err(AuthError::Sequence { expected, found });
        }
        self.next();
        Ok(())
    }

    /// Returns the number for a packet to the peer, and counts it.
    pub(super) fn next(&mut self) -> u8 {
        let next = self.next;
        self.next = next.wrapping_add(1);
        next
    }

    /// Makes a packet for the peer.
    pub(super) fn send(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        packet::write(self.next(), payload, &mut out);
        out
    }
}
