//! A cursor over received bytes that answers `None` instead of reading past the end.

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
