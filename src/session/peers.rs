//! Who is at the other end of a client's connection.

use std::net::SocketAddr;

/// Who is at the other end of a client's connection, for log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peers {
    /// The client; `None` if it has no address, as on a Unix socket.
    pub client: Option<SocketAddr>,
    /// The load balancer that connected for it, if one did.
    pub via: Option<SocketAddr>,
}

impl Peers {
    /// Returns those of a client that connected by itself.
    pub fn direct(client: Option<SocketAddr>) -> Self {
        Self { client, via: None }
    }

    /// Notes that the peer that has connected is a load balancer and speaks for `client`.
    pub fn speaks_for(&mut self, client: SocketAddr) {
        self.via = self.client;
        self.client = Some(client);
    }
}
