//! The checked TLS material of a whole configuration.
//!
//! Plain data. What of it crosses from the supervisor to its workers always writes every field, so that
//! formats without field names can carry it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{config::Listener, facts::CertificateFacts};

/// Everything that the TLS of a configuration needs, read and checked; workers have identities of
/// another kind.
#[derive(Debug, Clone)]
pub struct Material<I = Identity> {
    /// The identities: those that the configuration names in its order, then those of its folders
    /// by name.
    pub identities: Vec<Arc<I>>,
    /// What each listener trusts, in the order of the configuration.
    pub listeners: Vec<ListenerMaterial>,
    /// The authorities of the operating system; empty when no backend relies on them.
    pub system_roots: Vec<Der>,
}

/// A certificate to present and its private key, known to belong together.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name that listeners refer to; of one in a folder, `FOLDER/NAME`.
    pub name: String,
    /// The file that the chain came from.
    pub cert: String,
    /// The file that the key came from.
    pub key: String,
    /// The chain and key themselves.
    pub pair: KeyPair,
    /// What a person wants to know about the leaf.
    pub facts: Arc<CertificateFacts>,
    /// The host names that a client may ask for to get it.
    pub host_names: Vec<String>,
    /// SHA-256 over chain and key.
    pub digest: [u8; 32],
}

/// A certificate chain, leaf first, and the leaf's private key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// The chain, never empty.
    pub chain: Vec<Der>,
    /// The leaf's private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PrivateKey,
}

/// What a listener trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerMaterial {
    /// The listener's name.
    pub name: String,
    /// Who may have issued a client's certificate; `None` when none is asked for.
    pub clients: Option<Bundle>,
    /// Who may have issued the backend's certificate; `None` when nothing checks that.
    pub backend: Option<BackendTrust>,
    /// What is shown to the backend; `None` shows nothing.
    pub backend_identity: Option<KeyPair>,
}

/// Authorities that may have issued a peer's certificate, and what they revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The authorities, never empty.
    pub roots: Vec<Der>,
    /// Their revocation lists.
    pub crls: Vec<Der>,
}

/// Authorities that may have issued a backend's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackendTrust {
    /// Those of the operating system, in [`Material::system_roots`].
    System,
    /// These.
    Roots(Bundle),
}

/// A certificate or revocation list in DER.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Der(#[serde(with = "bytes")] Vec<u8>);

/// A private key in DER, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateKey(#[serde(with = "bytes")] Zeroizing<Vec<u8>>);

impl Material {
    /// Returns whether both hold the same content from the same places: the same files give the same.
    /// Identities that they share, which may be thousands, are not looked at.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let mut pairs = self.identities.iter().zip(&other.identities);
        self.identities.len() == other.identities.len()
            && pairs.all(|(one, other)| Arc::ptr_eq(one, other) || one.is_same(other))
            && self.listeners == other.listeners
            && self.system_roots == other.system_roots
    }

    /// Returns the identities by name.
    #[must_use]
    pub fn index(&self) -> HashMap<&str, &Arc<Identity>> {
        let named = |it| (Identity::name_of(it), it);
        self.identities.iter().map(named).collect()
    }

    /// Returns the identities that a listener presents.
    pub fn presented<'a>(&'a self, listener: &'a Listener) -> impl Iterator<Item = &'a Identity> {
        let meant: HashSet<&str> = listener.identities.iter().map(String::as_str).collect();
        let all = self.identities.iter().map(AsRef::as_ref);
        all.filter(move |it| Identity::references(it).any(|it| meant.contains(it)))
    }

    /// Returns how many pieces it was read from.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.identities.len() + self.listeners.len()
    }
}

impl<I> Material<I> {
    /// Returns what the listener of that name trusts.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&ListenerMaterial> {
        self.listeners.iter().find(|it| it.name == name)
    }
}

impl Identity {
    fn name_of(this: &Arc<Self>) -> &str {
        &this.name
    }

    fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.name == other.name
            && self.cert == other.cert
            && self.key == other.key
    }

    /// Returns whether `reference`, as listeners write it, means this identity: its own name, or
    /// that of the folder that it is in.
    #[must_use]
    pub fn is_meant(&self, reference: &str) -> bool {
        let rest = self.name.strip_prefix(reference);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Identity {
    /// Returns all that means this identity, by [`Self::is_meant`].
    pub(crate) fn references(&self) -> impl Iterator<Item = &str> {
        let folders = self.name.match_indices('/');
        let folders = folders.filter_map(|(end, _)| self.name.get(..end));
        folders.chain([self.name.as_str()])
    }
}

impl KeyPair {
    /// Returns SHA-256 over chain and key.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = ContentHash::new();
        hash.list("chain", &self.chain);
        hash.field("key", &self.key.0);
        hash.finish()
    }

    /// Returns the leaf.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], Der::as_bytes)
    }

    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.chain.iter().map(Der::to_certificate).collect()
    }

    /// Returns the form that rustls signs with; refuses a key of another certificate.
    pub(crate) fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = self.key.to_rustls()?;
        let certified = CertifiedKey::from_der(self.certificates(), key, &super::provider())?;
        // `from_der` lets a key pass whose public half it cannot work out.
        certified.keys_match()?;
        Ok(certified)
    }
}

impl Der {
    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.0.clone())
    }
}

