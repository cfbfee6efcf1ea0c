//! The first packet of a server: its greeting, or an error in its place.
//!
//! Layout of a greeting, protocol 10: `0a`; server version and NUL; connection id (4); first part
//! of the scramble (8) and a filler; capabilities, lower half (2); character set (1); status (2);
//! capabilities, upper half (2); length of the plugin data (1); reserved (10, of which MariaDB
//! fills the last 4 with capabilities of its own); second part of the scramble (12 and a NUL);
//! plugin name and NUL.
//! Source: "`Protocol::HandshakeV10`" in the MySQL source documentation, "Initial handshake packet"
//! of MariaDB.

use thiserror::Error;

use super::capabilities::Capabilities;
use super::error::{ERR, ErrorPacket};
use super::packet;
use crate::protocol::bytes::Reader;

/// The random bytes that a password is proved with.
pub type Scramble = [u8; 20];

/// What a server can say first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ServerFirst {
    /// It does not want this connection. The packet goes to the client as it is, and TLS never
    /// starts.
    Error(ErrorPacket),
    /// It waits for a login.
    Greeting(Greeting),
}

impl ServerFirst {
    /// Reads the payload of the server's first packet.
    pub fn parse(payload: &[u8]) -> Result<Self, GreetingError> {
        match payload.first() {
            Some(&Greeting::VERSION) => Greeting::parse(payload).map(Self::Greeting),
            Some(&ERR) => ErrorPacket::parse(payload)
                .map(Self::Error)
                .ok_or(GreetingError::Truncated),
            Some(&version) => Err(GreetingError::Version(version)),
            None => Err(GreetingError::Truncated),
        }
    }
}

/// A greeting of which only the capability bits can be changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Greeting {
    payload: Vec<u8>,
    /// Where the lower half of the capabilities starts.
    capabilities_at: usize,
    scramble: Scramble,
}

impl Greeting {
    /// The only version of the greeting that is spoken since MySQL 3.21.
    const VERSION: u8 = 10;
    /// From the lower half of the capabilities to the upper half: the lower half, character set,
    /// status.
    const UPPER_HALF: usize = 5;

    fn parse(payload: &[u8]) -> Result<Self, GreetingError> {
        let mut reader = Reader::new(payload);
        let mut read = || {
            reader.u8()?;
            reader.until_nul()?;
            reader.take(4)?;
            let first: [u8; 8] = reader.array()?;
            reader.take(1)?;
            let capabilities_at = payload.len() - reader.rest().len();
            reader.take(Self::UPPER_HALF + 2)?;
            let data_len = reader.u8()?;
            reader.take(10)?;
            Some((first, capabilities_at, data_len))
        };
        let (first, capabilities_at, data_len) = read().ok_or(GreetingError::Truncated)?;
        let mut greeting = Self {
            payload: payload.to_vec(),
            capabilities_at,
            scramble: [0; 20],
        };
        let needed = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        if !greeting.capabilities().contains(needed) {
            return Err(GreetingError::TooOld);
        }
        let second = second_part(&mut reader, data_len).ok_or(GreetingError::Truncated)?;
        greeting.scramble[..8].copy_from_slice(&first);
        greeting.scramble[8..].copy_from_slice(&second);
        Ok(greeting)
    }

    /// Tells whether the database offers TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.capabilities().contains(Capabilities::SSL)
    }

    /// Returns what the server can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let half =
            |at: usize| u32::from(u16::from_le_bytes([self.payload[at], self.payload[at + 1]]));
        let lower = half(self.capabilities_at);
        let upper = half(self.capabilities_at + Self::UPPER_HALF);
        Capabilities::from_bits(upper << 16 | lower)
    }

    /// Offers TLS to the reader of this greeting, or hides that there is TLS; no other bit changes.
    #[must_use]
    pub fn with_ssl(mut self, offered: bool) -> Self {
        let bits = self.capabilities().with(Capabilities::SSL, offered).bits();
        // The flag is in the lower half; the upper one need not be written.
        let [low, high, ..] = bits.to_le_bytes();
        self.payload[self.capabilities_at..][..2].copy_from_slice(&[low, high]);
        self
    }

    /// Returns the scramble, both parts.
    #[must_use]
    pub fn scramble(&self) -> &Scramble {
        &self.scramble
    }

    /// Appends the greeting as a packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        packet::write(0, &self.payload, out);
    }
}

/// Reads the twelve bytes behind the reserved ones and skips what is announced beyond them.
fn second_part(reader: &mut Reader<'_>, data_len: u8) -> Option<[u8; 12]> {
    let second = reader.array()?;
    // Servers send max(13, length - 8) bytes, the last of them a NUL; very old ones forget the NUL
    // at the end.
    let behind = usize::from(data_len).saturating_sub(8).max(13) - 12;
    if !reader.rest().is_empty() {
        reader.take(behind)?;
    }
    Some(second)
}

