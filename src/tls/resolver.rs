//! Server name to identity: exact, then wildcard, then the fallback.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    SignatureAlgorithm, SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{material::Identity, names::NameTable, notes::note};
use crate::{
    config::{Listener, UnknownName},
    x509::certificate,
};

/// An identity as a resolver needs it, wherever its chain and key are.
pub trait Presented: Send + Sync {
    /// Returns the name that listeners refer to; of one in a folder, `FOLDER/NAME`.
    fn name(&self) -> &str;

    /// Returns the host names that a client may ask for to get it.
    fn host_names(&self) -> &[String];

    /// Returns SHA-256 over chain and key.
    fn digest(&self) -> [u8; 32];

    /// Returns what signs; `None` if chain and key are out of reach or do not fit, which is logged.
    fn certified(&self) -> Option<CertifiedKey>;
}

impl Presented for Identity {
    fn name(&self) -> &str {
        &self.name
    }

    fn host_names(&self) -> &[String] {
        &self.host_names
    }

    fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Never `None`, because it was proved that it can be built.
    fn certified(&self) -> Option<CertifiedKey> {
        self.pair.certified().ok()
    }
}

/// An identity, and its signing key once a client has asked for it.
///
/// Most of thousands of identities are never asked for between two reloads.
struct Entry {
    identity: Arc<dyn Presented>,
    certified: OnceLock<Arc<CertifiedKey>>,
}

impl Entry {
    /// Takes an identity; what `last` has built is kept if it is of the same chain and key.
    fn new(identity: Arc<dyn Presented>, last: Option<&Arc<Self>>) -> Arc<Self> {
        let last = last.filter(|last| last.identity.digest() == identity.digest());
        match last {
            Some(last) if Arc::ptr_eq(&last.identity, &identity) => Arc::clone(last),
            _ => Arc::new(Self {
                identity,
                certified: last.map(|last| last.certified.clone()).unwrap_or_default(),
            }),
        }
    }

    /// Returns what signs; what failed once is tried again for the next client.
    fn certified(&self) -> Option<&Arc<CertifiedKey>> {
        if self.certified.get().is_none() {
            let built = self.identity.certified().map(Arc::new)?;
            return Some(self.certified.get_or_init(|| built));
        }
        self.certified.get()
    }
}

/// The identities of a generation, and the resolvers that its listeners share.
#[derive(Default)]
pub struct Keyring {
    entries: Vec<Arc<Entry>>,
    /// The positions of the entries in the order of their names.
    by_name: Box<[usize]>,
    tables: HashMap<Vec<String>, Arc<Chosen>>,
}

/// The identities that listeners with the same list of names present.
struct Chosen {
    entries: Vec<Arc<Entry>>,
    table: NameTable,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("identities", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Takes the identities of a generation; what `last` has built for those that stay is kept.
    #[must_use]
    pub fn new<I: Presented + 'static>(identities: &[Arc<I>], last: &Self) -> Self {
        // Most stay, in their order.
        let mut expected = 0;
        let entry = |identity: &Arc<I>| {
            let position = last.position(identity.name(), expected);
            expected = position.map_or(expected, |it| it + 1);
            let last = position.and_then(|it| last.entries.get(it));
            Entry::new(Arc::<I>::clone(identity), last)
        };
        let entries: Vec<_> = identities.iter().map(entry).collect();
        let mut by_name: Box<[usize]> = (0..entries.len()).collect();
        by_name.sort_by(|one, other| {
            entries[*one]
                .identity
                .name()
                .cmp(entries[*other].identity.name())
        });
        Self {
            entries,
            by_name,
            tables: HashMap::new(),
        }
    }

    /// Returns the position of the entry of that name, perhaps the `expected` one.
    fn position(&self, name: &str, expected: usize) -> Option<usize> {
        let entry = self.entries.get(expected);
        if entry.is_some_and(|entry| entry.identity.name() == name) {
            return Some(expected);
        }
        self.named(name).next()
    }

    /// Returns the positions of the entries of that name.
    fn named(&self, name: &str) -> impl Iterator<Item = usize> {
        self.from(name)
            .take_while(move |place| self.name(*place) == name)
    }

    /// Returns the positions of the entries whose names begin so.
    fn beginning(&self, with: &str) -> impl Iterator<Item = usize> {
        self.from(with)
            .take_while(move |place| self.name(*place).starts_with(with))
    }

    /// Returns the positions of the entries from a name on, in the order of their names.
    fn from(&self, name: &str) -> impl Iterator<Item = usize> {
        let before = self
            .by_name
            .partition_point(|place| self.name(*place) < name);
        self.by_name
            .get(before..)
            .unwrap_or_default()
            .iter()
            .copied()
    }

