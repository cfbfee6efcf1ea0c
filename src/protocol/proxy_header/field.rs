//! The fields of a header of version 2, and those inside of its field about TLS: type, length (2), value.

use crate::protocol::bytes::Reader;

/// Reads one type-length-value field.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let kind = reader.u8()?;
    let length = reader.u16_be()?;
    Some((kind, reader.take(length.into())?))
}

/// Appends one type-length-value field; one that is too long is left out.
pub(super) fn write(kind: u8, value: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(value.len()) {
        out.push(kind);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
}
