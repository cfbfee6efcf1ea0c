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

use self::traits::Traits;

pub(crate) mod bytes;
pub mod fuzzing;
#[cfg(test)]
mod imports;
pub mod mysql;
pub mod postgres;
pub mod proxy_header;
pub mod sealing;
mod secret;
pub mod tcp;
pub mod traits;
pub mod watch;
pub mod watcher;

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

    /// Returns how it differs from the others.
    #[must_use]
    pub fn traits(self) -> &'static Traits {
        match self {
            Self::Mysql => &mysql::TRAITS,
            Self::Postgres => &postgres::TRAITS,
            Self::Tcp => &tcp::TRAITS,
        }
    }

    /// Returns the name used in the configuration, on the command line and in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.traits().name
    }

    /// Names the protocols that have a trait, as the configuration's messages do: `"mysql" or
    /// "postgres"`.
    #[must_use]
    pub fn names_with(has_trait: impl Fn(&Traits) -> bool) -> String {
        let with = Self::ALL.into_iter().filter(|it| has_trait(it.traits()));
        let names: Vec<_> = with.map(|it| format!("\"{it}\"")).collect();
        listed(&names)
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
#[error("unknown protocol {0:?}: expected {names}", names = listed(&Protocol::ALL.map(Protocol::as_str)))]
pub struct UnknownProtocol(String);

/// Joins names for a sentence: "a, b or c".
fn listed(names: &[impl AsRef<str>]) -> String {
    let mut all = String::new();
    for (position, name) in names.iter().enumerate() {
        all.push_str(match position {
            0 => "",
            last if last + 1 == names.len() => " or ",
            _ => ", ",
        });
        all.push_str(name.as_ref());
    }
    all
}

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
    fn a_trait_is_named_by_the_protocols_that_have_it() {
        let names = Protocol::names_with(|it| it.reads_logins);
        assert_eq!(names, "\"mysql\" or \"postgres\"");
        let names = Protocol::names_with(|it| it.channel_binding);
        assert_eq!(names, "\"postgres\"");
        assert_eq!(
            Protocol::names_with(|_| true),
            "\"mysql\", \"postgres\" or \"tcp\""
        );
    }

    #[test]
    fn what_needs_a_login_is_had_only_where_logins_are_read() {
        for protocol in Protocol::ALL {
            let traits = protocol.traits();
            assert!(traits.reads_logins || !traits.channel_binding, "{protocol}");
        }
    }

    #[test]
    fn no_two_protocols_have_the_same_name() {
        let mut names = Protocol::ALL.map(Protocol::as_str).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Protocol::ALL.len());
        let alpn = Protocol::ALL.iter().flat_map(|it| it.traits().alpn);
        let mut alpn: Vec<_> = alpn.collect();
        let count = alpn.len();
        alpn.sort_unstable();
        alpn.dedup();
        assert_eq!(alpn.len(), count);
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
