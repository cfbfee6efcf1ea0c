//! Why a server could not be looked at, in words.

use std::{fmt, io};

use super::stranger::Stranger;
use crate::{
    protocol::{Protocol, mysql::ErrorPacket},
    tls::{notes::printable, observe::Broken},
};

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its address.
    Lookup,
    /// A connection.
    Connection,
    /// The greeting of a server of MySQL or MariaDB.
    Greeting,
    /// The answer of a server of PostgreSQL to the request for TLS.
    Answer,
    /// The rest of a handshake that begins with the first byte.
    FirstByte,
    /// The rest of a handshake after the server agreed to it.
    Handshake,
}

/// Why a server could not be looked at, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Its name was not found.
    #[error("not reachable: its name cannot be looked up: {0}")]
    Lookup(String),
    /// Its name has no address.
    #[error("not reachable: its name has no address")]
    NoAddress,
    /// Nothing listens there.
    #[error("not reachable: connection refused")]
    NotListening,
    /// This machine has no way to that address, as one without IPv6 has none to others of IPv6.
    #[error("not reachable: this machine has no route to it")]
    NoRoute,
    /// There was no connection.
    #[error("not reachable: {0}")]
    Connection(String),
    /// It did not say in time what was waited for.
    #[error("{}", late(*.0))]
    Late(Phase),
    /// It closed the connection.
    #[error("{}", closed(*.0))]
    Closed(Phase),
    /// The connection broke.
    #[error("the connection broke off {}: {why}", during(*phase))]
    BrokenOff {
        /// Meanwhile.
        phase: Phase,
        /// What the system says.
        why: String,
    },
    /// It offers no TLS.
    #[error("it offers no TLS{}", match .0 { Protocol::Mysql => " in its greeting", _ => "" })]
    NoTls(Protocol),
    /// It refuses the connection.
    #[error("it refuses the connection before TLS: {0}")]
    Refused(Refusal),
    /// What it says does not belong to the protocol.
    #[error("{}", .stranger.told(*.expected))]
    Stranger {
        /// What was expected.
        expected: Protocol,
        /// What it seems to be.
        stranger: Stranger,
    },
    /// It says something unencrypted after TLS was to begin (CVE-2021-23222).
    #[error("it sends unencrypted bytes where TLS begins, which clients take for an attack")]
    Unencrypted,
    /// TLS failed.
    #[error("{0}")]
    Tls(#[from] Broken),
    /// TLS could not be begun.
    #[error("TLS cannot begin: {0}")]
    Setup(String),
}

/// Why a server refuses a connection, by its own words, which nothing vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// As MySQL and MariaDB say it.
    Mysql(ErrorPacket),
    /// As PostgreSQL says it; fit for one line.
    Postgres(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql(error) => write!(f, "error {}: {}", error.code, printable(&error.message)),
            Self::Postgres(words) => f.write_str(words),
        }
    }
}

impl Failure {
    pub(super) fn lookup(error: &io::Error) -> Self {
        let text = error.to_string();
        let words = text.rsplit(": ").next().unwrap_or(&text);
        Self::Lookup(words.to_owned())
    }

    pub(super) fn connection(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::NotListening,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => Self::NoRoute,
            _ => Self::Connection(words(error)),
        }
    }

    /// A connection that was reset ended, though not as it should.
    pub(super) fn broken_off(phase: Phase, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed(phase),
            _ => Self::BrokenOff {
                phase,
                why: words(error),
            },
        }
    }
}

/// Returns what the system says, without its number.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

fn late(phase: Phase) -> &'static str {
    match phase {
        Phase::Lookup => "not reachable: its name was not looked up in time",
        Phase::Connection => "not reachable: no connection in time",
        Phase::Greeting => {
            "no greeting in time, with which a server of MySQL or MariaDB begins; use --protocol tcp if TLS begins \
             with the first byte there, or --protocol postgres"
        }
        Phase::Answer => {
            "no answer to PostgreSQL's request for TLS in time; use --protocol tcp if TLS begins with the first byte \
             there, or --protocol mysql"
        }
        Phase::FirstByte => {
            "the handshake was not over in time; if the server is a database's, use --protocol mysql or \
             --protocol postgres"
        }
        Phase::Handshake => "the handshake was not over in time",
    }
}

fn closed(phase: Phase) -> &'static str {
    match phase {
        Phase::Lookup | Phase::Connection => "it closes the connection",
        Phase::Greeting => "it closes the connection without a greeting",
        Phase::Answer => {
            "it closes the connection without an answer to PostgreSQL's request for TLS; use --protocol tcp if TLS \
             begins with the first byte there, or --protocol mysql"
        }
        Phase::FirstByte => {
            "it closes the connection during the handshake; if the server is a database's, use --protocol mysql or \
             --protocol postgres"
        }
        Phase::Handshake => "it closes the connection during the handshake",
    }
}

fn during(phase: Phase) -> &'static str {
    match phase {
        Phase::Lookup | Phase::Connection => "at once",
        Phase::Greeting => "before the greeting",
        Phase::Answer => "before the answer to the request for TLS",
        Phase::FirstByte | Phase::Handshake => "during the handshake",
    }
}
