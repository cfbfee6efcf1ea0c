//! Just enough of the wire formats to play a client or a server by hand.

use std::io::{self, Read};

/// `PostgreSQL`'s request for TLS.
pub(crate) const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

/// `PostgreSQL`'s request for GSSAPI encryption.
pub(crate) const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 48];

/// Returns the message that starts a `PostgreSQL` session.
pub(crate) fn startup() -> Vec<u8> {
    let words = b"user\0nobody\0database\0nothing\0\0";
    let length = u32::try_from(words.len() + 8).unwrap();
    [&length.to_be_bytes()[..], &[0, 3, 0, 0], words].concat()
}

/// Returns a field of a `PostgreSQL` error, such as `C` for the SQLSTATE.
#[track_caller]
pub(crate) fn error_field(message: &[u8], field: u8) -> String {
    assert_eq!(message.first(), Some(&b'E'), "no error: {message:?}");
    let mut fields = message[5..].split(|byte| *byte == 0);
    let found = fields.find(|it| it.first() == Some(&field));
    String::from_utf8_lossy(&found.unwrap()[1..]).into_owned()
}

/// What a client can do, as `MySQL` numbers it.
const CLIENT_SSL: u32 = 0x0800;
/// `PROTOCOL_41`, `SECURE_CONNECTION`, `PLUGIN_AUTH` and `LONG_PASSWORD`.
const CAPABILITIES: u32 = 0x0200 | 0x8000 | 0x0008_0000 | 1;

/// Returns a `MySQL` packet.
pub(crate) fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&[a, b, c, seq], payload].concat()
}

/// Reads a `MySQL` packet: its number and its payload.
pub(crate) fn read_packet(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok((head[3], payload))
}

/// Returns the packet of a `MySQL` server without TLS that greets.
pub(crate) fn greeting() -> Vec<u8> {
    let [a, b, c, d] = CAPABILITIES.to_le_bytes();
    let payload = [
        b"\x0a8.4.0-fake\0",
        &[7, 0, 0, 0][..],
        b"01234567\0",
        &[a, b, 45, 2, 0, c, d, 21],
        &[0; 10],
        b"890123456789\0",
        b"mysql_native_password\0",
    ]
    .concat();
    packet(0, &payload)
}

/// Returns the 32 bytes that a login begins with.
fn login_head(capabilities: u32) -> Vec<u8> {
    let [a, b, c, d] = capabilities.to_le_bytes();
    [&[a, b, c, d, 0, 0, 0, 1, 45][..], &[0; 23]].concat()
}

/// Returns the packet by which a `MySQL` client asks for TLS.
pub(crate) fn mysql_ssl_request() -> Vec<u8> {
    packet(1, &login_head(CAPABILITIES | CLIENT_SSL))
}

/// Returns the packet of a `MySQL` client that logs in, with or without TLS around it.
pub(crate) fn login(tls: bool, user: &str) -> Vec<u8> {
    let (capabilities, seq) = if tls {
        (CAPABILITIES | CLIENT_SSL, 2)
    } else {
        (CAPABILITIES, 1)
    };
    let payload = [
        &login_head(capabilities)[..],
        user.as_bytes(),
        &[0, 20],
        b"the hash of a secret",
        b"mysql_native_password\0",
    ]
    .concat();
    packet(seq, &payload)
}

/// The payload of a `MySQL` server's consent.
pub(crate) const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// Returns the number of a `MySQL` error and what stands behind it.
#[track_caller]
pub(crate) fn error(payload: &[u8]) -> (u16, String) {
    assert_eq!(payload.first(), Some(&0xff), "no error: {payload:?}");
    let code = u16::from_le_bytes([payload[1], payload[2]]);
    (code, String::from_utf8_lossy(&payload[3..]).into_owned())
}

/// The number of the error that tells a `MySQL` client that the server cannot be reached.
pub(crate) const BACKEND_DOWN: u16 = 1429;

/// Number of the error by which a client is told that it was too slow.
pub(crate) const CLIENT_TOO_SLOW: u16 = 1159;
