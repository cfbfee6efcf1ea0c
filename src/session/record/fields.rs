//! Fields of a record: numbers in network order, and bytes and texts behind their lengths.

use std::net::{IpAddr, SocketAddr};

use super::Damaged;
use crate::protocol::bytes::Reader;

/// Appends bytes behind their length.
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Takes bytes that stand behind their length, `most` of them at most.
pub(super) fn take_bytes<'a>(reader: &mut Reader<'a>, most: usize) -> Result<&'a [u8], Damaged> {
    let length = reader.u32_be().ok_or(Damaged::Short)? as usize;
    if length > most {
        return Err(Damaged::Length);
    }
    reader.take(length).ok_or(Damaged::Short)
}

/// Appends a text, or that there is none.
pub(super) fn put_text(text: Option<&str>, out: &mut Vec<u8>) {
    out.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_bytes(text.as_bytes(), out);
    }
}

/// Takes a text of `most` bytes at most, if there is one.
pub(super) fn take_text(reader: &mut Reader<'_>, most: usize) -> Result<Option<Box<str>>, Damaged> {
    if !take_flag(reader)? {
        return Ok(None);
    }
    let text = std::str::from_utf8(take_bytes(reader, most)?).map_err(|_| Damaged::Value)?;
    Ok(Some(text.into()))
}

/// Takes a yes or a no.
pub(super) fn take_flag(reader: &mut Reader<'_>) -> Result<bool, Damaged> {
    match reader.u8().ok_or(Damaged::Short)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Damaged::Value),
    }
}

/// Takes a number of eight bytes.
pub(super) fn take_u64(reader: &mut Reader<'_>) -> Result<u64, Damaged> {
    reader.array().map(u64::from_be_bytes).ok_or(Damaged::Short)
}

/// Appends a socket's address, or that there is none. What belongs to IPv6 alone, flow and scope, is left
/// out: addresses are told, not connected to.
pub(super) fn put_address(address: Option<SocketAddr>, out: &mut Vec<u8>) {
    match address.map(|it| (it.ip(), it.port())) {
        None => out.push(0),
        Some((IpAddr::V4(ip), port)) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&port.to_be_bytes());
        }
        Some((IpAddr::V6(ip), port)) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&port.to_be_bytes());
        }
    }
}

/// Takes a socket's address, if there is one.
pub(super) fn take_address(reader: &mut Reader<'_>) -> Result<Option<SocketAddr>, Damaged> {
    let ip: IpAddr = match reader.u8().ok_or(Damaged::Short)? {
        0 => return Ok(None),
        4 => reader.array::<4>().ok_or(Damaged::Short)?.into(),
        6 => reader.array::<16>().ok_or(Damaged::Short)?.into(),
        _ => return Err(Damaged::Value),
    };
    let port = reader.u16_be().ok_or(Damaged::Short)?;
    Ok(Some(SocketAddr::new(ip, port)))
}
