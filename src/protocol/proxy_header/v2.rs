//! Version 2.
//!
//! Layout: signature (12); version and command (a half byte each); address family and transport (a
//! half byte each); length of the rest (2); addresses and ports; type-length-value fields. All
//! numbers in network order.

use std::net::{IpAddr, SocketAddr};

use super::tls::ClientTls;
use super::{Endpoints, Found, Header, HeaderError, checksum, field, may_start_with};
use crate::protocol::bytes::Reader;

/// The first bytes, which no other protocol starts with.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest announced length that is read. Fields such as a certificate's subject need a few hundred
/// bytes.
pub const LIMIT: usize = 4096;

const HEAD_LEN: usize = SIGNATURE.len() + 4;
/// Version 2, LOCAL.
const LOCAL: u8 = 0x20;
/// Version 2, PROXY.
const PROXY: u8 = 0x21;
/// No address.
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// Two paths.
const UNIX_ADDRESSES: usize = 216;

/// Looks for a header of version 2.
pub fn parse(buf: &[u8]) -> Result<Found, HeaderError> {
    if !may_start_with(buf, SIGNATURE) {
        return Ok(Found::Nothing);
    }
    let mut reader = Reader::new(buf);
    let mut head = || {
        reader.take(SIGNATURE.len())?;
        Some((reader.u8()?, reader.u8()?, reader.u16_be()?))
    };
    let Some((command, family, length)) = head() else {
        return Ok(Found::NeedMore);
    };
    check_command(command)?;
    let length = usize::from(length);
    if length > LIMIT {
        return Err(HeaderError::TooLong(LIMIT));
    }
    let Some(whole) = buf.get(..HEAD_LEN + length) else {
        return Ok(Found::NeedMore);
    };
    let header = match command {
        // A health check need not say anything more, and whatever it says is to be skipped.
        LOCAL => Header::Local,
        _ => proxied(family, whole)?,
    };
    Ok(Found::Header(header, whole.len()))
}

fn check_command(command: u8) -> Result<(), HeaderError> {
    match command {
        LOCAL | PROXY => Ok(()),
        _ if command >> 4 != 2 => Err(HeaderError::Version(command >> 4)),
        _ => Err(HeaderError::Command(command & 0x0f)),
    }
}

/// Reads what the header `whole` says of a client.
fn proxied(family: u8, whole: &[u8]) -> Result<Header, HeaderError> {
    let mut rest = Reader::new(&whole[HEAD_LEN..]);
    let endpoints = match family {
        UNSPEC => return Ok(Header::Unknown),
        TCP4 => addresses::<4>(&mut rest).map(Some),
        TCP6 => addresses::<16>(&mut rest).map(Some),
        UNIX_STREAM => rest.take(UNIX_ADDRESSES).map(|_| None),
        other => return Err(HeaderError::Transport(other)),
    };
    let endpoints = endpoints.ok_or(HeaderError::Address)?;
    let tls = fields(rest, whole)?;
    Ok(match endpoints {
        Some(endpoints) => Header::Proxied { endpoints, tls },
        None => Header::Unknown,
    })
}

fn addresses<const N: usize>(rest: &mut Reader<'_>) -> Option<Endpoints>
where
    IpAddr: From<[u8; N]>,
{
    let (source, destination): ([u8; N], [u8; N]) = (rest.array()?, rest.array()?);
    Some(Endpoints {
        source: SocketAddr::new(source.into(), rest.u16_be()?),
        destination: SocketAddr::new(destination.into(), rest.u16_be()?),
    })
}

/// Reads the fields behind the addresses, of which those about TLS and the checksum matter here.
fn fields(mut rest: Reader<'_>, whole: &[u8]) -> Result<Option<ClientTls>, HeaderError> {
    let mut tls = None;
    while !rest.rest().is_empty() {
        let (kind, value) = field::read(&mut rest).ok_or(HeaderError::Length)?;
        if kind == checksum::FIELD {
            checksum::check(whole, value, rest.rest().len())?;
        } else {
            ClientTls::read(&mut tls, kind, value).ok_or(HeaderError::Length)?;
        }
    }
    Ok(tls)
}

/// Appends a header of version 2; without `endpoints`, one that says the client is not known.
pub fn write(endpoints: Option<Endpoints>, tls: Option<&ClientTls>, out: &mut Vec<u8>) {
    let (family, mut rest) = match endpoints.map(Endpoints::alike) {
        None => (UNSPEC, Vec::new()),
        Some((source, destination)) => {
            let family = if source.is_ipv4() { TCP4 } else { TCP6 };
            (family, written_addresses(source, destination))
        }
    };
    if let Some(tls) = tls {
        tls.write(&mut rest);
    }
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[PROXY, family]);
    // Addresses take 36 bytes, and what is told about TLS is bounded far below 64 KiB.
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&rest);
}

