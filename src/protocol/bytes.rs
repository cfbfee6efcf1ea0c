//! A cursor over received or kept bytes that answers `None` instead of reading past the end.

use super::watch::TooLong;

/// The bytes of one message that are not read yet.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns what is left, without moving.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes exactly `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Takes exactly `N` bytes as an array.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// Takes one byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Takes two bytes in network order.
    pub(crate) fn u16_be(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes four bytes in network order.
    pub(crate) fn u32_be(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes two bytes, the least significant first.
    pub(crate) fn u16_le(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes four bytes, the least significant first.
    pub(crate) fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes eight bytes, the least significant first.
    pub(crate) fn u64_le(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes what [`put_sized`] wrote; `None` if it is longer than `limit`.
    pub(crate) fn sized(&mut self, limit: usize) -> Option<&'a [u8]> {
        let length = usize::from(self.u16_le()?);
        self.take(length).filter(|_| length <= limit)
    }

    /// Takes the bytes before the next NUL, and the NUL.
    pub(crate) fn until_nul(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let taken = self.take(end)?;
        self.take(1)?;
        Some(taken)
    }

    /// Takes the bytes before the next NUL, or all of them when the sender forgot it.
    pub(crate) fn until_nul_or_end(&mut self) -> &'a [u8] {
        self.until_nul()
            .unwrap_or_else(|| std::mem::take(&mut self.rest))
    }
}

/// Appends bytes behind their length in two bytes, the least significant first. More than `limit` bytes, or
/// than that length can say, are refused.
pub(crate) fn put_sized(bytes: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let length = u16::try_from(bytes.len()).ok();
    let length = length.filter(|_| bytes.len() <= limit);
    let length = length.ok_or(TooLong {
        length: bytes.len(),
        limit,
    })?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Returns text from a peer fit for one line of a log: what is not printable is escaped, and it is
/// cut at 64 characters.
pub(crate) fn for_log(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(64)
        .flat_map(char::escape_debug)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_does_not_move() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!(reader.u32_be(), None);
        assert_eq!(reader.u16_le(), Some(0x0201));
        assert_eq!(reader.u8(), None);
    }

    #[test]
    fn sized_bytes_are_read_back_within_their_limit() {
        let mut out = Vec::new();
        put_sized(b"abc", 3, &mut out).expect("short enough");
        assert_eq!(out, b"\x03\0abc");
        assert_eq!(Reader::new(&out).sized(3), Some(&b"abc"[..]));
        assert_eq!(Reader::new(&out).sized(2), None, "longer than the limit");
        assert_eq!(Reader::new(&out[..4]).sized(3), None, "cut short");
        let error = TooLong {
            length: 3,
            limit: 2,
        };
        assert_eq!(put_sized(b"abc", 2, &mut out), Err(error));
        assert!(put_sized(&vec![0; 0x1_0000], usize::MAX, &mut out).is_err());
        assert_eq!(out.len(), 5, "nothing was added");
    }

    #[test]
    fn strings_end_at_nul_or_at_the_end() {
        let mut reader = Reader::new(b"ab\0cd");
        assert_eq!(reader.until_nul(), Some(&b"ab"[..]));
        assert_eq!(reader.until_nul(), None);
        assert_eq!(reader.until_nul_or_end(), b"cd");
        assert_eq!(reader.rest(), b"");
    }

    #[test]
    fn log_text_stays_on_one_line() {
        assert_eq!(for_log(b"a\nb\x1b[31m\xff"), "a\\nb\\u{1b}[31m\u{fffd}");
        assert_eq!(for_log(&[b'x'; 500]).len(), 64);
    }
}
