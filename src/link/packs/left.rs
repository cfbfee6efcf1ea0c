//! Packs that a supervisor leaves to the next one.

use std::{io, os::fd::OwnedFd, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{MAX_PACKS, MAX_PAIR, Packs, Place};
use crate::{control::wire, sys::sealed::Sealed, tls::material::KeyPair};

/// Where the chain and key of an identity lie, as a supervisor leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The position of the pack.
    pub pack: usize,
    /// The first byte.
    pub offset: u64,
    /// How many bytes they are.
    pub length: usize,
}

impl Packs {
    /// Returns the descriptors of the packs, in their order.
    #[must_use]
    pub fn descriptors(&self) -> Vec<Arc<OwnedFd>> {
        self.files.iter().map(|it| it.descriptor()).collect()
    }

    /// Returns where the chain and key of each identity lie, in the order of the material.
    pub fn left(&self) -> impl Iterator<Item = Left> {
        self.places.iter().map(|place| Left {
            pack: place.pack,
            offset: place.offset,
            length: place.length,
        })
    }

    /// Takes packs that a supervisor of the user `owner` has left, and where in them the chain and key of each identity
    /// lie; returns them with these chains and keys.
    ///
    /// # Errors
    ///
    /// Fails where a pack was made by another user or can be changed, and where what is said to lie in it does not.
    pub fn take(
        files: Vec<OwnedFd>,
        left: &[Left],
        owner: u32,
    ) -> io::Result<(Self, Vec<KeyPair>)> {
        if files.len() > MAX_PACKS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let files = files.into_iter();
        let files = files.map(|file| Sealed::authentic(file, owner).map(Arc::new));
        let files: Vec<_> = files.collect::<io::Result<_>>()?;
        let mut places = Vec::with_capacity(left.len());
        let mut pairs = Vec::with_capacity(left.len());
        for left in left {
            let file = files.get(left.pack).ok_or(io::ErrorKind::NotFound)?;
            if left.length as u64 > MAX_PAIR {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let bytes = file.read(left.offset, left.length)?;
            let pair: KeyPair = wire::decode(&bytes, MAX_PAIR).map_err(io::Error::other)?;
            places.push(Place {
                digest: pair.digest(),
                pack: left.pack,
                offset: left.offset,
                length: left.length,
            });
            pairs.push(pair);
        }
        Ok((Self { files, places }, pairs))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;
    use crate::tls::{Material, testing};

    fn packs() -> (Packs, Material) {
        let material = Material {
            identities: (0..3)
                .map(|it| testing::any_identity(&it.to_string()))
                .collect(),
            listeners: vec![],
            system_roots: vec![],
        };
        (Packs::default().next(&material).unwrap(), material)
    }

    fn taken(packs: &Packs, left: &[Left]) -> io::Result<(Packs, Vec<KeyPair>)> {
        let files = packs.descriptors();
        let files = files.iter().map(|it| it.as_fd().try_clone_to_owned());
        let files = files.collect::<io::Result<_>>()?;
        Packs::take(files, left, rustix::process::geteuid().as_raw())
    }

    #[test]
    fn packs_that_were_left_are_gone_on_with() {
        let (packs, material) = packs();
        let left: Vec<Left> = packs.left().collect();
        let (again, pairs) = taken(&packs, &left).unwrap();
        let identities = material.identities.iter();
        assert!(pairs.iter().eq(identities.map(|it| &it.pair)));
        let next = again.next(&material).unwrap();
        assert!(Arc::ptr_eq(&next.files[0], &again.files[0]) && next.files.len() == 1);
    }

    #[test]
    fn what_is_said_to_lie_elsewhere_is_refused() {
        let (packs, _) = packs();
        let left: Vec<Left> = packs.left().collect();
        let edits: [fn(&mut Left); 4] = [
            |it| it.pack += 1,
            |it| it.offset = u64::MAX,
            |it| it.length = usize::MAX,
            |it| it.length -= 1,
        ];
        for edit in edits {
            let mut wrong = left.clone();
            edit(&mut wrong[1]);
            assert!(taken(&packs, &wrong).is_err());
        }
    }
}
