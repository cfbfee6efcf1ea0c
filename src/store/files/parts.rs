//! The parts that mean something only together, each known by what it is.

use std::path::PathBuf;

/// Certificates and what belongs with them, with a `T` for each part: its path, for example, or what
/// was read of it.
///
/// Either a pair or a bundle: the first has no lists, the second neither key nor passphrase, and
/// [`Self::pair`] and [`Self::bundle`] make no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts<T> {
    /// A chain of certificates, or authorities.
    pub(crate) certs: T,
    /// The private key; `None` if it lies with the certificates.
    pub(crate) key: Option<T>,
    /// The passphrase of the key, if a part holds it.
    pub(crate) passphrase: Option<T>,
    /// Revocation lists of the authorities.
    pub(crate) lists: Vec<T>,
}

impl<T> Parts<T> {
    /// Makes the parts of a certificate and its private key.
    pub(crate) fn pair(certs: T, key: Option<T>, passphrase: Option<T>) -> Self {
        Self {
            certs,
            key,
            passphrase,
            lists: Vec::new(),
        }
    }

    /// Makes the parts of what others are checked with.
    pub(crate) fn bundle(authorities: T, lists: Vec<T>) -> Self {
        Self {
            certs: authorities,
            key: None,
            passphrase: None,
            lists,
        }
    }

    /// Returns the part in which the private key lies.
    pub(crate) fn with_key(&self) -> &T {
        self.key.as_ref().unwrap_or(&self.certs)
    }

    /// Returns the part that holds the passphrase; the one with the key if there is none.
    pub(crate) fn with_passphrase(&self) -> &T {
        self.passphrase.as_ref().unwrap_or(self.with_key())
    }

    /// Returns all parts, always in the same order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let Self {
            certs,
            key,
            passphrase,
            lists,
        } = self;
        let pair = [Some(certs), key.as_ref(), passphrase.as_ref()];
        pair.into_iter().flatten().chain(lists)
    }

    /// Gives up all parts, in the order of [`Self::iter`].
    pub(crate) fn into_all(self) -> impl Iterator<Item = T> {
        let pair = [Some(self.certs), self.key, self.passphrase];
        pair.into_iter().flatten().chain(self.lists)
    }

    /// Returns the same parts with what `make` makes of each, in the order of [`Self::iter`].
    pub(crate) fn map<'p, U>(&'p self, mut make: impl FnMut(&'p T) -> U) -> Parts<U> {
        Parts {
            certs: make(&self.certs),
            key: self.key.as_ref().map(&mut make),
            passphrase: self.passphrase.as_ref().map(&mut make),
            lists: self.lists.iter().map(make).collect(),
        }
    }
}

impl<T, E> Parts<Result<T, E>> {
    /// Returns what all parts hold, if there is no error among them.
    pub(crate) fn all_good(&self) -> Option<Parts<&T>> {
        let lists = self.lists.iter().map(|it| it.as_ref().ok());
        Some(Parts {
            certs: self.certs.as_ref().ok()?,
            key: good(self.key.as_ref())?,
            passphrase: good(self.passphrase.as_ref())?,
            lists: lists.collect::<Option<_>>()?,
        })
    }
}

/// Returns what a part holds that need not be there; the outer `None` if that is an error.
#[expect(
    clippy::option_option,
    reason = "the two are as different as broken and absent"
)]
fn good<T, E>(part: Option<&Result<T, E>>) -> Option<Option<&T>> {
    part.map_or(Some(None), |it| it.as_ref().ok().map(Some))
}

impl Parts<PathBuf> {
    /// Returns whether the paths are written alike, which is much cheaper than to compare components.
    pub(crate) fn is_written_as(&self, other: &Self) -> bool {
        let alike = |one: &Option<PathBuf>, other: &Option<PathBuf>| {
            one.as_ref().map(|it| it.as_os_str()) == other.as_ref().map(|it| it.as_os_str())
        };
        let lists = other.lists.iter().map(|it| it.as_os_str());
        self.certs.as_os_str() == other.certs.as_os_str()
            && alike(&self.key, &other.key)
            && alike(&self.passphrase, &other.passphrase)
            && self.lists.iter().map(|it| it.as_os_str()).eq(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stay_what_they_are() {
        for (parts, order) in [
            (Parts::pair(1, None, None), &[1][..]),
            (Parts::pair(1, Some(2), None), &[1, 2]),
            (Parts::pair(1, None, Some(3)), &[1, 3]),
            (Parts::pair(1, Some(2), Some(3)), &[1, 2, 3]),
            (Parts::bundle(1, vec![]), &[1]),
            (Parts::bundle(1, vec![2, 3]), &[1, 2, 3]),
        ] {
            assert!(parts.iter().eq(order), "{parts:?}");
            let mut seen = Vec::new();
            let doubled = parts.map(|it| {
                seen.push(*it);
                it * 2
            });
            assert_eq!(seen, order);
            assert_eq!(doubled.certs, parts.certs * 2);
            assert_eq!(doubled.key, parts.key.map(|it| it * 2));
            assert_eq!(doubled.passphrase, parts.passphrase.map(|it| it * 2));
            assert!(
                doubled
                    .iter()
                    .eq(&order.iter().map(|it| it * 2).collect::<Vec<_>>())
            );
        }
    }

    #[test]
    fn all_are_good_or_none_is_returned() {
        let bad = || Some(Err(()));
        let good = Parts::pair(Ok::<_, ()>(1), None, Some(Ok(2)));
        assert_eq!(good.all_good(), Some(Parts::pair(&1, None, Some(&2))));
        for parts in [
            Parts::pair(Err(()), Some(Ok(2)), None),
            Parts::pair(Ok(1), bad(), None),
            Parts::pair(Ok(1), None, bad()),
            Parts::bundle(Ok(1), vec![Ok(2), Err(())]),
        ] {
            assert_eq!(parts.all_good(), None, "{parts:?}");
        }
    }

    #[test]
    fn a_key_lies_with_the_certificates_unless_it_has_a_part() {
        assert_eq!(Parts::pair("cert", Some("key"), None).with_key(), &"key");
        assert_eq!(Parts::pair("both", None, Some("word")).with_key(), &"both");
    }
}
