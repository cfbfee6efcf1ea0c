//! The servers behind a listener.

use serde::{Deserialize, Serialize};

use super::Address;

/// The servers behind a listener, in the order in which they are tried; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backends {
    first: Address,
    others: Vec<Address>,
}

impl Backends {
    /// Returns these; `None` if there is none.
    pub fn new(addresses: impl IntoIterator<Item = Address>) -> Option<Self> {
        let mut addresses = addresses.into_iter();
        Some(Self {
            first: addresses.next()?,
            others: addresses.collect(),
        })
    }

    /// Returns the one that is preferred.
    pub fn first(&self) -> &Address {
        &self.first
    }

    /// Returns the one at a position; the first where there is none.
    pub fn at(&self, position: usize) -> &Address {
        self.iter().nth(position).unwrap_or(&self.first)
    }

    /// Returns all of them.
    pub fn iter(&self) -> impl Iterator<Item = &Address> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl From<Address> for Backends {
    fn from(first: Address) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_keep_their_order() {
        let [a, b] = ["a:1", "b:2"].map(|it| it.parse::<Address>().unwrap());
        let both = Backends::new([a.clone(), b.clone()]).unwrap();
        assert_eq!(both.first(), &a);
        assert_eq!(both.iter().collect::<Vec<_>>(), [&a, &b]);
        assert_eq!([both.at(1), both.at(2)], [&b, &a]);
        assert_eq!(Backends::new([]), None);
    }
}
