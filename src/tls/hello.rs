//! The name that a client asks for, before anything is decided about its TLS.

use rustls::server::Acceptor;

/// The alert `unrecognized_name` (RFC 6066 §3) as a record of its own: a fatal alert before any key
/// is agreed on (RFC 8446 §5.1, §6).
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Returns the server name of a `ClientHello`; `None` if it has none, or does not lie whole in
/// `bytes`.
pub(super) fn server_name(mut bytes: &[u8]) -> Option<String> {
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut bytes).ok()?;
    // What is wrong with it is told by whoever begins TLS with it.
    let accepted = acceptor.accept().ok()??;
    accepted.client_hello().server_name().map(str::to_owned)
}