    fn name(&self, place: usize) -> &str {
        self.entries
            .get(place)
            .map_or("", |entry| entry.identity.name())
    }

    /// Returns what chooses among a listener's identities; the name of what it names in vain
    /// otherwise.
    pub fn resolver(&mut self, listener: &Listener) -> Result<Arc<Resolver>, String> {
        let references = &listener.identities;
        let chosen = if let Some(chosen) = self.tables.get(references) {
            Arc::clone(chosen)
        } else {
            let chosen = Arc::new(self.choose(references)?);
            self.tables.insert(references.clone(), Arc::clone(&chosen));
            chosen
        };
        let unknown = listener.tls.unknown_name;
        Ok(Arc::new(Resolver { chosen, unknown }))
    }

    fn choose(&self, references: &[String]) -> Result<Chosen, String> {
        let mut entries = Vec::new();
        for reference in references {
            let folder = format!("{reference}/");
            let mut meant: Vec<_> = self
                .named(reference)
                .chain(self.beginning(&folder))
                .collect();
            if meant.is_empty() {
                return Err(reference.clone());
            }
            meant.sort_unstable();
            entries.extend(meant.iter().filter_map(|it| self.entries.get(*it)).cloned());
        }
        let names: Vec<&[String]> = entries
            .iter()
            .map(|entry| entry.identity.host_names())
            .collect();
        Ok(Chosen {
            table: NameTable::new(&names),
            entries,
        })
    }
}

/// Chooses among a listener's identities.
pub struct Resolver {
    chosen: Arc<Chosen>,
    unknown: UnknownName,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("identities", &self.chosen.entries.len())
            .field("unknown", &self.unknown)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// Returns the identities that it chooses among.
    pub(super) fn identities(&self) -> impl Iterator<Item = &dyn Presented> {
        self.chosen.entries.iter().map(|entry| &*entry.identity)
    }

    /// Returns whether a client that asks for `name` is turned away.
    #[must_use]
    pub fn refuses(&self, name: &str) -> bool {
        self.unknown == UnknownName::Refuse && self.chosen.table.holders(name).is_none()
    }

