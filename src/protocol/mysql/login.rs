//! The first packets of a client: a request for TLS, and its login.
//!
//! Both start with 32 bytes: capabilities (4), largest packet (4), character set (1), reserved (23,
//! of which MariaDB fills the last 4 with capabilities of its own). An `SSLRequest` ends there. A
//! login goes on with the user and NUL; authentication data; the database and NUL; the plugin name
//! and NUL; connection attributes.
//! Source: "`Protocol::SSLRequest`" and "`Protocol::HandshakeResponse41`" in the MySQL source
//! documentation.

use std::fmt;

use thiserror::Error;

use super::capabilities::Capabilities;
use super::packet;
use crate::protocol::bytes::{Reader, for_log};

/// Length of an `SSLRequest`, and of what a login shares with it.
const FIXED_LEN: usize = 32;

/// What a client can send first.
#[derive(Debug)]
pub enum ClientFirst<'a> {
    /// It logs in without TLS.
    Login(Login<'a>),
    /// TLS starts with the next byte, which may already be in the buffer: clients do not wait for
    /// an answer.
    SslRequest,
}

impl<'a> ClientFirst<'a> {
    /// Reads the payload of the client's first packet.
    pub fn parse(payload: &'a [u8]) -> Result<Self, LoginError> {
        let capabilities = capabilities(payload)?;
        match (capabilities.contains(Capabilities::SSL), payload.len()) {
            (true, FIXED_LEN) => Ok(Self::SslRequest),
            // A server would start TLS here whatever the length; the rest would be a login in the
            // clear.
            (true, length) => Err(LoginError::SslRequestLength(length)),
            (false, _) => Login::parse(payload).map(Self::Login),
        }
    }
}

/// A client's login, read as far as needed to carry it to the database.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    payload: &'a [u8],
    user: &'a [u8],
    response: &'a [u8],
    plugin: Option<&'a [u8]>,
    /// What stands before the authentication data and its length.
    before: &'a [u8],
    /// What stands behind the authentication data.
    behind: &'a [u8],
}

impl<'a> Login<'a> {
    /// Reads the payload of a `HandshakeResponse41`.
    pub fn parse(payload: &'a [u8]) -> Result<Self, LoginError> {
        let capabilities = capabilities(payload)?;
        let mut reader = Reader::new(payload);
        reader.take(FIXED_LEN).ok_or(LoginError::Truncated)?;
        let user = reader.until_nul().ok_or(LoginError::Truncated)?;
        let before = &payload[..payload.len() - reader.rest().len()];
        let response = response(&mut reader, capabilities).ok_or(LoginError::Truncated)?;
        let behind = reader.rest();
        if capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            reader.until_nul_or_end();
        }
        let plugin = capabilities
            .contains(Capabilities::PLUGIN_AUTH)
            .then(|| reader.until_nul_or_end());
        Ok(Self {
            payload,
            user,
            response,
            plugin: plugin.filter(|name| !name.is_empty()),
            before,
            behind,
        })
    }

    /// Returns what the client can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        // Checked when the login was read.
        capabilities(self.payload).unwrap_or(Capabilities::PROTOCOL_41)
    }

    /// Returns the user as the client has sent it.
    #[must_use]
    pub fn user_name(&self) -> &'a [u8] {
        self.user
    }

    /// Returns the user, fit for a log.
    #[must_use]
    pub fn user(&self) -> String {
        for_log(self.user)
    }

    /// Returns the authentication data: a proof, or with some plugins the password itself.
    #[must_use]
    pub fn response(&self) -> &'a [u8] {
        self.response
    }

    /// Returns the plugin that made the authentication data, if the client names one.
    #[must_use]
    pub fn plugin(&self) -> Option<&'a [u8]> {
        self.plugin
    }

    /// Appends the login as a packet whose TLS flag fits the leg it is sent on; no other byte
    /// changes.
    ///
    /// On a leg without TLS the flag must be off, or the database waits for a TLS handshake.
    pub fn write(&self, seq: u8, ssl: bool, out: &mut Vec<u8>) {
        write(self.payload, seq, ssl, out);
    }

    /// Does the same with one byte of authentication data in the place of what the client sent.
    pub fn write_with(&self, response: u8, seq: u8, ssl: bool, out: &mut Vec<u8>) {
        let counted =
            Capabilities::PLUGIN_AUTH_LENENC.bits() | Capabilities::SECURE_CONNECTION.bits();
        let form = if self.capabilities().bits() & counted == 0 {
            [response, 0]
        } else {
            [1, response]
        };
        write(&[self.before, &form, self.behind].concat(), seq, ssl, out);
    }

    /// Appends the `SSLRequest` that goes before this login on a leg with TLS.
    pub fn write_ssl_request(&self, seq: u8, out: &mut Vec<u8>) {
        write(&self.payload[..FIXED_LEN], seq, true, out);
    }
}

