//! Whom to ask: an address, its protocol and the name that the certificate must hold.

use std::{borrow::Cow, fmt, net::IpAddr, path::Path, str::FromStr};

use rustls::pki_types::ServerName;

use crate::{
    config::{Address, AddressError},
    protocol::Protocol,
};

/// Ports that are usual for MySQL, MariaDB and what stands in front of them.
const MYSQL_PORTS: [u16; 5] = [3306, 3307, 3308, 3309, 33060];

/// Ports that are usual for PostgreSQL and what stands in front of it.
const POSTGRES_PORTS: [u16; 3] = [5432, 5433, 6432];

/// A server to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is; of a name, all addresses are asked.
    pub address: Address,
    /// How TLS begins there.
    pub protocol: Protocol,
    /// The name that its certificate must hold; none is checked if there is none. It is asked for too unless it is
    /// an IP address.
    pub name: Option<ServerName<'static>>,
}

/// A name that a certificate can hold: a host name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(ServerName<'static>);

/// Why a text is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a host name nor an IP address")]
pub struct NoName(String);

impl FromStr for Name {
    type Err = NoName;

    fn from_str(text: &str) -> Result<Self, NoName> {
        let name = ServerName::try_from(text.to_owned());
        name.map(Self).map_err(|_| NoName(text.to_owned()))
    }
}

/// Why a text is no server to ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It has no port, and no protocol that says one.
    #[error(
        "`{0}` has no port; write host:port, or --protocol mysql or postgres for their usual ports"
    )]
    NoPort(String),
    /// Its host can be looked up, but no certificate can hold it.
    #[error(transparent)]
    Name(#[from] NoName),
}

impl Target {
    /// Reads `host:port`, `[v6]:port`, `unix:/path`, or a host alone where the protocol has a usual port. Without a
    /// protocol it is the one that is usual at the port, else TLS from the first byte; without a name it is the host.
    pub fn parse(
        text: &str,
        protocol: Option<Protocol>,
        name: Option<&Name>,
    ) -> Result<Self, TargetError> {
        let address: Address = with_port(text, protocol)?.parse()?;
        let name = match (name, &address) {
            (Some(name), _) => Some(name.clone()),
            (None, Address::Tcp { host, .. }) => Some(host.parse()?),
            (None, Address::Unix(_)) => None,
        };
        Ok(Self {
            protocol: protocol.unwrap_or_else(|| usual(&address)),
            name: name.map(|it| it.0),
            address,
        })
    }
}

/// As a person writes it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Returns a text with the usual port behind a host that has none.
fn with_port(text: &str, protocol: Option<Protocol>) -> Result<Cow<'_, str>, TargetError> {
    let is_whole = match text.strip_prefix('[') {
        Some(rest) => !rest.ends_with(']'),
        None => text.contains(':'),
    };
    if is_whole || text.is_empty() {
        return Ok(text.into());
    }
    let port = match protocol {
        Some(Protocol::Mysql) => MYSQL_PORTS[0],
        Some(Protocol::Postgres) => POSTGRES_PORTS[0],
        Some(Protocol::Tcp) | None => return Err(TargetError::NoPort(text.to_owned())),
    };
    Ok(format!("{text}:{port}").into())
}

/// Returns the protocol that is usual at an address.
fn usual(address: &Address) -> Protocol {
    match address {
        Address::Tcp { port, .. } if MYSQL_PORTS.contains(port) => Protocol::Mysql,
        Address::Tcp { port, .. } if POSTGRES_PORTS.contains(port) => Protocol::Postgres,
        Address::Unix(path) => usual_at(path),
        Address::Tcp { .. } => Protocol::Tcp,
    }
}

/// PostgreSQL names its sockets after its port, and what comes with MySQL and MariaDB after the server.
fn usual_at(path: &Path) -> Protocol {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match &*name {
        "mysqld.sock" | "mysql.sock" | "mariadb.sock" => Protocol::Mysql,
        name if name.starts_with(".s.PGSQL.") => Protocol::Postgres,
        _ => Protocol::Tcp,
    }
}

/// Returns a name as people write it.
#[must_use]
pub fn written(name: &ServerName<'_>) -> String {
    match name {
        ServerName::IpAddress(address) => IpAddr::from(*address).to_string(),
        name => name.to_str().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, protocol: Option<Protocol>) -> Result<Target, TargetError> {
        Target::parse(text, protocol, None)
    }

    #[test]
    fn the_protocol_is_the_usual_one_of_the_port_or_socket() {
        for (text, protocol) in [
            ("db:3306", Protocol::Mysql),
            ("[::1]:33060", Protocol::Mysql),
            ("unix:/run/mysqld/mysqld.sock", Protocol::Mysql),
            ("192.0.2.1:5432", Protocol::Postgres),
            ("unix:/run/postgresql/.s.PGSQL.5432", Protocol::Postgres),
            ("db:443", Protocol::Tcp),
            ("unix:/run/x", Protocol::Tcp),
        ] {
            assert_eq!(parse(text, None).unwrap().protocol, protocol, "{text}");
            let tcp = parse(text, Some(Protocol::Tcp)).unwrap();
            assert_eq!(tcp.protocol, Protocol::Tcp, "{text}");
        }
    }

    #[test]
    fn the_port_is_the_usual_one_of_the_protocol_that_is_named() {
        for (text, protocol, address) in [
            ("db", Protocol::Mysql, "db:3306"),
            ("db", Protocol::Postgres, "db:5432"),
            ("[::1]", Protocol::Postgres, "[::1]:5432"),
            ("db:1", Protocol::Mysql, "db:1"),
        ] {
            let target = parse(text, Some(protocol)).unwrap();
            assert_eq!(target.to_string(), address);
        }
        for protocol in [None, Some(Protocol::Tcp)] {
            let error = parse("db", protocol).unwrap_err();
            assert!(matches!(error, TargetError::NoPort(_)), "{error}");
        }
        for text in ["", "::1", "db:", "[db]:1", "unix:x", "-x-:1"] {
            assert!(parse(text, Some(Protocol::Mysql)).is_err(), "{text}");
        }
    }

    #[test]
    fn the_name_is_the_one_that_is_given_or_the_host() {
        let name = |text: &str, name: Option<&str>| {
            let name = name.map(|it| it.parse().unwrap());
            let target = Target::parse(text, None, name.as_ref()).unwrap();
            target.name.as_ref().map(written)
        };
        assert_eq!(name("db1:1", None).as_deref(), Some("db1"));
        assert_eq!(name("[::1]:1", None).as_deref(), Some("::1"));
        assert_eq!(name("127.0.0.1:1", Some("db1")).as_deref(), Some("db1"));
        assert_eq!(name("unix:/x", None), None);
        assert_eq!(
            name("unix:/x", Some("10.0.0.1")).as_deref(),
            Some("10.0.0.1")
        );
        assert!("a b".parse::<Name>().is_err());
    }
}
