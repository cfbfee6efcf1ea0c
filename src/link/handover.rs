//! A generation on its way to a worker: what the worker has already is not sent again.
//!
//! With thousands of identities of which one changed, only that one crosses the link; and of that one
//! not the chain and key, which the worker reads when a client asks for them.

use std::{cell::OnceCell, collections::HashMap, io, os::fd::OwnedFd, sync::Arc};

use serde::{Deserialize, Serialize};

use zeroize::Zeroizing;

use super::{
    Generation,
    packs::{Card, Place},
};
use crate::{
    config::Config,
    control::wire,
    sys::sealed::{Sealed, Unsealed},
    tls::material::{Der, Identity, ListenerMaterial, Material},
};

/// The most bytes of a handover. The supervisor is trusted; the limit only turns a fault into an error.
const MOST_BYTES: u64 = 256 << 20;

/// A generation, told as a difference to the one that the worker was handed before.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    /// See [`Generation::number`].
    number: u64,
    /// The number of the generation that this is a difference to; 0 if to none.
    base: u64,
    config: Arc<Config>,
    packs: Vec<Pack>,
    identities: Vec<Part>,
    listeners: Vec<Trust>,
    /// `None` if they are those of the generation before.
    system_roots: Option<Vec<Der>>,
}

/// A pack of a handover.
#[derive(Debug, Serialize, Deserialize)]
enum Pack {
    /// The one at this position among those of the generation before.
    Kept(usize),
    /// The next one of those that come along.
    New,
}

/// Identities of a handover.
#[derive(Debug, Serialize, Deserialize)]
enum Part {
    /// So many of those of the generation before, from this position on.
    Kept(usize, usize),
    /// One that the worker does not have, or that lies elsewhere now.
    New {
        name: String,
        host_names: Vec<String>,
        place: Place,
    },
}

/// What a listener trusts, in a handover.
#[derive(Debug, Serialize, Deserialize)]
enum Trust {
    /// What the listener at this position trusted in the generation before.
    Kept(usize),
    /// What the worker does not have.
    New(ListenerMaterial),
}

/// A generation as a worker has it.
#[derive(Debug)]
pub struct Given {
    /// See [`Generation::number`].
    pub number: u64,
    /// The configuration.
    pub config: Arc<Config>,
    /// Authorities, and the identities without their chains and keys.
    pub material: Material<Card>,
    packs: Vec<Arc<Sealed>>,
}

/// Why a worker can make nothing of a handover.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It refers to what was never handed over.
    #[error(
        "generation {generation} refers to {what} {position}, which this worker was never given"
    )]
    NeverGiven {
        /// The generation.
        generation: u64,
        /// To what kind of thing.
        what: &'static str,
        /// Its position.
        position: usize,
    },
    /// The descriptors that should have come along did not.
    #[error(
        "not all of the shared memory with the generation has arrived; the worker may be short of \
         descriptors"
    )]
    NotArrived,
    /// What was handed over is no handover.
    #[error("what was handed over cannot be read: {0}")]
    Unreadable(io::Error),
    /// An identity lies where nothing is.
    #[error("the chain and key of identity \"{0}\" are not in the shared memory that has arrived")]
    Outside(String),
}

impl Handover {
    /// Tells `next` to a worker that was handed `last`; returns that with the packs that come along.
    #[must_use]
    pub fn new(last: Option<&Generation>, next: &Generation) -> (Self, Vec<Arc<OwnedFd>>) {
        let (packs, along) = packs(last, next);
        let handover = Self {
            number: next.number,
            base: last.map_or(0, |last| last.number),
            config: Arc::new(next.config.for_workers()),
            packs,
            identities: parts(last, next),
            listeners: trusts(last, next),
            system_roots: system_roots(last, next),
        };
        (handover, along)
    }