/// The authentication data may be a password and is not shown.
impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user())
            .field("plugin", &self.plugin.map(for_log))
            .finish_non_exhaustive()
    }
}

fn write(payload: &[u8], seq: u8, ssl: bool, out: &mut Vec<u8>) {
    let start = out.len() + packet::HEADER_LEN;
    packet::write(seq, payload, out);
    if let Some(bits) = out[start..].first_chunk_mut() {
        let capabilities = Capabilities::from_bits(u32::from_le_bytes(*bits));
        *bits = capabilities
            .with(Capabilities::SSL, ssl)
            .bits()
            .to_le_bytes();
    }
}

/// Reads the capabilities of a client that speaks the 4.1 protocol.
fn capabilities(payload: &[u8]) -> Result<Capabilities, LoginError> {
    let mut reader = Reader::new(payload);
    // Before 4.1 there were only sixteen bits, in packets of four or five bytes when TLS was asked
    // for.
    let lower = reader.u16_le().ok_or(LoginError::Truncated)?;
    if !Capabilities::from_bits(lower.into()).contains(Capabilities::PROTOCOL_41) {
        return Err(LoginError::TooOld);
    }
    if payload.len() < FIXED_LEN {
        return Err(LoginError::Truncated);
    }
    let upper = reader.u16_le().ok_or(LoginError::Truncated)?;
    Ok(Capabilities::from_bits(
        u32::from(upper) << 16 | u32::from(lower),
    ))
}

/// Reads the authentication data, whose form depends on the capabilities.
fn response<'a>(reader: &mut Reader<'a>, capabilities: Capabilities) -> Option<&'a [u8]> {
    if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
        let length = variable_length(reader)?;
        reader.take(length)
    } else if capabilities.contains(Capabilities::SECURE_CONNECTION) {
        let length = reader.u8()?;
        reader.take(length.into())
    } else {
        reader.until_nul()
    }
}

/// Reads a length-encoded integer; one that needs eight bytes cannot be a length here.
fn variable_length(reader: &mut Reader<'_>) -> Option<usize> {
    match reader.u8()? {
        short @ 0..=0xfa => Some(short.into()),
        0xfc => reader.u16_le().map(usize::from),
        0xfd => reader
            .array()
            .map(|[low, middle, high]| u32::from_le_bytes([low, middle, high, 0]) as usize),
        _ => None,
    }
}

