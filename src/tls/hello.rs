//! What a client says first, before anything is decided about its TLS.

use rustls::server::Acceptor;

use super::stream::TlsError;
use crate::protocol::TLS_HANDSHAKE;

/// The alert `unrecognized_name` (RFC 6066 §3) as a record of its own: a fatal alert before any key
/// is agreed on (RFC 8446 §5.1, §6).
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The length of a TLS record's header (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;

/// The longest record that can be a `ClientHello`'s first (RFC 8446 §5.1: 2^14).
const MAX_PLAIN_RECORD: usize = 16 * 1024;

/// Whether the first bytes of a client hold a whole record, so that the answer can be chosen.
///
/// The configuration of a connection is chosen at this moment and not at accept, so that a client
/// that connected before a reload and spoke after it is shown the new certificate.
pub fn holds_client_hello(bytes: &[u8]) -> Result<bool, TlsError> {
    match bytes {
        [first, ..] if *first != TLS_HANDSHAKE => Err(TlsError::NotTls),
        [_, major, ..] if *major != 3 => Err(TlsError::NotTls),
        [_, _, _, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length > MAX_PLAIN_RECORD {
                return Err(TlsError::TooLong);
            }
            Ok(bytes.len() >= RECORD_HEADER + length)
        }
        _ => Ok(false),
    }
}

/// Returns the server name of a `ClientHello`; `None` if it has none, or does not lie whole in
/// `bytes`.
pub(super) fn server_name(mut bytes: &[u8]) -> Option<String> {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut bytes).ok()?;
    // What is wrong with it is told by whoever begins TLS with it.
    let accepted = acceptor.accept().ok()??;
    accepted.client_hello().server_name().map(str::to_owned)
}
