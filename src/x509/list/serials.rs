//! Serial numbers of revoked certificates, packed.

/// A set of serial numbers that holds little more than their bytes.
#[derive(Debug, Default)]
pub(super) struct Serials {
    /// All numbers one behind the other, in their order.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Serials {
    /// Packs numbers: contents of DER integers.
    pub(super) fn new(serials: Vec<&[u8]>) -> Self {
        let mut serials: Vec<_> = serials.into_iter().map(normal).collect();
        serials.sort_unstable();
        serials.dedup();
        let mut packed = Self {
            bytes: Vec::with_capacity(serials.iter().map(|it| it.len()).sum()),
            ends: Vec::with_capacity(serials.len()),
        };
        for serial in serials {
            packed.bytes.extend_from_slice(serial);
            packed.ends.push(packed.bytes.len());
        }
        packed
    }

    /// Returns whether a number is among them.
    pub(super) fn contain(&self, serial: &[u8]) -> bool {
        let serial = normal(serial);
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.at(middle).cmp(serial) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return true,
            }
        }
        false
    }

    fn at(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}

/// Takes off leading zeros, which some authorities write more or less of.
fn normal(mut serial: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = serial {
        serial = rest;
    }
    serial
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_what_was_packed_is_found(
            numbers in prop::collection::vec(prop::collection::vec(0..4_u8, 0..4), 0..40),
            asked in prop::collection::vec(0..4_u8, 0..5),
        ) {
            let packed = Serials::new(numbers.iter().map(Vec::as_slice).collect());
            let known: HashSet<_> = numbers.iter().map(|it| normal(it)).collect();
            prop_assert_eq!(packed.contain(&asked), known.contains(normal(&asked)));
            for number in &numbers {
                prop_assert!(packed.contain(number));
            }
        }
    }
}
