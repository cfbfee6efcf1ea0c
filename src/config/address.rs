//! Where something listens, as people write it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
};

use rustls::pki_types::DnsName;
use serde::{Deserialize, Serialize};

use crate::facts::Wanted;

/// The longest path a Unix socket can have: the kernel keeps 108 bytes, one of them the final zero.
pub const UNIX_PATH_MAX: usize = 107;

/// Where something listens: `host:port`, `[v6]:port` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A name or an IP address, without brackets, and a port.
    Tcp {
        /// The name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Returns the port, which a Unix socket does not have.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Unix(_) => None,
        }
    }

    /// Returns one spelling for all spellings of the same address.
    ///
    /// Host names lose their capitals, IPv6 addresses take their shortest form.
    #[must_use]
    pub fn canonical(&self) -> Self {
        match self {
            Self::Tcp { host, port } => Self::Tcp {
                host: host
                    .parse::<IpAddr>()
                    .map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string()),
                port: *port,
            },
            // Collecting the components drops doubled slashes and `.`.
            Self::Unix(path) => Self::Unix(path.components().collect()),
        }
    }

    /// Returns what a worker asks the resolver for to connect to this address; `None` for an IP address,
    /// which needs no lookup.
    #[must_use]
    pub fn wanted(&self) -> Option<Wanted> {
        match self.canonical() {
            Self::Unix(path) => Some(Wanted::Path(path)),
            Self::Tcp { host, .. } if host.parse::<IpAddr>().is_ok() => None,
            Self::Tcp { host, .. } => Some(Wanted::Host(host)),
        }
    }

    /// Returns whether nothing can listen at `other` because something listens here, as far as their
    /// spellings tell: names are not looked up.
    pub(super) fn overlap(&self, other: &Self) -> Option<Overlap> {
        let (one, two) = (self.canonical(), other.canonical());
        if one == two {
            return Some(Overlap::Same);
        }
        let (
            Self::Tcp { host: one, port },
            Self::Tcp {
                host: two,
                port: same,
            },
        ) = (one, two)
        else {
            return None;
        };
        let (one, two) = (one.parse::<IpAddr>().ok()?, two.parse::<IpAddr>().ok()?);
        (port == same && covers(one, two)).then_some(Overlap::Covers)
    }
}

/// How two addresses overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    /// They are spellings of one address.
    Same,
    /// One of them stands for several addresses, the other among them.
    Covers,
}

/// Returns whether two IP addresses cannot be listened at with the same port by two sockets: they are one
/// address, `0.0.0.0` and an IPv4 address, or `[::]`, which takes clients of IPv4 too, and any address.
#[must_use]
pub fn covers(one: IpAddr, two: IpAddr) -> bool {
    let all_of = |any: IpAddr, other: IpAddr| match any {
        IpAddr::V4(v4) => v4.is_unspecified() && other.to_canonical().is_ipv4(),
        IpAddr::V6(v6) => v6.is_unspecified(),
    };
    let (one, two) = (one.to_canonical(), two.to_canonical());
    one == two || all_of(one, two) || all_of(two, one)
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address: {why}; write host:port, [v6]:port or unix:/path")]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.strip_prefix("unix:") {
            Some(path) => parse_unix(path),
            None => parse_tcp(text),
        };
        parsed.map_err(|why| AddressError {
            text: text.to_owned(),
            why,
        })
    }
}

fn parse_unix(path: &str) -> Result<Address, &'static str> {
    if !path.starts_with('/') {
        return Err("the path after unix: must be absolute");
    }
    if path.ends_with('/') {
        return Err("the path after unix: names a folder");
    }
    if path.contains('\0') {
        return Err("the path after unix: holds a zero byte");
    }
    if path.len() > UNIX_PATH_MAX {
        return Err("the path after unix: is longer than 107 bytes");
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn parse_tcp(text: &str) -> Result<Address, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
    Ok(Address::Tcp {
        port: parse_port(port)?,
        host: parse_host(host)?.to_owned(),
    })
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    // The standard parser would take a plus sign too.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.ok_or("its port is not a number from 0 to 65535")
}

fn parse_host(host: &str) -> Result<&str, &'static str> {
    if let Some(v6) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let parsed = v6.parse::<Ipv6Addr>();
        return parsed
            .map(|_| v6)
            .map_err(|_| "what stands in brackets is no IPv6 address");
    }
    match host {
        "" => Err("it has no host"),
        _ if host.contains(':') => Err("an IPv6 address needs brackets"),
        _ if host.parse::<Ipv4Addr>().is_ok() || is_host_name(host) => Ok(host),
        _ => Err("its host is neither a host name nor an IP address"),
    }
}

