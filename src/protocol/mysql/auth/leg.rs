//! What a connection hides from others, as the two ends of it judge.

/// One of the two connections of a session: client to proxy, or proxy to database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leg {
    /// Plain TCP inside this machine.
    Loopback,
    /// Plain TCP to another machine.
    Network,
    /// TLS, over whatever.
    Tls,
    /// A unix socket without TLS.
    Unix,
}

impl Leg {
    /// Tells whether clients and databases count the leg as secure, and so send and expect
    /// passwords in the clear.
    ///
    /// Plain TCP is never secure to them, not even on the loopback address; a unix socket always
    /// is.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Unix)
    }
}

/// The two connections of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Legs {
    /// Client to proxy.
    pub client: Leg,
    /// Proxy to database.
    pub server: Leg,
    /// Whether a password may cross a network in the clear, because the configuration says so.
    pub clear_allowed: bool,
}

impl Legs {
    /// Tells whether a password may go to the database in the clear: no other machine can read it, or the
    /// configuration permits it.
    #[must_use]
    pub fn let_passwords_through(self) -> bool {
        self.clear_allowed || self.server != Leg::Network
    }

    /// Tells whether both ends judge their legs alike, so that what one sends the other takes.
    #[must_use]
    pub fn are_alike(self) -> bool {
        let is_tls = |leg| leg == Leg::Tls;
        is_tls(self.client) == is_tls(self.server)
            && self.client.is_secure() == self.server.is_secure()
    }
}
