//! What the rest of the program has to know of a protocol, as data.

/// How a protocol differs from others outside of its own code. Each protocol has one such row, in its own
/// folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Traits {
    /// The name in the configuration, on the command line and in the status.
    pub name: &'static str,
    /// Whether a server says something before its client does. Then nothing that a client sends is
    /// read before a backend has greeted.
    pub server_speaks_first: bool,
    /// What it means that a peer has ended one direction of its connection.
    pub half_close: HalfClose,
    /// The names of the protocol in ALPN (RFC 7301), which both ends of a TLS connection may use; none if
    /// it has no name there.
    pub alpn: &'static [&'static [u8]],
    /// Whether logins are read, so that the listener can keep passwords out of the clear
    /// (`allow_cleartext_password`).
    pub reads_logins: bool,
    /// Whether a client can bind its login to the server's certificate, so that both legs need the same one
    /// (`channel_binding`).
    pub channel_binding: bool,
}

/// What it means that a peer has ended one direction of its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HalfClose {
    /// It is gone: clients and servers of the protocol end both directions at once.
    Gone,
    /// It may still wait for what comes in the other direction.
    Listens,
}
