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

use super::{
    material::{Identity, Material},
    notes::note,
};
use crate::{
    config::{Listener, UnknownName},
    x509::{certificate, name::normal_name},
};

/// Which of a listener's identities a server name stands for, by position.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NameTable {
    /// By name.
    pub(crate) exact: HashMap<String, Vec<usize>>,
    /// By what stands behind `*.`; the star is one label, RFC 6125 §6.4.3.
    pub(crate) wildcard: HashMap<String, Vec<usize>>,
    /// For no name and for unknown ones: the first, and those with exactly the same names.
    pub(crate) fallback: Vec<usize>,
}

impl NameTable {
    /// Takes the host names of each identity, in the listener's order.
    pub(crate) fn new(names: &[&[String]]) -> Self {
        let names: Vec<_> = names.iter().map(|it| normal(it)).collect();
        let mut table = Self::default();
        for (index, names) in names.iter().enumerate() {
            for name in names {
                table.add(name, index);
            }
        }
        // The same names with another kind of key are the same server to a client; without any name
        // nothing says so.
        let first = names.first().filter(|it| !it.is_empty());
        table.fallback = (0..names.len())
            .filter(|it| *it == 0 || (first.is_some() && names.get(*it) == first))
            .collect();
        table
    }

    fn add(&mut self, name: &str, index: usize) {
        let holders = match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.entry(parent.to_owned()),
            None => self.exact.entry(name.to_owned()),
        };
        holders.or_default().push(index);
    }

    /// Returns the identities that hold a name.
    fn holders(&self, name: &str) -> Option<&[usize]> {
        let name = normal_name(name);
        let (_, parent) = name.split_once('.').unwrap_or_default();
        let holders = self.exact.get(&name).or_else(|| self.wildcard.get(parent));
        holders.map(Vec::as_slice)
    }
}

fn normal(names: &[String]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|it| normal_name(it)).collect();
    names.sort();
    names.dedup();
    names
}

/// An identity, and what signs for it once somebody has asked for it.
///
/// Most of thousands of identities are never asked for between two reloads.
struct Entry {
    identity: Arc<Identity>,
    certified: OnceLock<Option<Arc<CertifiedKey>>>,
}

impl Entry {
    fn new(identity: Arc<Identity>) -> Self {
        let certified = OnceLock::new();
        Self {
            identity,
            certified,
        }
    }

    /// Returns what signs; `None` never, because the supervisor has proved that it can be built.
    fn certified(&self) -> Option<&Arc<CertifiedKey>> {
        let build = || self.identity.pair.certified().map(Arc::new).ok();
        self.certified.get_or_init(build).as_ref()
    }
}

/// The identities of a generation, and the resolvers that its listeners share.
#[derive(Default)]
pub struct Keyring {
    entries: Vec<Arc<Entry>>,
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
    pub fn new(material: &Material, last: &Self) -> Self {
        let last: HashMap<&str, &Arc<Entry>> = last
            .entries
            .iter()
            .map(|entry| (entry.identity.name.as_str(), entry))
            .collect();
        let entry = |identity: &Arc<Identity>| match last.get(identity.name.as_str()) {
            Some(entry) if Arc::ptr_eq(&entry.identity, identity) => Arc::clone(entry),
            _ => Arc::new(Entry::new(Arc::clone(identity))),
        };
        Self {
            entries: material.identities.iter().map(entry).collect(),
            tables: HashMap::new(),
        }
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
            let before = entries.len();
            let meant = |entry: &&Arc<Entry>| entry.identity.is_meant(reference);
            entries.extend(self.entries.iter().filter(meant).cloned());
            if entries.len() == before {
                return Err(reference.clone());
            }
        }
        let names: Vec<&[String]> = entries
            .iter()
            .map(|entry| entry.identity.host_names.as_slice())
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
    pub(super) fn identities(&self) -> impl Iterator<Item = &Identity> {
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
                None => &table.fallback,
            },
            None => &table.fallback,
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
    use proptest::prelude::*;

    use super::*;
    use crate::tls::testing::{Ca, identity, listener, params};

    /// Finds holders by looking at every name of every identity.
    fn naive(names: &[Vec<String>], asked: &str) -> Vec<usize> {
        let holds = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let all = names.iter().enumerate();
            all.filter(|(_, it)| it.iter().any(|name| fits(&name.to_lowercase())))
                .map(|(index, _)| index)
                .collect()
        };
        let asked = asked.to_lowercase();
        let exact = holds(&|name| !name.starts_with("*.") && name == asked);
        if !exact.is_empty() {
            return exact;
        }
        holds(&|name| {
            let labels = asked.split('.').count();
            name.starts_with("*.")
                && labels == name.split('.').count()
                && asked.ends_with(&name[1..])
        })
    }

    proptest! {
        #[test]
        fn names_are_found_as_the_naive_model_finds_them(
            names in prop::collection::vec(
                prop::collection::vec("(\\*\\.)?[aAb](\\.[ab]){0,2}", 1..4), 1..4),
            asked in "[aAb](\\.[abB]){0,3}",
        ) {
            let slices: Vec<&[String]> = names.iter().map(Vec::as_slice).collect();
            let table = NameTable::new(&slices);
            let expected = naive(&names, &asked);
            prop_assert_eq!(table.holders(&asked).unwrap_or_default(), expected);
            prop_assert_eq!(table.fallback[0], 0);
        }
    }

    fn keyring(identities: Vec<Identity>) -> Keyring {
        let material = Material {
            identities: identities.into_iter().map(Arc::new).collect(),
            listeners: vec![],
            system_roots: vec![],
        };
        Keyring::new(&material, &Keyring::default())
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
    fn identities_without_names_do_not_stand_in_for_each_other() {
        let none = Vec::new();
        let table = NameTable::new(&[&none, &none]);
        assert_eq!(table.fallback, [0]);
        let name = vec!["a".to_owned()];
        assert_eq!(NameTable::new(&[&name, &none, &name]).fallback, [0, 2]);
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
        let leaf = ca.server(&["db.example.com"]);
        let (stays, goes) = (identity("stays", &leaf), identity("goes", &leaf));
        let first = keyring(vec![stays, goes]);
        let mut material = Material {
            identities: first
                .entries
                .iter()
                .map(|it| Arc::clone(&it.identity))
                .collect(),
            listeners: vec![],
            system_roots: vec![],
        };
        material.identities[1] = Arc::new(identity("goes", &leaf));
        let next = Keyring::new(&material, &first);
        assert!(Arc::ptr_eq(&next.entries[0], &first.entries[0]));
        assert!(!Arc::ptr_eq(&next.entries[1], &first.entries[1]));
    }
}