    /// Returns whether any name is turned away.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.unknown == UnknownName::Refuse
    }

    fn holders(&self, name: Option<&str>) -> &[usize] {
        let table = &self.chosen.table;
        match name {
            Some(name) => match table.holders(name) {
                Some(holders) => holders,
                None if self.is_strict() => &[],
                None => table.fallback(),
            },
            None => table.fallback(),
        }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let holders = || {
            let entries = self.holders(name).iter();
            entries.filter_map(|it| self.chosen.entries.get(*it)?.certified())
        };
        holders()
            .filter(|it| it.key.choose_scheme(schemes).is_some())
            .min_by_key(|it| cost(it))
            // None fits: the handshake fails all the same, but for the reason that is true.
            .or_else(|| {
                let first = holders().next()?;
                note(|notes| notes.unfit = true);
                Some(first)
            })
            .cloned()
    }
}
/// Ranks kinds of keys by what a signature costs the server.
fn cost(identity: &CertifiedKey) -> u8 {
    match identity.key.algorithm() {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        note(|notes| notes.asked = hello.server_name().map(Box::from));
        let chosen = self.choose(hello.server_name(), hello.signature_schemes())?;
        if let Some(leaf) = chosen.cert.first() {
            note(|notes| notes.shown = Some(certificate::digest(leaf)));
        }
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::tls::testing::{Ca, identity, listener, params};

    fn keyring(identities: Vec<Identity>) -> Keyring {
        let identities: Vec<_> = identities.into_iter().map(Arc::new).collect();
        Keyring::new(&identities, &Keyring::default())
    }

    #[test]
    fn the_client_s_schemes_choose_among_holders_of_a_name() {
        let ca = Ca::new("root");
        let kinds = [
            ("ed", "db.example.com", &rcgen::PKCS_ED25519),
            ("p256", "db.example.com", &rcgen::PKCS_ECDSA_P256_SHA256),
            ("p384", "other.example.com", &rcgen::PKCS_ECDSA_P384_SHA384),
        ];
        let identities = kinds.map(|(name, host, kind)| {
            let key = rcgen::KeyPair::generate_for(kind).unwrap();
            identity(name, &ca.leaf_with(&params(&[host]), &key))
        });
        let mut keyring = keyring(identities.into());
        let resolver = keyring
            .resolver(&listener(&["ed", "p256", "p384"]))
            .unwrap();
        let chosen = |name: Option<&str>, schemes: &[SignatureScheme]| {
            let chosen = resolver.choose(name, schemes).unwrap();
            let is_it = |entry: &Arc<Entry>| Arc::ptr_eq(entry.certified().unwrap(), &chosen);
            resolver.chosen.entries.iter().position(is_it)
        };
        let (p256, p384) = (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
        );
        let ed = SignatureScheme::ED25519;
        assert_eq!(chosen(Some("DB.example.com"), &[ed, p256]), Some(1));
        assert_eq!(chosen(Some("db.example.com."), &[ed]), Some(0));
        assert_eq!(chosen(Some("other.example.com"), &[ed, p384]), Some(2));
        assert_eq!(chosen(Some("unknown"), &[p256]), Some(1));
        assert_eq!(chosen(None, &[ed]), Some(0));
        assert_eq!(chosen(None, &[SignatureScheme::RSA_PSS_SHA256]), Some(0));
    }

    #[test]
    fn a_strict_listener_refuses_unknown_names_but_not_the_lack_of_one() {
        let ca = Ca::new("root");
        let mut keyring = keyring(vec![identity("a", &ca.server(&["*.example.com"]))]);
        let mut listener = listener(&["a"]);
        let asks = [Some("db.example.com"), Some("example.com"), None];
        let answers = |resolver: &Resolver| {
            let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
            asks.map(|name| resolver.choose(name, &schemes).is_some())
        };
        let lax = keyring.resolver(&listener).unwrap();
        assert_eq!(answers(&lax), [true, true, true]);
        assert!(!lax.refuses("example.com"));
        listener.tls.unknown_name = UnknownName::Refuse;
        let strict = keyring.resolver(&listener).unwrap();
        assert_eq!(answers(&strict), [true, false, true]);
        assert!(strict.refuses("example.com") && !strict.refuses("DB.example.com"));
    }

    #[test]
    fn a_folder_s_name_means_all_that_is_in_it() {
        let ca = Ca::new("root");
        let leaf = ca.server(&["db.example.com"]);
        let names = ["live", "live/a", "live/b", "lively"];
        let mut keyring = keyring(names.map(|name| identity(name, &leaf)).into());
        let mut count = |references: &[&str]| {
            let resolver = keyring.resolver(&listener(references));
            resolver.map(|it| it.chosen.entries.len())
        };
        assert_eq!(count(&["live"]), Ok(3));
        assert_eq!(count(&["lively"]), Ok(1));
        assert_eq!(count(&["lively", "a"]), Err("a".to_owned()));
    }

    #[test]
    fn what_was_built_for_an_identity_that_stays_is_kept() {
        let ca = Ca::new("root");
        let (leaf, new) = (
            ca.server(&["db.example.com"]),
            ca.server(&["db.example.com"]),
        );
        let before = ["stays", "moves", "changes"].map(|name| Arc::new(identity(name, &leaf)));
        let first = Keyring::new(&before, &Keyring::default());
        let after = [
            Arc::new(identity("changes", &new)),
            Arc::new(identity("moves", &leaf)),
            Arc::clone(&before[0]),
        ];
        let built = |entry: &Arc<Entry>| entry.certified().map(Arc::clone).unwrap();
        let were: Vec<_> = first.entries.iter().map(built).collect();
        let next = Keyring::new(&after, &first);
        assert!(Arc::ptr_eq(&next.entries[2], &first.entries[0]));
        assert!(!Arc::ptr_eq(&next.entries[1], &first.entries[1]));
        assert!(Arc::ptr_eq(&built(&next.entries[1]), &were[1]));
        assert!(!Arc::ptr_eq(&built(&next.entries[0]), &were[2]));
    }

    /// An identity whose chain and key can be read from some time on.
    struct Late {
        identity: Identity,
        readable: AtomicBool,
    }

    impl Presented for Late {
        fn name(&self) -> &str {
            &self.identity.name
        }

        fn host_names(&self) -> &[String] {
            &self.identity.host_names
        }

        fn digest(&self) -> [u8; 32] {
            self.identity.digest
        }

        fn certified(&self) -> Option<CertifiedKey> {
            let readable = self.readable.load(Ordering::Relaxed);
            readable.then(|| self.identity.certified())?
        }
    }

    #[test]
    fn what_could_not_be_read_is_read_for_the_next_client() {
        let late = Late {
            identity: identity("late", &Ca::new("root").server(&["db.example.com"])),
            readable: AtomicBool::new(false),
        };
        let late = Arc::new(late);
        let mut keyring = Keyring::new(&[Arc::clone(&late)], &Keyring::default());
        let resolver = keyring.resolver(&listener(&["late"])).unwrap();
        let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
        assert!(resolver.choose(None, &schemes).is_none());
        late.readable.store(true, Ordering::Relaxed);
        assert!(resolver.choose(None, &schemes).is_some());
    }
}
