//! Bytes that tell where in a stream they belong.

/// A stream of bytes that differs from that of every other seed.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    seed: u64,
    at: u64,
}

impl Stream {
    /// Returns the stream of a seed, at its beginning.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, at: 0 }
    }

    /// Returns how many of its bytes were taken or checked so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Fills a space with the next bytes.
    pub(super) fn fill(&mut self, space: &mut [u8]) {
        let mut rest = space;
        while !rest.is_empty() {
            let word = mixed(self.seed ^ (self.at / 8)).to_le_bytes();
            let begin = (self.at % 8) as usize;
            let length = rest.len().min(8 - begin);
            let (now, later) = rest.split_at_mut(length);
            now.copy_from_slice(&word[begin..begin + length]);
            self.at += length as u64;
            rest = later;
        }
    }

    /// Returns whether these are the next bytes.
    pub(super) fn check(&mut self, bytes: &[u8], space: &mut Vec<u8>) -> bool {
        space.resize(bytes.len(), 0);
        self.fill(space);
        space == bytes
    }
}

/// The output function of splitmix64, so that neighbouring numbers have nothing in common.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
