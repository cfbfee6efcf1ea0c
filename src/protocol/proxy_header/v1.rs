//! Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 40000 3306` and CR LF.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::{Endpoints, Found, Header, HeaderError, may_start_with};

/// Longest line, CR LF included.
pub const LIMIT: usize = 107;

const START: &[u8] = b"PROXY ";

/// Looks for a header of version 1.
pub fn parse(buf: &[u8]) -> Result<Found, HeaderError> {
    if !may_start_with(buf, START) {
        return Ok(Found::Nothing);
    }
    let window = &buf[..buf.len().min(LIMIT)];
    match window.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Found::Header(line(&buf[START.len()..end])?, end + 2)),
        None if buf.len() >= LIMIT => Err(HeaderError::TooLong(LIMIT)),
        None => Ok(Found::NeedMore),
    }
}

/// Reads a line without its start and end.
fn line(line: &[u8]) -> Result<Header, HeaderError> {
    let line = str::from_utf8(line).map_err(|_| HeaderError::Address)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // Whatever else stands there is to be skipped.
        ["UNKNOWN", ..] => Ok(Header::Unknown),
        [
            family @ ("TCP4" | "TCP6"),
            source,
            destination,
            source_port,
            destination_port,
        ] => {
            let v4 = family == "TCP4";
            Ok(Header::Proxied {
                endpoints: Endpoints {
                    source: address(v4, source, source_port)?,
                    destination: address(v4, destination, destination_port)?,
                },
                tls: None,
            })
        }
        _ => Err(HeaderError::Address),
    }
}

fn address(v4: bool, ip: &str, port: &str) -> Result<SocketAddr, HeaderError> {
    let ip: IpAddr = ip.parse().map_err(|_| HeaderError::Address)?;
    let plain =
        port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
    let port = port.parse().map_err(|_| HeaderError::Address)?;
    if !plain || ip.is_ipv4() != v4 {
        return Err(HeaderError::Address);
    }
    Ok(SocketAddr::new(ip, port))
}

/// Appends a header of version 1; without `endpoints`, one that says the client is not known.
pub fn write(endpoints: Option<Endpoints>, out: &mut Vec<u8>) {
    let Some(endpoints) = endpoints else {
        out.extend_from_slice(b"PROXY UNKNOWN\r\n");
        return;
    };
    let (source, destination) = endpoints.alike();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "PROXY {family} {from} {to} {} {}\r\n",
        source.port(),
        destination.port()
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{as_read, endpoints};
    use super::*;

    #[test]
    fn a_line_is_read_up_to_its_end() {
        let bytes = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 3306\r\n\x16\x03";
        let Ok(Found::Header(Header::Proxied { endpoints, .. }, 43)) = parse(bytes) else {
            panic!("{:?}", parse(bytes));
        };
        assert_eq!(endpoints.source.to_string(), "192.0.2.1:40000");
        assert_eq!(endpoints.destination.to_string(), "192.0.2.2:3306");
    }

    #[test]
    fn unknown_clients_are_unknown() {
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff:ff 1 2 3\r\n"] {
            assert_eq!(
                parse(line.as_bytes()),
                Ok(Found::Header(Header::Unknown, line.len()))
            );
        }
    }

    #[test]
    fn bad_lines_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 40000\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 40000 3306 \r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY \r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(HeaderError::Address), "{line}");
        }
    }

    #[test]
    fn a_line_has_to_end() {
        let mut long = b"PROXY UNKNOWN ".to_vec();
        long.resize(LIMIT - 1, b'x');
        assert_eq!(parse(&long), Ok(Found::NeedMore));
        long.push(b'\r');
        assert_eq!(parse(&long), Err(HeaderError::TooLong(LIMIT)));
    }

    #[test]
    fn nobody_is_unknown() {
        let mut out = Vec::new();
        write(None, &mut out);
        assert_eq!(parse(&out), Ok(Found::Header(Header::Unknown, out.len())));
    }

    proptest! {
        #[test]
        fn written_lines_are_read_back(endpoints in endpoints()) {
            let mut out = Vec::new();
            write(Some(endpoints), &mut out);
            prop_assert!(out.len() <= LIMIT);
            let header = Header::Proxied { endpoints: as_read(endpoints), tls: None };
            prop_assert_eq!(parse(&out), Ok(Found::Header(header, out.len())));
        }
    }
}
