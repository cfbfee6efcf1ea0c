//! ERR packets: what a database says, and what a client is told by the proxy itself.
//!
//! Layout: `ff`, two bytes of error code (least significant first), then either `#` and five
//! characters of SQL state, or nothing, then the message up to the end. Source: "`ERR_Packet`" in
//! the MySQL source documentation.

use std::borrow::Cow;
use std::fmt;

use super::packet;
use crate::protocol::bytes::{Reader, for_log};

/// First byte of an ERR packet.
pub const ERR: u8 = 0xff;

/// An error as MySQL clients know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorPacket {
    /// Number that clients switch on.
    pub code: u16,
    /// Standard class of the error; absent in packets from before a greeting.
    pub sqlstate: Option<[u8; 5]>,
    /// Sentence for a person.
    pub message: Cow<'static, str>,
}

impl ErrorPacket {
    /// `ER_CON_COUNT_ERROR`: the listener's `max_connections` is reached.
    #[must_use]
    pub fn too_many_connections() -> Self {
        Self::new(1040, *b"08004", "Too many connections")
    }

    /// `ER_CON_COUNT_ERROR`: the listener's `per_client` is reached.
    ///
    /// The number for one user's limit, 1203, belongs to a class that clients take for a faulty statement
    /// (`42000`); this one they take for a connection that may be had later.
    #[must_use]
    pub fn too_many_of_client() -> Self {
        Self::new(
            1040,
            *b"08004",
            "Too many connections from this client's address",
        )
    }

    /// `ER_NET_READ_INTERRUPTED`: the client has not said in time what it was waited for.
    #[must_use]
    pub fn client_too_slow() -> Self {
        Self::new(1159, *b"08S01", "Got timeout reading communication packets")
    }

    /// `ER_NET_PACKETS_OUT_OF_ORDER`: a packet's number, or its place, is not the one that is next.
    #[must_use]
    pub fn out_of_order() -> Self {
        Self::new(1156, *b"08S01", "Got packets out of order")
    }

    /// `ER_NET_PACKET_TOO_LARGE`: no login has packets so long.
    #[must_use]
    pub fn packet_too_large() -> Self {
        let message = "Got a packet bigger than a login can have";
        Self::new(1153, *b"08S01", message)
    }

    /// `ER_UNKNOWN_COM_ERROR`: a command that cannot be read.
    #[must_use]
    pub fn unknown_command() -> Self {
        Self::new(1047, *b"08S01", "Unknown command")
    }

    /// `ER_HANDSHAKE_ERROR`: what the client sent is not a login.
    #[must_use]
    pub fn bad_handshake() -> Self {
        Self::new(1043, *b"08S01", "Bad handshake")
    }

    /// `ER_NOT_SUPPORTED_AUTH_MODE`: this way to log in cannot be carried to the database.
    #[must_use]
    pub fn unsupported_login(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(1251, *b"08004", message)
    }

    /// `ER_CONNECT_TO_FOREIGN_DATA_SOURCE`: the backend cannot be reached.
    ///
    /// The number by which clients report a server that is down, 2003, is no number for a server:
    /// MariaDB's clients call a packet with one of their own numbers malformed, and do not show its
    /// message.
    #[must_use]
    pub fn backend_down(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(1429, *b"08S01", message)
    }

    /// The same for a backend that could not be reached, or broke the session or its protocol: the log has
    /// the reason.
    #[must_use]
    pub fn backend_failed() -> Self {
        Self::backend_down("proxyd cannot reach the database; its log says why")
    }

    /// `ER_SECURE_TRANSPORT_REQUIRED`: the login came without TLS.
    #[must_use]
    pub fn tls_required() -> Self {
        let message = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
        Self::new(3159, *b"HY000", message)
    }

    /// Makes an error of any number.
    #[must_use]
    pub fn new(code: u16, sqlstate: [u8; 5], message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            sqlstate: Some(sqlstate),
            message: message.into(),
        }
    }

    /// Reads the payload of an ERR packet; `None` when it is not one.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let ERR = reader.u8()? else { return None };
        let code = reader.u16_le()?;
        let sqlstate = match reader.rest() {
            [b'#', state @ ..] if state.len() >= 5 => {
                reader.array().map(|[_, state @ ..]: [u8; 6]| state)
            }
            _ => None,
        };
        let message = String::from_utf8_lossy(reader.rest()).into_owned().into();
        Some(Self {
            code,
            sqlstate,
            message,
        })
    }

    /// Appends the packet for a client that has been greeted.
    pub fn write(&self, seq: u8, out: &mut Vec<u8>) {
        packet::write(seq, &self.payload(self.sqlstate), out);
    }

    /// Appends the packet in the place of a greeting.
    ///
    /// Servers leave the SQL state out there, because the peers have not agreed on the 4.1 protocol yet;
    /// clients would show `#08004` as part of the message.
    pub fn write_instead_of_greeting(&self, out: &mut Vec<u8>) {
        packet::write(0, &self.payload(None), out);
    }

    fn payload(&self, sqlstate: Option<[u8; 5]>) -> Vec<u8> {
        let mut payload = vec![ERR];
        payload.extend_from_slice(&self.code.to_le_bytes());
        if let Some(state) = sqlstate {
            payload.push(b'#');
            payload.extend_from_slice(&state);
        }
        payload.extend_from_slice(self.message.as_bytes());
        payload
    }
}

/// Fit for a log: one line, bounded.
impl fmt::Display for ErrorPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.sqlstate.unwrap_or(*b"HY000");
        let (state, message) = (for_log(&state), for_log(self.message.as_bytes()));
        write!(f, "error {} ({state}): {message}", self.code)
    }
}

impl std::error::Error for ErrorPacket {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_error_carries_its_state_after_the_greeting() {
        let mut out = Vec::new();
        ErrorPacket::bad_handshake().write(2, &mut out);
        assert_eq!(out, b"\x16\0\0\x02\xff\x13\x04#08S01Bad handshake");
    }

    #[test]
    fn an_error_instead_of_the_greeting_has_no_state() {
        let mut out = Vec::new();
        ErrorPacket::too_many_connections().write_instead_of_greeting(&mut out);
        assert_eq!(out, b"\x17\0\0\0\xff\x10\x04Too many connections");
    }

    #[test]
    fn both_forms_are_read() {
        let with = ErrorPacket::parse(b"\xff\x15\x04#28000Access denied").expect("an error");
        assert_eq!(with, ErrorPacket::new(1045, *b"28000", "Access denied"));
        let without = ErrorPacket::parse(b"\xff\x6a\x04Host is not allowed").expect("an error");
        assert_eq!((without.code, without.sqlstate), (1130, None));
        assert_eq!(
            without.to_string(),
            "error 1130 (HY000): Host is not allowed"
        );
        assert_eq!(ErrorPacket::parse(b"\xff\x15"), None);
        assert_eq!(ErrorPacket::parse(b"\0\x15\x04"), None);
    }

    proptest! {
        #[test]
        fn written_errors_are_read_back(code: u16, state in "[0-9A-Z]{5}", message: String) {
            let state = state.into_bytes().try_into().expect("five bytes");
            let error = ErrorPacket::new(code, state, message);
            let mut out = Vec::new();
            error.write(1, &mut out);
            prop_assert_eq!(ErrorPacket::parse(&out[packet::HEADER_LEN..]), Some(error));
        }

        #[test]
        fn any_bytes_are_survived(payload: Vec<u8>) {
            let _ = ErrorPacket::parse(&payload).map(|error| error.to_string());
        }
    }
}
