//! What a worker asks the resolver for, and why it does not get it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// What a worker asks the resolver for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Wanted {
    /// The addresses of a host.
    Host(String),
    /// A connection to the Unix socket at a path.
    Path(PathBuf),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An address of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAddress {
    /// The address.
    pub ip: IpAddr,
    /// The number of the interface that a link-local IPv6 address belongs to, without which it leads
    /// nowhere; 0 for other addresses.
    pub scope: u32,
}

impl HostAddress {
    /// Returns the address with a port, to connect to.
    #[must_use]
    pub fn at(self, port: u16) -> SocketAddr {
        let mut address = SocketAddr::new(self.ip, port);
        if let SocketAddr::V6(v6) = &mut address {
            v6.set_scope_id(self.scope);
        }
        address
    }
}

impl From<SocketAddr> for HostAddress {
    fn from(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        let ip = address.ip();
        Self { ip, scope }
    }
}

/// Why the resolver has nothing for a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unresolved {
    /// There is no such name, or it has no address, as the C library says it.
    #[error("{0}")]
    NoSuchName(String),
    /// The name servers gave no usable answer, as the C library says it.
    #[error("{0}")]
    Temporary(String),
    /// The lookup or the connection failed for another reason, which the text gives.
    #[error("{0}")]
    Failed(String),
    /// Nothing came as long as the worker wanted to wait.
    #[error("the lookup has no answer after {:.1} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    /// All threads of the resolver were busy with other names as long as the worker wanted to wait.
    #[error("other lookups without an answer kept this one waiting for {:.1} s", .0.as_secs_f32())]
    NoThread(Duration),
    /// The worker waits for too much already.
    #[error("the worker has too many lookups without an answer")]
    TooMany,
    /// No listener's backend has this name or path.
    #[error("no listener has this backend")]
    NotConfigured,
}

impl Unresolved {
    /// Whether only time was missing.
    pub fn is_late(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::NoThread(_))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn a_link_local_address_keeps_its_interface() {
        let ip = "fe80::1".parse().unwrap();
        let found = HostAddress::from(SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, 7)));
        assert_eq!(found.at(3306).to_string(), "[fe80::1%7]:3306");
        let other: SocketAddr = "192.0.2.1:0".parse().unwrap();
        assert_eq!(HostAddress::from(other).at(1).to_string(), "192.0.2.1:1");
    }

    #[test]
    fn a_worker_is_told_how_long_it_has_waited() {
        let late = Unresolved::NoAnswer(Duration::from_millis(2500));
        assert_eq!(late.to_string(), "the lookup has no answer after 2.5 s");
    }
}
