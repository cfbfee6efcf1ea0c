//! The first message of a client.
//!
//! Layout: length (4, itself included), then a version (4) or one of three numbers in its place;
//! all in network order. Nothing that starts TLS at once can look like that: its first byte would
//! make a length of 369 MB.

use thiserror::Error;

use crate::protocol::{TLS_HANDSHAKE, bytes::Reader};

/// Bytes of a request for encryption, and what decides about every other message.
pub const REQUEST_LEN: usize = 8;
/// Longest start-up message a server takes: its `MAX_STARTUP_PACKET_LENGTH`, to which it does not
/// count the length.
pub const STARTUP_LIMIT: u32 = 10_000 + 4;
/// A cancel request before its key: length, code, process.
const CANCEL_HEAD: u32 = 12;
/// Lengths of a cancel key: 4 up to protocol 3.0, up to 256 in protocol 3.2.
const CANCEL_KEY: std::ops::RangeInclusive<u32> = 4..=256;

/// Code of a cancel request.
const CANCEL: u32 = 80_877_102;
/// Code of a request for TLS.
pub(super) const SSL: u32 = 80_877_103;
/// Code of a request for GSSAPI encryption.
const GSS_ENC: u32 = 80_877_104;

/// What a client can start with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Opening {
    /// It wants another session's query cancelled. The message, to be passed on as it is.
    Cancel(Vec<u8>),
    /// TLS starts with the very first byte.
    DirectTls,
    /// It asks for GSSAPI encryption.
    GssEncRequest,
    /// It asks for TLS.
    SslRequest,
    /// It starts a session; the message is still coming in.
    Startup(Startup),
}

/// The head of a start-up message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Startup {
    /// Second half of the protocol version; the first is 3.
    pub minor: u16,
    /// Length of the whole message.
    pub length: u32,
}

impl Opening {
    /// Reads the first message; `None` while too little of it has come.
    ///
    /// Eight bytes decide, but for a cancel request, which is awaited in full, and TLS, which one
    /// byte gives away.
    pub fn parse(buf: &[u8]) -> Result<Option<Self>, OpeningError> {
        if buf.first() == Some(&TLS_HANDSHAKE) {
            return Ok(Some(Self::DirectTls));
        }
        let mut reader = Reader::new(buf);
        let Some(length) = reader.u32_be() else {
            return Ok(None);
        };
        if !(8..=STARTUP_LIMIT).contains(&length) {
            return Err(OpeningError::Length(length));
        }
        match (reader.u32_be(), length) {
            (None, _) => Ok(None),
            (Some(SSL), 8) => Ok(Some(Self::SslRequest)),
            (Some(GSS_ENC), 8) => Ok(Some(Self::GssEncRequest)),
            (Some(SSL | GSS_ENC), _) => Err(OpeningError::Length(length)),
            (Some(CANCEL), _) => cancel(buf, length),
            (Some(version), _) => startup(version, length).map(Some),
        }
    }
}

fn cancel(buf: &[u8], length: u32) -> Result<Option<Opening>, OpeningError> {
    if !CANCEL_KEY.contains(&length.saturating_sub(CANCEL_HEAD)) {
        return Err(OpeningError::Length(length));
    }
    let message = buf.get(..length as usize);
    Ok(message.map(|message| Opening::Cancel(message.to_vec())))
}

fn startup(version: u32, length: u32) -> Result<Opening, OpeningError> {
    let [a, b, c, d] = version.to_be_bytes();
    match (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) {
        (3, minor) => Ok(Opening::Startup(Startup { minor, length })),
        (major, minor) => Err(OpeningError::Version { major, minor }),
    }
}

/// Returns the user that a start-up message names, which has come whole; `None` if it names none.
///
/// Behind its head stand pairs of a parameter's name and its value, each ended by NUL ("`StartupMessage`"
/// in the `PostgreSQL` manual).
#[must_use]
pub fn startup_user(message: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(message);
    reader.take(REQUEST_LEN)?;
    loop {
        let name = reader.until_nul().filter(|name| !name.is_empty())?;
        let value = reader.until_nul()?;
        if name == b"user" {
            return Some(value);
        }
    }
}

