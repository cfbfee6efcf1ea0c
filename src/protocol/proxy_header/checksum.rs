//! The checksum that a version 2 header may carry: `CRC32c` over the whole header, in which the
//! checksum itself counts as zeros.

use super::HeaderError;

/// `PP2_TYPE_CRC32C`.
pub(super) const FIELD: u8 = 0x03;

/// The polynomial of Castagnoli, its bits in reverse order (RFC 3720 §12.1).
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// Checks `value`, which lies in the header `whole` just before its last `behind` bytes.
pub(super) fn check(whole: &[u8], value: &[u8], behind: usize) -> Result<(), HeaderError> {
    let said: [u8; 4] = value.try_into().map_err(|_| HeaderError::Length)?;
    let end = whole.len() - behind;
    let start = end - said.len();
    let register = feed(u32::MAX, &whole[..start]);
    let register = feed(register, &[0; 4]);
    let found = !feed(register, &whole[end..]);
    if found == u32::from_be_bytes(said) {
        Ok(())
    } else {
        Err(HeaderError::Checksum)
    }
}

/// Headers are short and few, so a bit at a time is fast enough.
fn feed(register: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(register, |register, byte| {
        (0..8).fold(register ^ u32::from(*byte), |register, _| {
            (register >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(register & 1))
        })
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the checksum of these bytes.
    pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
        !feed(u32::MAX, bytes)
    }

    #[test]
    fn the_examples_of_rfc_3720_are_met() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
        ] {
            assert_eq!(crc32c(bytes), expected);
        }
    }

    #[test]
    fn a_checksum_of_another_length_is_refused() {
        assert_eq!(check(&[0; 32], &[0; 3], 0), Err(HeaderError::Length));
    }
}
