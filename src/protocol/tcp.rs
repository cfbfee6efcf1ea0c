//! Any TCP service: nothing of what its peers say is known.

use super::traits::{HalfClose, Traits};

/// What the rest of the program has to know of such a service.
pub const TRAITS: Traits = Traits {
    name: "tcp",
    server_speaks_first: false,
    half_close: HalfClose::Listens,
    alpn: &[],
    reads_logins: false,
    channel_binding: false,
};
