//! The opening of each protocol: what travels before TLS, and the login behind it.
//!
//! Everything here is bytes in, bytes out. Nothing opens a socket, waits or allocates by a length
//! that a peer has merely announced, so every parser can be tested in tables and fuzzed. The
//! session drivers of the worker do the reading and writing and ask this room what they have in
//! their hands.
//!
//! Three answers are kept apart throughout: *not enough bytes yet* (`None`, `NeedMore`), *this is
//! it*, and *this can never become valid* (an error, to which the driver answers with the
//! protocol's own error message).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) mod bytes;
pub mod fuzzing;
#[cfg(test)]
mod imports;
pub mod mysql;
pub mod postgres;
pub mod proxy_header;
pub mod sealing;
pub mod watch;

/// The content type of a TLS handshake record (RFC 8446 §5.1), with which every TLS client begins.
pub const TLS_HANDSHAKE: u8 = 0x16;

/// Why a login is refused whose secret would cross a network in the clear, and what to do.
const PASSWORD_IN_CLEAR: &str = "this login sends a password or token in clear, and the proxy has \
    no TLS to the database; set `backend_tls`, or let it with `allow_cleartext_password = true`";

/// What a listener speaks with its clients.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MySQL and MariaDB: the server greets first, TLS starts after a packet of the client.
    Mysql,
    /// PostgreSQL: the client asks for TLS, or starts with it.
    Postgres,
    /// Anything else: TLS from the first byte, nothing is looked at.
    Tcp,
}

impl Protocol {
    /// Every protocol, in the order in which help texts name them.
    pub const ALL: [Self; 3] = [Self::Mysql, Self::Postgres, Self::Tcp];

    /// Returns the name used in the configuration, on the command line and in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Postgres => "postgres",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == name)
            .ok_or_else(|| UnknownProtocol(name.to_owned()))
    }
}

/// The name is not that of a protocol.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("unknown protocol {0:?}: expected mysql, postgres or tcp")]
pub struct UnknownProtocol(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
            let json = serde_json::to_string(&protocol).expect("a unit variant");
            assert_eq!(json, format!("\"{protocol}\""));
        }
    }

    #[test]
    fn other_names_are_refused_with_the_choices() {
        let error = "MySQL"
            .parse::<Protocol>()
            .expect_err("names are lower case");
        assert_eq!(
            error.to_string(),
            "unknown protocol \"MySQL\": expected mysql, postgres or tcp"
        );
    }
}