/// The server's first packet cannot be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum GreetingError {
    /// The server is older than MySQL 4.1.
    #[error("the server does not speak the 4.1 protocol")]
    TooOld,
    /// The packet ends too early.
    #[error("the server's greeting is cut short")]
    Truncated,
    /// Not a greeting of version 10, perhaps not a database at all.
    #[error(
        "the server greets with version {0} where 10 is expected; is this a MySQL or MariaDB server?"
    )]
    Version(u8),
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A greeting as MySQL 8.0 sends it.
    pub(crate) fn sample(capabilities: u32, plugin: &str) -> Vec<u8> {
        let [a, b, c, d] = capabilities.to_le_bytes();
        let mut payload = b"\x0a8.0.36\0\x0b\0\0\0".to_vec();
        payload.extend_from_slice(b"ABCDEFGH\0");
        payload.extend_from_slice(&[a, b, 0xff, 2, 0, c, d, 21]);
        payload.extend_from_slice(b"\0\0\0\0\0\0\x1d\0\0\0IJKLMNOPQRST\0");
        payload.extend_from_slice(plugin.as_bytes());
        payload.push(0);
        payload
    }

    pub(crate) fn greeting(capabilities: u32, plugin: &str) -> Greeting {
        match ServerFirst::parse(&sample(capabilities, plugin)) {
            Ok(ServerFirst::Greeting(greeting)) => greeting,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_greeting_is_read() {
        let greeting = greeting(0xdfff_f7ff, "caching_sha2_password");
        assert_eq!(greeting.capabilities().bits(), 0xdfff_f7ff);
        assert_eq!(greeting.scramble(), b"ABCDEFGHIJKLMNOPQRST");
    }

    #[test]
    fn only_the_tls_bit_changes() {
        let before = sample(0xdfff_f7ff, "x");
        let mut out = Vec::new();
        greeting(0xdfff_f7ff, "x").with_ssl(true).write(&mut out);
        let changed: Vec<usize> = (0..before.len())
            .filter(|at| before[*at] != out[packet::HEADER_LEN + at])
            .collect();
        assert_eq!(changed, [22]);
        assert_eq!(out[packet::HEADER_LEN + 22] ^ before[22], 0x08);
        out.clear();
        greeting(0xdfff_f7ff, "x")
            .with_ssl(true)
            .with_ssl(false)
            .write(&mut out);
        assert_eq!(out[packet::HEADER_LEN..], before);
    }

    #[test]
    fn an_error_instead_is_recognised() {
        let first =
            ServerFirst::parse(b"\xff\x69\x04Host 'h' is blocked").expect("an error packet");
        assert!(matches!(first, ServerFirst::Error(error) if error.code == 1129));
    }

    #[test]
    fn what_is_not_protocol_10_is_refused() {
        assert_eq!(
            ServerFirst::parse(b"\x093.20\0"),
            Err(GreetingError::Version(9))
        );
        assert_eq!(
            ServerFirst::parse(b"SSH-2.0"),
            Err(GreetingError::Version(b'S'))
        );
        assert_eq!(ServerFirst::parse(b""), Err(GreetingError::Truncated));
        assert_eq!(
            ServerFirst::parse(&sample(0x8000, "")),
            Err(GreetingError::TooOld)
        );
        assert_eq!(
            ServerFirst::parse(&sample(0x200, "")),
            Err(GreetingError::TooOld)
        );
    }

    #[test]
    fn a_greeting_without_plugin_name_is_read() {
        let mut payload = sample(0x8200, "");
        payload.truncate(payload.len() - 2);
        let Ok(ServerFirst::Greeting(greeting)) = ServerFirst::parse(&payload) else {
            panic!("a greeting");
        };
        assert_eq!(&greeting.scramble()[8..], b"IJKLMNOPQRST");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut payload: Vec<u8>, greeting: bool) {
            if greeting { payload.insert(0, 10); }
            if let Ok(ServerFirst::Greeting(greeting)) = ServerFirst::parse(&payload) {
                let mut out = Vec::new();
                greeting.write(&mut out);
                prop_assert_eq!(&out[packet::HEADER_LEN..], &payload[..]);
            }
        }

        #[test]
        fn a_cut_greeting_never_panics(end in 0_usize..90) {
            let payload = sample(0xdfff_ffff, "caching_sha2_password");
            let cut = &payload[..end.min(payload.len())];
            prop_assert_eq!(ServerFirst::parse(cut).is_ok(), end >= 51);
        }
    }
}
