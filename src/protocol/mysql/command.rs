//! Watches a client's commands for a second login.
//!
//! After login the driver only copies bytes. `COM_CHANGE_USER` logs in again inside the session,
//! and its `caching_sha2_password` exchange would end with the password in the clear, since the
//! client believes in its TLS. Over a leg where
//! [`Leg::lets_passwords_through`](super::auth::Leg::lets_passwords_through) is false, that command
//! must not pass. Compression hides commands; such a session is told so by
//! [`CommandWatch::can_watch`].
//!
//! A command is a packet with sequence number 0 whose first byte is its number. Source: "Command
//! Phase" in the MySQL source documentation.

use thiserror::Error;

use super::capabilities::Capabilities;
use super::packet::HEADER_LEN;

/// `COM_CHANGE_USER`.
const CHANGE_USER: u8 = 0x11;
/// Longest payload of one packet; a packet of that length is continued in the next.
const FULL: u32 = 0xff_ffff;
/// `CLIENT_COMPRESS` and `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
const COMPRESSION: u32 = 0x0400_0020;

/// Follows the packets that a client sends after its login, without keeping them.
#[derive(Clone, Debug, Default)]
pub struct CommandWatch {
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes of the current payload still to come.
    remaining: u32,
    /// The next byte is the number of a command.
    at_command: bool,
    /// The packet before this one goes on in it.
    continued: bool,
}

impl CommandWatch {
    /// Tells whether commands will be readable, which compression prevents.
    #[must_use]
    pub fn can_watch(client: Capabilities) -> bool {
        client.bits() & COMPRESSION == 0
    }

    /// Looks at the next bytes of the client, in pieces of any size; an error when they must not be
    /// passed on.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ChangeUser> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.remaining == 0 {
                self.header_byte(*first);
                bytes = rest;
            } else if std::mem::take(&mut self.at_command) && *first == CHANGE_USER {
                return Err(ChangeUser);
            } else {
                let skipped = bytes.len().min(self.remaining as usize);
                self.remaining -= u32::try_from(skipped).unwrap_or(self.remaining);
                bytes = &bytes[skipped..];
            }
        }
        Ok(())
    }

    fn header_byte(&mut self, byte: u8) {
        self.header[self.header_len] = byte;
        self.header_len += 1;
        if self.header_len == HEADER_LEN {
            self.header_done();
        }
    }

    fn header_done(&mut self) {
        let [low, middle, high, seq] = self.header;
        self.header_len = 0;
        self.remaining = u32::from_le_bytes([low, middle, high, 0]);
        // Long uploads of LOCAL INFILE come round to 0 again; taking such data for a command at
        // worst ends a session.
        self.at_command = seq == 0 && !self.continued && self.remaining > 0;
        self.continued = self.remaining == FULL;
    }
}

/// The client logs in again, which this session cannot carry safely.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the client changes its user, which needs TLS or a unix socket between proxy and database")]
pub struct ChangeUser;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUERY: &[u8] = b"\x09\0\0\0\x03SELECT 1";

    #[test]
    fn a_change_of_user_is_noticed_behind_other_commands() {
        let mut watch = CommandWatch::default();
        assert_eq!(watch.feed(QUERY), Ok(()));
        assert_eq!(watch.feed(&[1, 0, 0, 0, 0x0e, 3, 0, 0]), Ok(()));
        assert_eq!(watch.feed(&[0]), Ok(()));
        assert_eq!(watch.feed(&[0x11, b'u', 0]), Err(ChangeUser));
    }

    #[test]
    fn data_that_looks_like_the_command_passes() {
        let mut watch = CommandWatch::default();
        assert_eq!(watch.feed(&[1, 0, 0, 2, 0x11]), Ok(()), "file data");
        assert_eq!(watch.feed(&[2, 0, 0, 0, 3, 0x11]), Ok(()), "inside a query");
        assert_eq!(watch.feed(&[0xff, 0xff, 0xff, 255]), Ok(()));
        assert_eq!(watch.feed(&vec![0; 0xff_ffff]), Ok(()));
        assert_eq!(watch.feed(&[1, 0, 0, 0, 0x11]), Ok(()), "a continuation");
        assert_eq!(
            watch.feed(&[0, 0, 0, 0, 1, 0, 0, 1, 0x11]),
            Ok(()),
            "an empty packet"
        );
    }

    #[test]
    fn compressed_sessions_cannot_be_watched() {
        assert!(CommandWatch::can_watch(Capabilities::PROTOCOL_41));
        assert!(!CommandWatch::can_watch(Capabilities::from_bits(0x20)));
        assert!(!CommandWatch::can_watch(Capabilities::from_bits(
            0x0400_0000
        )));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes: Vec<u8>, piece in 1_usize..9) {
            let whole = CommandWatch::default().feed(&bytes);
            let mut watch = CommandWatch::default();
            let pieces = bytes.chunks(piece).try_for_each(|piece| watch.feed(piece));
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn a_change_of_user_is_always_noticed(queries in 0_usize..5, piece in 1_usize..9) {
            let mut bytes = QUERY.repeat(queries);
            bytes.extend_from_slice(&[2, 0, 0, 0, 0x11, 0]);
            let mut watch = CommandWatch::default();
            prop_assert!(bytes.chunks(piece).any(|piece| watch.feed(piece).is_err()));
        }
    }
}