impl From<Vec<u8>> for Der {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Der {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Der({} bytes)", self.0.len())
    }
}

impl PrivateKey {
    pub(crate) fn new(der: Zeroizing<Vec<u8>>) -> Self {
        Self(der)
    }

    /// Returns how many bytes it has.
    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }

    /// Returns the bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_rustls(&self) -> Result<PrivateKeyDer<'static>, rustls::Error> {
        PrivateKeyDer::try_from(self.0.as_slice())
            .map(|key| key.clone_key())
            .map_err(|why| rustls::Error::General(why.to_owned()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// SHA-256 over labelled fields, each with its length, so that no two contents look alike.
pub(crate) struct ContentHash(Context);

impl ContentHash {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn field(&mut self, label: &str, content: &[u8]) {
        for part in [label.as_bytes(), content] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }

    pub(crate) fn text(&mut self, label: &str, content: &str) {
        self.field(label, content.as_bytes());
    }

    pub(crate) fn list(&mut self, label: &str, items: &[Der]) {
        for item in items {
            self.field(label, item.as_bytes());
        }
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

/// Bytes in one piece, where serde would write a sequence of numbers.
mod bytes {
    use std::{fmt, marker::PhantomData};

    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<T: AsRef<[u8]>, S: Serializer>(
        bytes: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes.as_ref())
    }

    pub(crate) fn deserialize<'de, T: From<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        deserializer.deserialize_byte_buf(Owned(PhantomData))
    }

    struct Owned<T>(PhantomData<T>);

    impl<T: From<Vec<u8>>> de::Visitor<'_> for Owned<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<T, E> {
            Ok(T::from(bytes.to_vec()))
        }

        fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<T, E> {
            Ok(T::from(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use bincode::Options;
    use proptest::prelude::*;

    use super::*;
    use crate::tls::testing::{self, Ca, identity};

    fn sample() -> Material {
        let ca = Ca::new("root");
        Material {
            identities: vec![Arc::new(identity(
                "default",
                &ca.server(&["db.example.com"]),
            ))],
            listeners: vec![ListenerMaterial {
                name: "orders".to_owned(),
                clients: Some(Bundle {
                    roots: vec![ca.der()],
                    crls: vec![],
                }),
                backend: Some(BackendTrust::Roots(Bundle {
                    roots: vec![ca.der()],
                    crls: vec![],
                })),
                backend_identity: Some(ca.server(&["client"]).pair()),
            }],
            system_roots: vec![],
        }
    }

    #[test]
    fn what_a_listener_trusts_and_a_pair_survive_the_link() {
        let mut material = sample();
        let codec = bincode::DefaultOptions::new();
        let bytes = codec.serialize(&material.listeners).unwrap();
        let before = material.clone();
        material.listeners = codec.deserialize(&bytes).unwrap();
        assert!(material.is_same(&before));
        let bytes = codec.serialize(&material.identities[0].pair).unwrap();
        let back: KeyPair = codec.deserialize(&bytes).unwrap();
        assert_eq!(back.digest(), material.identities[0].digest);
        back.certified().unwrap();
    }

    proptest! {
        #[test]
        fn a_listener_presents_what_its_references_mean(
            names in prop::collection::vec("[ab/]{0,4}", 0..6),
            references in prop::collection::vec("[ab/]{0,4}", 0..3),
        ) {
            static SAMPLE: LazyLock<Material> = LazyLock::new(sample);
            let mut material = SAMPLE.clone();
            let one = Arc::clone(&material.identities[0]);
            let named = |name: &String| Arc::new(Identity { name: name.clone(), ..(*one).clone() });
            material.identities = names.iter().map(named).collect();
            let mut listener = testing::listener(&[]);
            listener.identities.clone_from(&references);
            let presented: Vec<&str> =
                material.presented(&listener).map(|it| it.name.as_str()).collect();
            let is_meant =
                |it: &&Arc<Identity>| references.iter().any(|reference| it.is_meant(reference));
            let meant: Vec<&str> =
                material.identities.iter().filter(is_meant).map(Identity::name_of).collect();
            prop_assert_eq!(presented, meant);
        }
    }

    #[test]
    fn a_private_key_is_never_printed() {
        let material = sample();
        let shown = format!("{material:?}");
        assert!(shown.contains("PrivateKey(..)"));
        let key = &material.identities[0].pair.key.0;
        assert!(!shown.contains(&format!("{}, {}, {}", key[0], key[1], key[2])));
    }

    #[test]
    fn every_piece_counts_for_what_is_the_same() {
        let material = sample();
        let other = Der::from(vec![1, 2, 3]);
        let edits: [fn(&mut Material, Der); 6] = [
            |it, _| Arc::make_mut(&mut it.identities[0]).name.push('x'),
            |it, _| it.listeners[0].clients = None,
            |it, der| it.system_roots.push(der),
            |it, der| it.listeners[0].clients.as_mut().unwrap().crls.push(der),
            |it, _| it.listeners[0].backend = Some(BackendTrust::System),
            |it, _| it.listeners[0].backend_identity = None,
        ];
        for edit in edits {
            let mut changed = material.clone();
            edit(&mut changed, other.clone());
            assert!(!changed.is_same(&material));
        }
        assert!(material.clone().is_same(&material));
    }
}
