//! Which packs are worth keeping when a generation needs another one.
//!
//! Small packs are written again together with what is new, as the digits of a binary counter carry: so
//! there are few packs, and a byte is written again only as often as the number of packs it has
//! been in, which grows with the logarithm of all bytes.

/// The most packs of a generation, each of which is a descriptor of every worker.
pub(in crate::link) const MAX_PACKS: usize = 8;

/// How full a pack is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fill {
    /// Bytes that the next generation refers to.
    pub(super) used: u64,
    /// All of its bytes.
    length: u64,
}

impl Fill {
    /// A pack of so many bytes, none of which is known to be in use.
    pub(super) fn empty(length: u64) -> Self {
        Self { used: 0, length }
    }

    /// Whether more than half of it is waste.
    fn is_wasteful(self) -> bool {
        self.used.saturating_mul(2) < self.length
    }
}

/// Returns for each pack whether it stays, when so many `new` bytes are to be packed; what is used of
/// the others goes into the same new pack.
///
/// At most [`MAX_PACKS`] are left with the new one, and no more than half of each is waste.
pub(super) fn worth_keeping(packs: &[Fill], new: u64) -> Vec<bool> {
    let mut kept: Vec<_> = packs
        .iter()
        .map(|it| !it.is_wasteful() && it.used > 0)
        .collect();
    let gone = packs.iter().zip(&kept).filter(|(_, kept)| !**kept);
    let mut written = new + gone.map(|(pack, _)| pack.used).sum::<u64>();
    if written == 0 {
        return kept;
    }
    let mut by_use: Vec<usize> = (0..packs.len()).filter(|it| kept[*it]).collect();
    by_use.sort_by_key(|it| packs[*it].used);
    let mut left = by_use.len();
    for position in by_use {
        if packs[position].used > written && left < MAX_PACKS {
            break;
        }
        kept[position] = false;
        written += packs[position].used;
        left -= 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packs_stay_few_and_full(
            packs in prop::collection::vec((0..2000_u64, 0..1000_u64), 0..12),
            new in 0..1000_u64,
        ) {
            let packs: Vec<_> = packs
                .iter()
                .map(|(length, used)| Fill { used: *used.min(length), length: *length })
                .collect();
            let kept = worth_keeping(&packs, new);
            let left = || packs.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(pack, _)| pack);
            prop_assert!(left().all(|pack| pack.used > 0 && pack.used * 2 >= pack.length));
            let all: u64 = packs.iter().map(|pack| pack.used).sum();
            let written = new + all - left().map(|pack| pack.used).sum::<u64>();
            if written > 0 {
                prop_assert!(left().count() < MAX_PACKS);
                prop_assert!(left().all(|pack| pack.used > written));
            }
        }
    }

    #[test]
    fn what_is_new_is_written_again_a_few_times_only() {
        let (mut packs, mut written) = (
            vec![Fill {
                used: 10_000,
                length: 10_000,
            }],
            0,
        );
        for _ in 0..1000 {
            // One of the identities in the first pack is renewed.
            packs[0].used -= 1;
            let kept = worth_keeping(&packs, 1);
            let gone = packs.iter().zip(&kept).filter(|(_, kept)| !**kept);
            let used = 1 + gone.map(|(pack, _)| pack.used).sum::<u64>();
            let mut kept = kept.into_iter();
            packs.retain(|_| kept.next() == Some(true));
            packs.push(Fill { used, length: used });
            written += used;
        }
        assert!(written < 12 * 1000, "{written}");
    }
}
