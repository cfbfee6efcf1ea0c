//! What stands in front of each record, in a handshake and behind it.

/// Bytes in front of each record: type, version, and the length of what follows (RFC 8446 §5.1).
pub(super) const HEADER_LEN: usize = 5;

/// Returns how long the record at the front of `bytes` is, its header included, as the header says; `None` if
/// that is not whole.
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low] = bytes.first_chunk::<HEADER_LEN>()?;
    Some(HEADER_LEN + usize::from(u16::from_be_bytes([*high, *low])))
}