/// Returns whether `name` can stand in DNS as the name of a host, by the rules of the TLS library: what
/// passes here must not fail later, where a backend's certificate is held against it.
///
/// Underscores are let through because container networks use them. A last label that is a number,
/// decimal or hexadecimal, is not: that is a mistyped IPv4 address.
pub(super) fn is_host_name(name: &str) -> bool {
    DnsName::try_from(name).is_ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_address() -> impl Strategy<Value = Address> {
        let host = prop_oneof![
            "[a-z][a-z0-9_-]{0,20}[a-z](\\.[a-z]{1,9}){0,3}",
            any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
            any::<Ipv6Addr>().prop_map(|ip| ip.to_string()),
        ];
        prop_oneof![
            (host, any::<u16>()).prop_map(|(host, port)| Address::Tcp { host, port }),
            "(/[^/\0]{1,6}){1,3}".prop_map(|path| Address::Unix(PathBuf::from(path))),
        ]
    }

    proptest! {
        #[test]
        fn an_address_survives_being_written_and_read(address in any_address()) {
            let written = address.to_string();
            prop_assert_eq!(written.parse::<Address>(), Ok(address));
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                let written = address.to_string();
                prop_assert_eq!(written.parse::<Address>(), Ok(address));
            }
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_how_to_write_it() {
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH_MAX));
        for (text, why) in [
            ("", "it has no port"),
            ("db", "it has no port"),
            (":3306", "it has no host"),
            ("db:", "its port is not a number"),
            ("db:+80", "its port is not a number"),
            ("db:65536", "its port is not a number"),
            ("::1:3306", "an IPv6 address needs brackets"),
            ("[::1:3306", "an IPv6 address needs brackets"),
            ("[db]:3306", "what stands in brackets is no IPv6 address"),
            ("a b:1", "its host is neither"),
            ("-db:1", "its host is neither"),
            ("127.0.0.300:1", "its host is neither"),
            ("10.0.0.0x1f:1", "its host is neither"),
            ("unix:run/db.sock", "must be absolute"),
            ("unix:/run/", "names a folder"),
            (&long, "longer than 107 bytes"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(error.ends_with("write host:port, [v6]:port or unix:/path"));
        }
    }

    #[test]
    fn spellings_of_one_address_have_one_canonical_form() {
        for (one, other) in [
            ("[::1]:1", "[0:0:0:0:0:0:0:1]:1"),
            ("Localhost:1", "localhost:1"),
            ("unix:/run//db", "unix:/run/./db"),
        ] {
            let canonical = |text: &str| text.parse::<Address>().unwrap().canonical();
            assert_eq!(canonical(one), canonical(other));
        }
    }

    #[test]
    fn an_ip_address_needs_no_lookup_and_spellings_of_a_name_are_one() {
        let wanted = |text: &str| text.parse::<Address>().unwrap().wanted();
        assert_eq!(wanted("127.0.0.1:1"), None);
        assert_eq!(wanted("[::1]:1"), None);
        assert_eq!(
            wanted("DB.example:1"),
            Some(Wanted::Host("db.example".to_owned()))
        );
        assert_eq!(wanted("db.example:2"), wanted("DB.example:1"));
        assert_eq!(
            wanted("unix:/run//db"),
            Some(Wanted::Path("/run/db".into()))
        );
    }

    #[test]
    fn addresses_that_stand_for_others_overlap_with_them() {
        for (one, other, overlap) in [
            ("0.0.0.0:1", "127.0.0.1:1", Some(Overlap::Covers)),
            ("[::]:1", "127.0.0.1:1", Some(Overlap::Covers)),
            ("[::]:1", "0.0.0.0:1", Some(Overlap::Covers)),
            ("[::]:1", "[::1]:1", Some(Overlap::Covers)),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", Some(Overlap::Covers)),
            ("0.0.0.0:1", "[::ffff:127.0.0.1]:1", Some(Overlap::Covers)),
            ("127.0.0.1:1", "127.0.0.1:1", Some(Overlap::Same)),
            ("0.0.0.0:1", "[::1]:1", None),
            ("0.0.0.0:1", "127.0.0.1:2", None),
            ("127.0.0.1:1", "127.0.0.2:1", None),
            ("0.0.0.0:1", "localhost:1", None),
            ("unix:/a", "unix:/b", None),
        ] {
            let [one, other] = [one, other].map(|text| text.parse::<Address>().unwrap());
            assert_eq!(one.overlap(&other), overlap, "{one} {other}");
            assert_eq!(other.overlap(&one), overlap, "{other} {one}");
        }
    }
}