    /// Writes it into sealed memory, which any number of workers can read. Takes a descriptor.
    pub fn write(&self) -> io::Result<Sealed> {
        let bytes = wire::encode(self, MOST_BYTES).map_err(io::Error::other)?;
        let mut file = Unsealed::new("proxyd-generation")?;
        file.append(&Zeroizing::new(bytes))?;
        file.seal()
    }

    /// Reads the handover that arrived as the first of these descriptors; returns it with the packs that
    /// came along.
    pub fn read(arrived: Vec<OwnedFd>) -> Result<(Self, Vec<OwnedFd>), Unusable> {
        let mut arrived = arrived.into_iter();
        let file = arrived.next().ok_or(Unusable::NotArrived)?;
        let file = Sealed::from_descriptor(file).map_err(Unusable::Unreadable)?;
        let length = usize::try_from(file.length().min(MOST_BYTES)).unwrap_or(usize::MAX);
        let bytes = file.read(0, length).map_err(Unusable::Unreadable)?;
        let handover = wire::decode(&bytes, MOST_BYTES);
        let handover = handover.map_err(|error| Unusable::Unreadable(io::Error::other(error)))?;
        Ok((handover, arrived.collect()))
    }

    /// Makes the generation whole again, beside the one that was handed over before and with the packs
    /// that came along.
    pub fn complete(self, last: Option<&Given>, along: Vec<OwnedFd>) -> Result<Given, Unusable> {
        let generation = self.number;
        // A worker that refused a generation still has the one before, in which positions mean other
        // things.
        let last = last.filter(|last| last.number == self.base);
        let packs = completed_packs(generation, self.packs, last, along)?;
        let identities = completed_identities(generation, self.identities, last, &packs)?;
        let never = |what, position| Unusable::NeverGiven {
            generation,
            what,
            position,
        };
        let trust = |trust| match trust {
            Trust::New(listener) => Ok(listener),
            Trust::Kept(position) => last
                .and_then(|last| last.material.listeners.get(position).cloned())
                .ok_or_else(|| never("listener", position)),
        };
        let roots = self.system_roots;
        let roots = roots.or_else(|| Some(last?.material.system_roots.clone()));
        Ok(Given {
            number: self.number,
            config: self.config,
            material: Material {
                identities,
                listeners: self
                    .listeners
                    .into_iter()
                    .map(trust)
                    .collect::<Result<_, _>>()?,
                system_roots: roots.ok_or_else(|| never("system root", 0))?,
            },
            packs,
        })
    }
}

/// Tells what the listeners of `next` trust to a worker that has `last`.
fn trusts(last: Option<&Generation>, next: &Generation) -> Vec<Trust> {
    let known = last.map_or(&[][..], |last| &last.material.listeners);
    let trust = |listener: &ListenerMaterial| {
        let kept = known.iter().position(|known| known == listener);
        kept.map_or_else(|| Trust::New(listener.clone()), Trust::Kept)
    };
    next.material.listeners.iter().map(trust).collect()
}

/// Returns the system's authorities, unless a worker that has `last` has them.
fn system_roots(last: Option<&Generation>, next: &Generation) -> Option<Vec<Der>> {
    let roots = &next.material.system_roots;
    let known = last.is_some_and(|last| last.material.system_roots == *roots);
    (!known).then(|| roots.clone())
}

/// Tells the packs of `next` to a worker that has those of `last`, and returns those that it lacks.
fn packs(last: Option<&Generation>, next: &Generation) -> (Vec<Pack>, Vec<Arc<OwnedFd>>) {
    let known = last.map_or(&[][..], |last| last.packs.files());
    let mut along = Vec::new();
    let told = next.packs.files().iter().map(|pack| {
        let known = known.iter().position(|known| Arc::ptr_eq(known, pack));
        known.map_or_else(
            || {
                along.push(pack.descriptor());
                Pack::New
            },
            Pack::Kept,
        )
    });
    (told.collect(), along)
}

