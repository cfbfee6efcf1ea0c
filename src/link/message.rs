//! What a type of messages promises about each of them.

use std::ops::RangeInclusive;

use serde::{Serialize, de::DeserializeOwned};

/// A type of messages of a link, with the limits of each.
///
/// A receiver holds the sender to these limits; a message that breaks them breaks the link.
pub trait Message: Serialize + DeserializeOwned {
    /// The most descriptors that come along with any message of the type. With 0 the kernel passes none
    /// to the receiver, whatever was sent.
    const MOST_DESCRIPTORS: usize;

    /// Returns how many descriptors come along with this message; none unless a type says otherwise.
    fn descriptors(&self) -> RangeInclusive<usize> {
        0..=0
    }

    /// Returns the first format of the link ([`FORMAT`](super::FORMAT)) that has this message; 1 unless a type says
    /// otherwise. A later format only adds messages behind those of the one before, so that an end reads what every
    /// earlier format has.
    fn since(&self) -> u16 {
        1
    }

    /// Returns the most bytes that the body of this message may have.
    fn most_bytes(&self) -> usize;
}