/// What the client sent starts no session.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OpeningError {
    /// No message of this kind has this length; perhaps the client speaks another protocol.
    #[error(
        "the client announces a first message of {0} bytes; does it speak PostgreSQL's protocol?"
    )]
    Length(u32),
    /// Only version 3 is spoken since PostgreSQL 14.
    #[error("the client asks for protocol {major}.{minor}, and only 3 is supported")]
    Version {
        /// First half of the version.
        major: u16,
        /// Second half of the version.
        minor: u16,
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    pub(crate) const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
    pub(crate) const STARTUP: &[u8] = b"\0\0\0\x13\0\x03\0\0user\0me\0\0\0\0";

    pub(crate) fn cancel_request(key: usize) -> Vec<u8> {
        let length = u32::try_from(12 + key).expect("short");
        let mut message = length.to_be_bytes().to_vec();
        message.extend_from_slice(&[0x04, 0xd2, 0x16, 0x2e, 0, 0, 0x10, 0x01]);
        message.resize(12 + key, 0xab);
        message
    }

    #[test]
    fn openings_are_told_apart() {
        let startup = Opening::Startup(Startup {
            minor: 0,
            length: 19,
        });
        let table = [
            (SSL_REQUEST, Opening::SslRequest),
            (GSS_REQUEST, Opening::GssEncRequest),
            (STARTUP, startup),
            (&[0x16], Opening::DirectTls),
            (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc], Opening::DirectTls),
        ];
        for (bytes, opening) in table {
            assert_eq!(Opening::parse(bytes), Ok(Some(opening)), "{bytes:x?}");
        }
    }

    #[test]
    fn cancel_requests_are_kept_whole() {
        for key in [4, 32, 256] {
            let message = cancel_request(key);
            assert_eq!(Opening::parse(&message[..message.len() - 1]), Ok(None));
            let behind = [&message[..], b"more"].concat();
            assert_eq!(Opening::parse(&behind), Ok(Some(Opening::Cancel(message))));
        }
        for key in [0, 3, 257] {
            let message = cancel_request(key);
            assert!(Opening::parse(&message).is_err(), "{key}");
        }
    }

    #[test]
    fn bad_lengths_are_refused_after_four_bytes() {
        for length in [0, 7, STARTUP_LIMIT + 1, u32::from_be_bytes(*b"GET ")] {
            let error = Err(OpeningError::Length(length));
            assert_eq!(Opening::parse(&length.to_be_bytes()), error);
        }
        let mut long_request = SSL_REQUEST.to_vec();
        long_request[3] = 9;
        assert_eq!(Opening::parse(&long_request), Err(OpeningError::Length(9)));
    }

    #[test]
    fn other_versions_are_refused() {
        let error = OpeningError::Version { major: 2, minor: 0 };
        assert_eq!(Opening::parse(&[0, 0, 0, 20, 0, 2, 0, 0]), Err(error));
    }

    #[test]
    fn the_user_is_found_among_the_parameters() {
        assert_eq!(startup_user(STARTUP), Some(&b"me"[..]));
        let others = b"\0\0\0\0\0\x03\0\0database\0user\0user\0you\0\0";
        assert_eq!(startup_user(others), Some(&b"you"[..]));
        for cut in [
            &STARTUP[..8],
            &STARTUP[..14],
            b"",
            b"\0\0\0\0\0\x03\0\0\0user\0x\0",
        ] {
            assert_eq!(startup_user(cut), None, "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(buf: Vec<u8>) {
            let _ = Opening::parse(&buf);
            let _ = startup_user(&buf);
        }

        #[test]
        fn a_piece_never_decides_otherwise_than_the_whole(
            code in prop_oneof![Just(CANCEL), Just(SSL), Just(GSS_ENC), Just(0x3_0002), any::<u32>()],
            length in 0_u32..300,
            at in 0_usize..300,
        ) {
            let mut whole = length.to_be_bytes().to_vec();
            whole.extend_from_slice(&code.to_be_bytes());
            whole.resize(300, 7);
            match Opening::parse(&whole[..at]) {
                Ok(None) => {}
                decided => prop_assert_eq!(decided, Opening::parse(&whole)),
            }
        }
    }
}
