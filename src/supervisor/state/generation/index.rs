//! The index of a generation as a supervisor leaves it: plain data, whose larger parts lie behind it.
//!
//! Supervisors of other versions read and write it: what is said of the book holds for it too.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    facts::Trigger,
    link::Left,
    tls::material::{BackendTrust, Bundle, Der, KeyPair, ListenerMaterial, PrivateKey},
};

/// The index of a generation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Index {
    /// See [`crate::supervisor::state::Book::reign`].
    pub(super) reign: u64,
    pub(super) number: u64,
    pub(super) loaded_at: Timestamp,
    pub(super) trigger: Option<Trigger>,
    /// The text of the configuration file.
    pub(super) config: Blob,
    pub(super) identities: Vec<IdentityIndex>,
    pub(super) listeners: Vec<ListenerIndex>,
    pub(super) system_roots: Vec<Blob>,
    /// How many packs there are.
    pub(super) packs: usize,
}

/// An identity, whose chain and key lie in a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IdentityIndex {
    pub(super) name: String,
    pub(super) cert: String,
    pub(super) key: String,
    #[serde(flatten)]
    pub(super) left: Left,
}

/// What a listener trusts and shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ListenerIndex {
    pub(super) name: String,
    pub(super) clients: Option<BundleIndex>,
    pub(super) backend: Option<BackendIndex>,
    pub(super) backend_identity: Option<PairIndex>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct BundleIndex {
    roots: Vec<Blob>,
    crls: Vec<Blob>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BackendIndex {
    System,
    Roots(BundleIndex),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PairIndex {
    chain: Vec<Blob>,
    key: Blob,
}

/// Bytes behind the index: the first of them, and how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob(u64, u64);

/// The bytes behind an index that is being written; what is there already is not written again.
#[derive(Default)]
pub(super) struct Blobs {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    known: HashMap<[u8; 32], Blob>,
}

impl Blobs {
    /// Puts bytes there.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Blob {
        let digest = crate::x509::certificate::digest(bytes);
        *self.known.entry(digest).or_insert_with(|| {
            let at = self.bytes.len() as u64;
            append(&mut self.bytes, bytes);
            Blob(at, bytes.len() as u64)
        })
    }

    pub(super) fn ders(&mut self, ders: &[Der]) -> Vec<Blob> {
        ders.iter().map(|it| self.put(it.as_bytes())).collect()
    }

    fn bundle(&mut self, bundle: &Bundle) -> BundleIndex {
        BundleIndex {
            roots: self.ders(&bundle.roots),
            crls: self.ders(&bundle.crls),
        }
    }

    pub(super) fn listener(&mut self, listener: &ListenerMaterial) -> ListenerIndex {
        let pair = listener.backend_identity.as_ref();
        ListenerIndex {
            name: listener.name.clone(),
            clients: listener.clients.as_ref().map(|it| self.bundle(it)),
            backend: listener.backend.as_ref().map(|it| match it {
                BackendTrust::System => BackendIndex::System,
                BackendTrust::Roots(roots) => BackendIndex::Roots(self.bundle(roots)),
            }),
            backend_identity: pair.map(|pair| PairIndex {
                chain: self.ders(&pair.chain),
                key: self.put(pair.key.as_bytes()),
            }),
        }
    }
}

/// Appends bytes, and wipes the memory that they do not fit in any more.
fn append(all: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if all.capacity() - all.len() < bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * (all.len() + bytes.len())));
        larger.extend_from_slice(all);
        *all = larger;
    }
    all.extend_from_slice(bytes);
}

/// The bytes behind an index that was read; `None` where one names bytes that are not there.
#[derive(Clone, Copy)]
pub(super) struct Behind<'a>(pub(super) &'a [u8]);

impl<'a> Behind<'a> {
    pub(super) fn get(self, blob: Blob) -> Option<&'a [u8]> {
        let first = usize::try_from(blob.0).ok()?;
        let end = first.checked_add(usize::try_from(blob.1).ok()?)?;
        self.0.get(first..end)
    }

    pub(super) fn ders(self, blobs: &[Blob]) -> Option<Vec<Der>> {
        let der = |blob: &Blob| Some(Der::from(self.get(*blob)?.to_vec()));
        blobs.iter().map(der).collect()
    }

    fn bundle(self, bundle: &BundleIndex) -> Option<Bundle> {
        Some(Bundle {
            roots: self.ders(&bundle.roots)?,
            crls: self.ders(&bundle.crls)?,
        })
    }

    fn pair(self, pair: &PairIndex) -> Option<KeyPair> {
        let key = Zeroizing::new(self.get(pair.key)?.to_vec());
        Some(KeyPair {
            chain: self.ders(&pair.chain)?,
            key: PrivateKey::new(key),
        })
    }

    pub(super) fn listener(self, listener: ListenerIndex) -> Option<ListenerMaterial> {
        Some(ListenerMaterial {
            name: listener.name,
            clients: all(listener.clients, |it| self.bundle(&it))?,
            backend: all(listener.backend, |it| match it {
                BackendIndex::System => Some(BackendTrust::System),
                BackendIndex::Roots(roots) => Some(BackendTrust::Roots(self.bundle(&roots)?)),
            })?,
            backend_identity: all(listener.backend_identity, |it| self.pair(&it))?,
        })
    }
}

/// Reads what is there; the outer `None` if that fails.
#[expect(
    clippy::option_option,
    reason = "the two are as different as damaged and absent"
)]
fn all<T, R>(part: Option<T>, read: impl FnOnce(T) -> Option<R>) -> Option<Option<R>> {
    part.map_or(Some(None), |it| read(it).map(Some))
}
