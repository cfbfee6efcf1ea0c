//! Packs: where the chains and keys of identities lie for workers.
//!
//! A worker asks for few of thousands of identities, so it is not handed their bytes. These lie in
//! sealed memory that the supervisor writes once for all workers, and a worker reads those of an
//! identity when a client asks for it. A generation in which few identities changed comes with a small
//! pack that holds these alone. Everything is written before the generation is staged, because that can
//! fail.

mod card;
mod digest;
mod left;
mod tidy;

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(super) use self::tidy::MAX_PACKS;
pub use self::{card::Card, left::Left};
use self::{
    digest::{ByDigest, Digest},
    tidy::Fill,
};
use crate::{
    control::wire,
    sys::sealed::{Sealed, Unsealed},
    tls::material::{Identity, KeyPair, Material},
};

/// The longest chain and key, in bytes: more than a file of certificates may have.
const MAX_PAIR: u64 = 16 << 20;

/// Where a chain and key lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Their digest.
    pub(super) digest: Digest,
    /// The pack, by its position in [`Packs`].
    pub(super) pack: usize,
    /// The first byte.
    pub(super) offset: u64,
    /// How many bytes they are.
    pub(super) length: usize,
}

/// The packs of a generation.
#[derive(Debug, Clone, Default)]
pub struct Packs {
    files: Vec<Arc<Sealed>>,
    /// Where the chain and key of each identity lie, in the order of the material.
    places: Vec<Place>,
}

impl Packs {
    /// Makes the packs of `material` with as much as possible of those of the generation before, which
    /// stay as they are. Takes one descriptor at most.
    pub fn next(&self, material: &Material) -> io::Result<Self> {
        let digests = material.identities.iter().map(|it| it.digest);
        if digests.eq(self.places.iter().map(|it| it.digest)) {
            return Ok(self.clone());
        }
        let (mut files, mut known) = self.kept(material);
        let mut places = Vec::with_capacity(material.identities.len());
        let mut file = None;
        for identity in &material.identities {
            let place = match known.entry(identity.digest) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    let file = match &mut file {
                        Some(file) => file,
                        none => none.insert(Unsealed::new("proxyd-identities")?),
                    };
                    *unknown.insert(write(file, files.len(), identity)?)
                }
            };
            places.push(place);
        }
        if let Some(file) = file {
            files.push(Arc::new(file.seal()?));
        }
        Ok(Self { files, places })
    }

    /// Returns the packs that stay, and what lies where in them.
    fn kept(&self, material: &Material) -> (Vec<Arc<Sealed>>, HashMap<Digest, Place, ByDigest>) {
        let mut known: HashMap<Digest, Place, ByDigest> =
            self.places.iter().map(|it| (it.digest, *it)).collect();
        let stays = self.worth_keeping(&known, material);
        let mut position = 0;
        let positions: Vec<Option<usize>> = stays
            .iter()
            .map(|stays| {
                position += usize::from(*stays);
                stays.then(|| position - 1)
            })
            .collect();
        known.retain(|_, place| {
            let position = positions.get(place.pack).copied().flatten();
            place.pack = position.unwrap_or_default();
            position.is_some()
        });
        let files = self.files.iter().zip(stays).filter(|(_, stays)| *stays);
        let files = files.map(|(file, _)| Arc::clone(file));
        (files.collect(), known)
    }

    /// Returns for each pack whether it stays.
    fn worth_keeping(
        &self,
        known: &HashMap<Digest, Place, ByDigest>,
        material: &Material,
    ) -> Vec<bool> {
        let mut fills: Vec<_> = self
            .files
            .iter()
            .map(|file| Fill::empty(file.length()))
            .collect();
        let identities = material.identities.iter();
        let wanted: HashMap<Digest, &Identity, ByDigest> =
            identities.map(|it| (it.digest, &**it)).collect();
        let mut new = 0;
        for (digest, identity) in wanted {
            match known.get(&digest) {
                Some(place) => fills[place.pack].used += place.length as u64,
                None => new += size(&identity.pair),
            }
        }
        tidy::worth_keeping(&fills, new)
    }

    /// Returns where the chain and key of each identity lie, in the order of the material.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Returns the packs.
    pub(super) fn files(&self) -> &[Arc<Sealed>] {
        &self.files
    }
}

/// Writes the chain and key of an identity at the end of a pack that will have this position.
fn write(file: &mut Unsealed, pack: usize, identity: &Identity) -> io::Result<Place> {
    let bytes = wire::encode(&identity.pair, MAX_PAIR).map_err(io::Error::other)?;
    let bytes = Zeroizing::new(bytes);
    let offset = file.length();
    file.append(&bytes)?;
    Ok(Place {
        digest: identity.digest,
        pack,
        offset,
        length: bytes.len(),
    })
}

/// Returns about how many bytes a chain and key take.
fn size(pair: &KeyPair) -> u64 {
    let chain = pair.chain.iter().map(|it| it.as_bytes().len() as u64);
    chain.sum::<u64>() + pair.key.length() as u64
}

#[cfg(test)]
mod tests;