fn completed_packs(
    generation: u64,
    told: Vec<Pack>,
    last: Option<&Given>,
    along: Vec<OwnedFd>,
) -> Result<Vec<Arc<Sealed>>, Unusable> {
    let known = last.map_or(&[][..], |last| &last.packs);
    let mut along = along.into_iter();
    let pack = |pack| match pack {
        Pack::Kept(position) => known.get(position).cloned().ok_or(Unusable::NeverGiven {
            generation,
            what: "shared memory",
            position,
        }),
        Pack::New => {
            let file = along.next().and_then(|it| Sealed::from_descriptor(it).ok());
            file.map(Arc::new).ok_or(Unusable::NotArrived)
        }
    };
    told.into_iter().map(pack).collect()
}

fn completed_identities(
    generation: u64,
    told: Vec<Part>,
    last: Option<&Given>,
    packs: &[Arc<Sealed>],
) -> Result<Vec<Arc<Card>>, Unusable> {
    let known = last.map_or(&[][..], |last| &last.material.identities);
    let mut identities = Vec::with_capacity(known.len().max(told.len()));
    for part in told {
        match part {
            Part::Kept(first, count) => {
                let end = first.checked_add(count);
                let kept = end.and_then(|end| known.get(first..end));
                identities.extend_from_slice(kept.ok_or(Unusable::NeverGiven {
                    generation,
                    what: "identity",
                    position: first,
                })?);
            }
            Part::New {
                name,
                host_names,
                place,
            } => {
                let pack = packs.get(place.pack);
                let pack = pack.ok_or_else(|| Unusable::Outside(name.clone()))?;
                identities.push(Arc::new(Card::new(name, host_names, pack, place)?));
            }
        }
    }
    Ok(identities)
}

/// Tells the identities of `next` to a worker that has those of `last`.
fn parts(last: Option<&Generation>, next: &Generation) -> Vec<Part> {
    let mut known = last.map(Known::new);
    let mut parts: Vec<Part> = Vec::new();
    let identities = next.material.identities.iter();
    for (identity, place) in identities.zip(next.packs.places()) {
        let kept = known
            .as_mut()
            .and_then(|it| it.position(identity, *place, next));
        match (kept, parts.last_mut()) {
            (Some(position), Some(Part::Kept(first, count))) if *first + *count == position => {
                *count += 1;
            }
            (Some(position), _) => parts.push(Part::Kept(position, 1)),
            (None, _) => parts.push(Part::New {
                name: identity.name.clone(),
                host_names: identity.host_names.clone(),
                place: *place,
            }),
        }
    }
    parts
}

/// The identities of the generation that a worker has.
struct Known<'g> {
    generation: &'g Generation,
    /// The positions by name, once one was not found where it was expected.
    by_name: OnceCell<HashMap<&'g str, usize>>,
    /// The position behind the one that was found last.
    expected: usize,
}

impl<'g> Known<'g> {
    fn new(generation: &'g Generation) -> Self {
        Self {
            generation,
            by_name: OnceCell::new(),
            expected: 0,
        }
    }

    /// Returns the position of an identity of `next` that lies at `place`; `None` if it was not there
    /// before.
    fn position(&mut self, identity: &Identity, place: Place, next: &Generation) -> Option<usize> {
        let position = self.named(&identity.name)?;
        self.expected = position + 1;
        let packs = &self.generation.packs;
        let was = packs.places().get(position)?;
        let file = packs.files().get(was.pack);
        let same_file = file
            .zip(next.packs.files().get(place.pack))
            .is_some_and(|(one, other)| Arc::ptr_eq(one, other));
        let same = same_file && (was.digest, was.offset) == (place.digest, place.offset);
        same.then_some(position)
    }

    fn named(&self, name: &str) -> Option<usize> {
        let all = &self.generation.material.identities;
        if all.get(self.expected).is_some_and(|it| it.name == name) {
            return Some(self.expected);
        }
        let by_name = self.by_name.get_or_init(|| {
            let all = all.iter().enumerate();
            all.map(|(position, it)| (it.name.as_str(), position))
                .collect()
        });
        by_name.get(name).copied()
    }
}

#[cfg(test)]
mod tests;
