//! The PROXY header: a load balancer says in it which client it connects for.
//!
//! Version 1 is a line of text, version 2 is binary and can tell about the client's TLS. Both are
//! read where a listener accepts them and written towards a database that wants them. A peer
//! from a trusted network must begin with one, and no other peer may: if headers from all peers were
//! believed, any client could forge one.
//!
//! Source: "The PROXY protocol, versions 1 and 2" of the `HAProxy` project.

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

mod checksum;
mod field;
mod tls;
pub mod v1;
pub mod v2;

pub use tls::{Certificate, ClientTls};

/// Both ends of the connection that a header speaks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// The address it connected to.
    pub destination: SocketAddr,
}

impl Endpoints {
    /// Returns both addresses in one family, which headers demand: IPv4 when both can be, else
    /// IPv6.
    fn alike(self) -> (SocketAddr, SocketAddr) {
        let [source, destination] = [self.source, self.destination]
            .map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
        if source.is_ipv4() == destination.is_ipv4() {
            return (source, destination);
        }
        (to_v6(source), to_v6(destination))
    }
}

fn to_v6(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(ip.into(), address.port())
}

/// What a header says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Header {
    /// The sender speaks for itself, as in a health check: use the addresses of the socket.
    Local,
    /// The sender speaks for this client.
    Proxied {
        /// Who talks to whom.
        endpoints: Endpoints,
        /// The client's TLS with the sender, if that is told.
        tls: Option<ClientTls>,
    },
    /// The sender speaks for a client without an internet address: use the addresses of the socket.
    Unknown,
}

/// What lies at the start of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// A header, and how many bytes it takes.
    Header(Header, usize),
    /// It may become a header.
    NeedMore,
    /// Something else, which can never become a header.
    Nothing,
}

/// Looks for a header of either version at the start of `buf`.
pub fn parse(buf: &[u8]) -> Result<Found, HeaderError> {
    match v2::parse(buf)? {
        Found::Nothing => v1::parse(buf),
        found => Ok(found),
    }
}

/// Tells whether `buf` and `start` agree as far as both go.
fn may_start_with(buf: &[u8], start: &[u8]) -> bool {
    buf.iter().zip(start).all(|(a, b)| a == b)
}

/// It starts as a header does and breaks the rules further on.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum HeaderError {
    /// An address or port is missing, malformed or of the wrong family.
    #[error("the PROXY header has a bad address")]
    Address,
    /// It was changed on its way.
    #[error("the PROXY header does not fit its checksum")]
    Checksum,
    /// The command is neither LOCAL nor PROXY.
    #[error("the PROXY header has the unknown command {0:#x}")]
    Command(u8),
    /// The parts do not fit in the announced length.
    #[error("the parts of the PROXY header do not fit its length")]
    Length,
    /// More than any sender has to say.
    #[error("the PROXY header is longer than {0} bytes")]
    TooLong(usize),
    /// The address family or transport is not known, or not one of a stream.
    #[error("the PROXY header has the unsupported transport {0:#04x}")]
    Transport(u8),
    /// The binary form has another version than 2.
    #[error("the PROXY header has the unknown version {0}")]
    Version(u8),
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn endpoints() -> impl Strategy<Value = Endpoints> {
        any::<(SocketAddr, SocketAddr)>().prop_map(|(source, destination)| Endpoints {
            source,
            destination,
        })
    }

    /// What a reader gets to know of `endpoints`: no flow labels, no scopes, one family.
    pub(crate) fn as_read(endpoints: Endpoints) -> Endpoints {
        let (source, destination) = endpoints.alike();
        Endpoints {
            source,
            destination,
        }
    }

    #[test]
    fn other_protocols_are_nothing() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"\x16\x03\x01",
            b"\0\0\0\x08",
            b"PROXIMA",
            b"\r\n\r\nX",
        ] {
            assert_eq!(parse(bytes), Ok(Found::Nothing), "{bytes:x?}");
        }
        assert_eq!(parse(b""), Ok(Found::NeedMore));
    }

    #[test]
    fn one_family_is_written() {
        let mixed = Endpoints {
            source: "10.0.0.1:1".parse().expect("an address"),
            destination: "[2001:db8::1]:2".parse().expect("an address"),
        };
        assert_eq!(mixed.alike().0.to_string(), "[::ffff:10.0.0.1]:1");
        let mapped = Endpoints {
            source: mixed.alike().0,
            destination: mixed.source,
        };
        assert_eq!(mapped.alike(), (mixed.source, mixed.source));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(buf: Vec<u8>, start in 0_usize..4) {
            let start = [&b""[..], b"PROXY TCP4 ", v2::SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10"][start];
            let buf = [start, &buf].concat();
            if let Ok(Found::Header(_, consumed)) = parse(&buf) {
                prop_assert!(consumed <= buf.len());
            }
        }

        #[test]
        fn a_piece_never_decides_otherwise_than_the_whole(endpoints in endpoints(), binary: bool, at in 0_usize..120) {
            let mut whole = Vec::new();
            if binary {
                v2::write(Some(endpoints), None, &mut whole);
            } else {
                v1::write(Some(endpoints), &mut whole);
            }
            let expected = Found::Header(Header::Proxied { endpoints: as_read(endpoints), tls: None }, whole.len());
            let cut = at < whole.len();
            let piece = parse(&whole[..at.min(whole.len())]);
            prop_assert_eq!(piece, Ok(if cut { Found::NeedMore } else { expected }));
        }
    }
}
