//! Bytes that tell where in a stream they belong.

/// A stream of bytes that differs from that of every other seed, read or written from its beginning.
#[derive(Clone, Debug)]
pub(super) struct Numbered {
    seed: u64,
    at: u64,
}

impl Numbered {
    /// Returns the stream of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, at: 0 }
    }

    /// Returns how many of its bytes were taken or checked so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Returns the next bytes.
    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        let end = self.at + length as u64;
        let words = self.at / 8..end.div_ceil(8);
        let bytes = words.flat_map(|number| mixed(self.seed ^ number).to_le_bytes());
        let skipped = usize::try_from(self.at % 8).unwrap();
        let taken = bytes.skip(skipped).take(length).collect();
        self.at = end;
        taken
    }

    /// Says what is wrong if these are not the next bytes.
    pub(super) fn check(&mut self, bytes: &[u8]) -> Result<(), String> {
        let begin = self.at;
        let expected = self.take(bytes.len());
        if bytes == expected {
            return Ok(());
        }
        let same = bytes
            .iter()
            .zip(&expected)
            .take_while(|(one, other)| one == other);
        let at = begin + same.count() as u64;
        Err(format!("byte {at} of stream {:x} is another", self.seed))
    }
}

/// The output function of splitmix64, so that neighbouring numbers have nothing in common.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn a_byte_that_is_missing_twice_or_in_another_place_is_noticed() {
    let stream = Numbered::new(7);
    let bytes = stream.clone().take(100);
    let check = |bytes: &[u8]| stream.clone().check(bytes);
    assert_eq!(check(&bytes), Ok(()));
    assert!(check(&bytes[1..]).is_err());
    let twice = [&bytes[..50], &bytes[49..]].concat();
    assert!(check(&twice).unwrap_err().contains("byte 50 "));
    assert!(Numbered::new(8).check(&bytes).is_err());
}

#[test]
fn the_pieces_in_which_a_stream_is_taken_do_not_matter() {
    let (mut whole, mut pieces) = (Numbered::new(1), Numbered::new(1));
    let parts: Vec<u8> = [3, 5, 17, 0, 8, 67]
        .into_iter()
        .flat_map(|it| pieces.take(it))
        .collect();
    assert_eq!(whole.take(100), parts);
    assert_eq!((whole.at(), pieces.at()), (100, 100));
}