fn written_addresses(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut out = Vec::new();
    for end in [source, destination] {
        match end.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::checksum::tests::crc32c;
    use super::super::tests::{as_read, endpoints};
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short");
        [
            SIGNATURE,
            &[command, family][..],
            &length.to_be_bytes(),
            rest,
        ]
        .concat()
    }

    #[test]
    fn commands_and_families_are_told_apart() {
        let unix = [0; UNIX_ADDRESSES];
        let table: [(u8, u8, &[u8], _); 9] = [
            (LOCAL, UNSPEC, b"", Ok(Header::Local)),
            (LOCAL, TCP4, b"\x01", Ok(Header::Local)),
            (PROXY, UNSPEC, b"anything", Ok(Header::Unknown)),
            (PROXY, UNIX_STREAM, &unix, Ok(Header::Unknown)),
            (PROXY, UNIX_STREAM, b"", Err(HeaderError::Address)),
            (PROXY, TCP4, &[0; 11], Err(HeaderError::Address)),
            (PROXY, 0x12, &[0; 12], Err(HeaderError::Transport(0x12))),
            (0x22, TCP4, &[0; 12], Err(HeaderError::Command(2))),
            (0x11, TCP4, &[0; 12], Err(HeaderError::Version(1))),
        ];
        for (command, family, rest, expected) in table {
            let bytes = header(command, family, rest);
            let expected = expected.map(|header| Found::Header(header, bytes.len()));
            assert_eq!(parse(&bytes), expected, "{command:#x} {family:#x}");
        }
    }

    #[test]
    fn fields_have_to_fit() {
        let noop = [&[0; 12][..], &[0x04, 0, 2, 0, 0]].concat();
        let parsed = parse(&header(PROXY, TCP4, &noop));
        assert!(matches!(
            parsed,
            Ok(Found::Header(Header::Proxied { tls: None, .. }, 33))
        ));
        let long = [&[0; 12][..], &[0x04, 0, 3, 0, 0]].concat();
        assert_eq!(parse(&header(PROXY, TCP4, &long)), Err(HeaderError::Length));
    }

    #[test]
    fn a_checksum_has_to_fit_wherever_it_stands() {
        for fields in [
            &[0x03, 0, 4, 0, 0, 0, 0][..],
            &[0x03, 0, 4, 0, 0, 0, 0, 0x04, 0, 1, 9],
            &[0x04, 0, 1, 9, 0x03, 0, 4, 0, 0, 0, 0],
        ] {
            let at = HEAD_LEN + 12 + fields.windows(3).position(|it| it == [3, 0, 4]).unwrap() + 3;
            let mut bytes = header(PROXY, TCP4, &[&[7; 12][..], fields].concat());
            assert_eq!(parse(&bytes), Err(HeaderError::Checksum));
            let sum = crc32c(&bytes);
            bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
            assert!(matches!(parse(&bytes), Ok(Found::Header(_, length)) if length == bytes.len()));
            bytes[20] ^= 1;
            assert_eq!(parse(&bytes), Err(HeaderError::Checksum));
        }
    }

    #[test]
    fn a_long_length_is_refused_at_once() {
        let mut bytes = header(PROXY, TCP4, &[]);
        bytes[14..].copy_from_slice(&4097_u16.to_be_bytes());
        assert_eq!(parse(&bytes), Err(HeaderError::TooLong(LIMIT)));
    }

    #[test]
    fn nobody_is_unknown() {
        let mut out = Vec::new();
        write(None, None, &mut out);
        assert_eq!(parse(&out), Ok(Found::Header(Header::Unknown, out.len())));
    }

    proptest! {
        #[test]
        fn written_headers_are_read_back(
            endpoints in endpoints(),
            tls in proptest::option::of(super::super::tls::tests::client_tls()),
        ) {
            let mut out = Vec::new();
            write(Some(endpoints), tls.as_ref(), &mut out);
            let header = Header::Proxied { endpoints: as_read(endpoints), tls };
            prop_assert_eq!(parse(&out), Ok(Found::Header(header, out.len())));
        }
    }
}