/// What the client sent is no login; it is told so with
/// [`ErrorPacket::bad_handshake`](super::ErrorPacket::bad_handshake).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LoginError {
    /// The TLS flag in a packet that is no `SSLRequest`.
    #[error("the client asks for TLS in a packet of {0} bytes where an SSLRequest has 32")]
    SslRequestLength(usize),
    /// The client is older than MySQL 4.1.
    #[error("the client does not speak the 4.1 protocol")]
    TooOld,
    /// The packet ends too early.
    #[error("the client's login is cut short")]
    Truncated,
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `PROTOCOL_41`, `SECURE_CONNECTION`, `PLUGIN_AUTH`, `PLUGIN_AUTH_LENENC` and `SSL`.
    pub(crate) const CLIENT: u32 = 0x0028_8a00;

    /// A login as current clients send it.
    pub(crate) fn sample(capabilities: u32, response: &[u8], plugin: &str) -> Vec<u8> {
        let mut payload = capabilities.to_le_bytes().to_vec();
        payload.extend_from_slice(&[0, 0, 0, 1, 0xff]);
        payload.extend_from_slice(&[0; 19]);
        payload.extend_from_slice(&[0x1d, 0, 0, 0]);
        payload.extend_from_slice(b"app\0");
        payload.push(u8::try_from(response.len()).expect("short"));
        payload.extend_from_slice(response);
        payload.extend_from_slice(plugin.as_bytes());
        payload.push(0);
        payload
    }

    #[test]
    fn a_login_is_read() {
        let payload = sample(CLIENT, &[7; 32], "caching_sha2_password");
        let login = Login::parse(&payload).expect("a login");
        assert_eq!(login.user(), "app");
        assert_eq!(login.user_name(), b"app");
        assert_eq!(login.response(), [7; 32]);
        assert_eq!(login.plugin(), Some(&b"caching_sha2_password"[..]));
        assert_eq!(
            format!("{login:?}"),
            "Login { user: \"app\", plugin: Some(\"caching_sha2_password\"), .. }"
        );
    }

    #[test]
    fn a_database_stands_before_the_plugin() {
        let mut payload = sample(CLIENT | 8, b"", "orders");
        payload.extend_from_slice(b"dialog");
        let login = Login::parse(&payload).expect("a login");
        assert_eq!(login.plugin(), Some(&b"dialog"[..]));
    }

    #[test]
    fn older_forms_of_the_response_are_read() {
        let fixed = sample(0x8200, &[1; 20], "");
        assert_eq!(Login::parse(&fixed).expect("a login").response(), [1; 20]);
        let mut terminated = sample(0x0200, b"", "");
        terminated.truncate(FIXED_LEN + 4);
        terminated.extend_from_slice(b"12345678\0");
        assert_eq!(
            Login::parse(&terminated).expect("a login").response(),
            b"12345678"
        );
    }

    #[test]
    fn only_the_tls_bit_changes() {
        let payload = sample(CLIENT, b"", "x");
        let login = Login::parse(&payload).expect("a login");
        let mut out = Vec::new();
        login.write(1, false, &mut out);
        assert_eq!(out[3], 1);
        assert_eq!(out[5], payload[1] & !0x08);
        assert_eq!(out[6..], payload[2..]);
        out.clear();
        login.write(1, true, &mut out);
        assert_eq!(out[packet::HEADER_LEN..], payload);
    }

    #[test]
    fn other_authentication_data_leaves_the_rest_as_it_is() {
        for capabilities in [CLIENT, CLIENT & !0x20_0000, 0x0200] {
            let payload = sample(capabilities, b"secret\0", "sha256_password");
            let login = Login::parse(&payload).expect("a login");
            let mut out = Vec::new();
            login.write_with(1, 3, true, &mut out);
            let other = Login::parse(&out[packet::HEADER_LEN..]).expect("a login");
            assert_eq!(
                (other.user(), other.response()),
                ("app".to_owned(), &[1][..])
            );
            assert_eq!(other.behind, login.behind);
        }
    }

    #[test]
    fn an_ssl_request_repeats_the_head_of_the_login() {
        let payload = sample(CLIENT & !0x800, b"pw", "x");
        let login = Login::parse(&payload).expect("a login");
        let mut out = Vec::new();
        login.write_ssl_request(1, &mut out);
        assert_eq!(out[..4], [32, 0, 0, 1]);
        assert!(matches!(
            ClientFirst::parse(&out[4..]),
            Ok(ClientFirst::SslRequest)
        ));
        assert_eq!(out[6..], payload[2..FIXED_LEN]);
    }

    #[test]
    fn what_is_no_login_is_refused() {
        let old = ClientFirst::parse(&[0x85, 0xae, 0, 0, 0]).expect_err("not 4.1: 0xae85");
        assert_eq!(old, LoginError::Truncated);
        let old = ClientFirst::parse(&[0x85, 0xac, 0, 0, 0]).expect_err("0xac85");
        assert_eq!(old, LoginError::TooOld);
        let long = sample(CLIENT, b"", "x");
        let error = ClientFirst::parse(&long).expect_err("the flag in a login");
        assert_eq!(error, LoginError::SslRequestLength(long.len()));
        let head = &sample(CLIENT & !0x800, b"", "x")[..FIXED_LEN];
        assert_eq!(
            ClientFirst::parse(head).expect_err("no user"),
            LoginError::Truncated
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(capabilities: u32, behind: Vec<u8>) {
            let mut payload = (capabilities | 0x200).to_le_bytes().to_vec();
            payload.extend_from_slice(&[0; 28]);
            payload.extend_from_slice(&behind);
            if let Ok(login) = Login::parse(&payload) {
                let mut out = Vec::new();
                login.write(1, login.capabilities().contains(Capabilities::SSL), &mut out);
                prop_assert_eq!(&out[4..], &payload[..]);
                let _ = format!("{login:?}");
            }
        }

        #[test]
        fn any_first_packet_is_survived(payload: Vec<u8>) {
            let _ = ClientFirst::parse(&payload);
        }
    }
}
