//! Capability flags, as far as the connection phase is shaped by them.
//!
//! Source: MySQL source documentation, "Capabilities Flags". A server sends the lower and the upper
//! sixteen bits apart, a client sends all 32 together.

use std::ops::BitOr;

/// The 32 capability bits of one side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// The login names a database.
    pub const CONNECT_WITH_DB: Self = Self(0x0000_0008);
    /// The 4.1 protocol; without it nothing here applies.
    pub const PROTOCOL_41: Self = Self(0x0000_0200);
    /// TLS is offered by a server, or started by a client.
    pub const SSL: Self = Self(0x0000_0800);
    /// The scramble has 20 bytes, the authentication data a length.
    pub const SECURE_CONNECTION: Self = Self(0x0000_8000);
    /// Authentication plugins are named.
    pub const PLUGIN_AUTH: Self = Self(0x0008_0000);
    /// The length of the authentication data has its own variable length.
    pub const PLUGIN_AUTH_LENENC: Self = Self(0x0020_0000);
    /// A login may go on with a second and third plugin (MySQL 8.0.27 and later).
    pub const MULTI_FACTOR: Self = Self(0x1000_0000);

    /// Takes the bits as they are on the wire.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the bits as they go on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Tells whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the same bits with those of `flag` switched on or off.
    #[must_use]
    pub const fn with(self, flag: Self, on: bool) -> Self {
        if on {
            Self(self.0 | flag.0)
        } else {
            Self(self.0 & !flag.0)
        }
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_switched_one_by_one() {
        let both = Capabilities::SSL | Capabilities::PROTOCOL_41;
        assert_eq!(both.bits(), 0xa00);
        assert!(both.contains(Capabilities::SSL));
        assert!(!Capabilities::SSL.contains(both));
        assert_eq!(
            both.with(Capabilities::SSL, false),
            Capabilities::PROTOCOL_41
        );
        assert_eq!(both.with(Capabilities::SSL, true), both);
    }
}
