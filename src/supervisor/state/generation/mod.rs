//! The generation in force, as a supervisor leaves it to the next one.
//!
//! In sealed memory lie the index in JSON, in each [version](super::versions) that a program beside this one may read,
//! and behind all of them the bytes that it names: the text of the configuration, authorities, lists, and what is shown to
//! backends. The chains and keys of identities lie in the packs that workers read.

mod index;

use std::{fmt, io, os::fd::OwnedFd, sync::Arc};

use jiff::Timestamp;
use zeroize::Zeroizing;

use self::index::{Behind, Blobs, IdentityIndex, Index};
use super::versions::{self, Unread};
use crate::{
    facts::Trigger,
    link::{Generation, Left, Packs},
    sys::sealed::{Sealed, Unsealed},
    tls::{
        Material,
        material::{Identity, KeyPair},
    },
    x509::certificate,
};

/// What it begins with.
const KIND: [u8; 8] = *b"PRXGEN\0\0";

/// The most bytes that are read.
const MOST: u64 = 512 << 20;

/// A generation that a supervisor has left.
#[derive(Debug)]
pub(in crate::supervisor) struct Earlier {
    /// The number of the supervisor that wrote it, see [`super::Book::reign`].
    pub(in crate::supervisor) reign: u64,
    /// See [`Generation::number`].
    pub(in crate::supervisor) number: u64,
    /// See [`Generation::loaded_at`].
    pub(in crate::supervisor) loaded_at: Timestamp,
    /// See [`Generation::trigger`].
    pub(in crate::supervisor) trigger: Trigger,
    /// The text of the configuration file.
    pub(in crate::supervisor) config: String,
    /// What was served.
    pub(in crate::supervisor) material: Material,
    /// Where its chains and keys lie.
    pub(in crate::supervisor) packs: Packs,
}

/// Why what was left is no generation to go on with.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum Unusable {
    /// It is no generation, or none that this program reads.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// It cannot be read, or was not written by a supervisor of this user.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is damaged.
    #[error("it cannot be understood: {0}")]
    Content(#[from] serde_json::Error),
    /// It names what is not there.
    #[error("a part of it is missing")]
    Incomplete,
    /// A certificate of it cannot be read.
    #[error("identity \"{name}\": {reason}")]
    Identity {
        /// Whose.
        name: String,
        /// Why.
        reason: String,
    },
}

/// What sealed memory with a generation holds.
struct Document {
    index: Index,
    behind: Zeroizing<Vec<u8>>,
}

/// Writes a generation into sealed memory, which goes with the descriptors of its packs. Takes a descriptor; fails as
/// memory does.
pub(in crate::supervisor) fn write(
    generation: &Generation,
    reign: u64,
) -> io::Result<Arc<OwnedFd>> {
    let document = Document::of(generation, reign);
    let mut file = Unsealed::new("proxyd-served")?;
    file.append(&document.head()?)?;
    file.append(&document.behind)?;
    Ok(file.seal()?.descriptor())
}

impl Document {
    fn of(generation: &Generation, reign: u64) -> Self {
        let material = &generation.material;
        let mut blobs = Blobs::default();
        let identities = material.identities.iter().zip(generation.packs.left());
        let index = Index {
            reign,
            number: generation.number,
            loaded_at: generation.loaded_at,
            trigger: Some(generation.trigger),
            config: blobs.put(generation.config.text.as_str().as_bytes()),
            identities: identities.map(identity_index).collect(),
            listeners: material
                .listeners
                .iter()
                .map(|it| blobs.listener(it))
                .collect(),
            system_roots: blobs.ders(&material.system_roots),
            packs: generation.packs.descriptors().len(),
        };
        Self {
            index,
            behind: blobs.bytes,
        }
    }

    fn head(&self) -> io::Result<Vec<u8>> {
        let index = serde_json::to_vec(&self.index)?;
        Ok(versions::written(KIND, &index))
    }

    fn decode(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, Unusable> {
        let (index, end) = versions::find(KIND, &bytes)?;
        let index = serde_json::from_slice(&bytes[index])?;
        bytes.drain(..end);
        Ok(Self {
            index,
            behind: bytes,
        })
    }
}

fn identity_index((identity, left): (&Arc<Identity>, Left)) -> IdentityIndex {
    IdentityIndex {
        name: identity.name.clone(),
        cert: identity.cert.clone(),
        key: identity.key.clone(),
        left,
    }
}

impl Earlier {
    /// Reads a generation that a supervisor of the user `owner` has written, and its packs. Blocks for as long as it
    /// takes to read and parse all certificates.
    pub(in crate::supervisor) fn read(
        file: OwnedFd,
        packs: Vec<OwnedFd>,
        owner: u32,
    ) -> Result<Self, Unusable> {
        let file = Sealed::authentic(file, owner)?;
        let length = usize::try_from(file.length().min(MOST)).unwrap_or(usize::MAX);
        let document = Document::decode(file.read(0, length)?)?;
        if document.index.packs != packs.len() {
            return Err(Unusable::Incomplete);
        }
        document.complete(packs, owner)
    }
}

impl Document {
    fn complete(self, packs: Vec<OwnedFd>, owner: u32) -> Result<Earlier, Unusable> {
        let (index, behind) = (self.index, Behind(&self.behind));
        let config = behind.get(index.config);
        let config = config.and_then(|it| std::str::from_utf8(it).ok());
        let left: Vec<Left> = index.identities.iter().map(|it| it.left).collect();
        let (packs, pairs) = Packs::take(packs, &left, owner)?;
        let identities = index.identities.into_iter().zip(pairs);
        let listeners = index.listeners.into_iter();
        let listeners: Option<_> = listeners.map(|it| behind.listener(it)).collect();
        Ok(Earlier {
            reign: index.reign,
            number: index.number,
            loaded_at: index.loaded_at,
            trigger: index.trigger.ok_or(Unusable::Incomplete)?,
            config: config.ok_or(Unusable::Incomplete)?.to_owned(),
            material: Material {
                identities: identities.map(identity).collect::<Result<_, _>>()?,
                listeners: listeners.ok_or(Unusable::Incomplete)?,
                system_roots: behind
                    .ders(&index.system_roots)
                    .ok_or(Unusable::Incomplete)?,
            },
            packs,
        })
    }
}

fn identity((index, pair): (IdentityIndex, KeyPair)) -> Result<Arc<Identity>, Unusable> {
    let leaf = certificate::parse(pair.leaf()).map_err(|reason| Unusable::Identity {
        name: index.name.clone(),
        reason,
    })?;
    let (facts, host_names) = (certificate::facts(&leaf), certificate::host_names(&leaf));
    drop(leaf);
    Ok(Arc::new(Identity {
        name: index.name,
        cert: index.cert,
        key: index.key,
        digest: pair.digest(),
        pair,
        facts: Arc::new(facts),
        host_names,
    }))
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({:?})", self.index)
    }
}

#[cfg(test)]
mod tests;
