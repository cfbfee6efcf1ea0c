//! Server name to identity: exact, then wildcard, then the fallback.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    SignatureAlgorithm, SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Which of a listener's identities a server name stands for, by position.
#[derive(Debug, Default, PartialEq, Eq)]
struct NameTable {
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind `*.`; the star is one label, RFC 6125 §6.4.3.
    wildcard: HashMap<String, Vec<usize>>,
    fallback: Vec<usize>,
}

impl NameTable {
    fn new(names: &[Vec<String>]) -> Self {
        let names: Vec<_> = names.iter().map(|it| normal(it)).collect();
        let mut table = Self::default();
        for (index, names) in names.iter().enumerate() {
            for name in names {
                table.add(name, index);
            }
        }
        // The same names with another kind of key are the same server to a client.
        let first = names.first();
        table.fallback = (0..names.len())
            .filter(|it| names.get(*it) == first)
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

    fn find(&self, name: Option<&str>) -> &[usize] {
        name.map(normal_name)
            .and_then(|name| {
                let (_, parent) = name.split_once('.').unwrap_or_default();
                self.exact.get(&name).or_else(|| self.wildcard.get(parent))
            })
            .unwrap_or(&self.fallback)
    }
}

fn normal(names: &[String]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|it| normal_name(it)).collect();
    names.sort();
    names.dedup();
    names
}

fn normal_name(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Chooses among a listener's identities.
#[derive(Debug)]
pub(super) struct Resolver {
    identities: Vec<Arc<CertifiedKey>>,
    table: NameTable,
}

impl Resolver {
    /// Takes identities, the fallback first, each with the names it holds.
    pub(super) fn new(identities: Vec<(CertifiedKey, Vec<String>)>) -> Self {
        let (keys, names): (Vec<_>, Vec<_>) = identities.into_iter().unzip();
        Self {
            table: NameTable::new(&names),
            identities: keys.into_iter().map(Arc::new).collect(),
        }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let holders = || {
            self.table
                .find(name)
                .iter()
                .filter_map(|it| self.identities.get(*it))
        };
        holders()
            .filter(|it| it.key.choose_scheme(schemes).is_some())
            .min_by_key(|it| cost(it))
            // None fits: the handshake fails all the same, but for the reason that is true.
            .or_else(|| holders().next())
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
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::testing::{Ca, certified_with};

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
            let table = NameTable::new(&names);
            let expected = naive(&names, &asked);
            if expected.is_empty() {
                prop_assert_eq!(table.find(Some(&asked)), &table.fallback);
            } else {
                prop_assert_eq!(table.find(Some(&asked)), expected);
            }
            prop_assert_eq!(table.find(None)[0], 0);
        }
    }

    #[test]
    fn the_client_s_schemes_choose_among_holders_of_a_name() {
        let ca = Ca::new("root");
        let names = vec!["db.example.com".to_owned()];
        let other = vec!["other.example.com".to_owned()];
        let resolver = Resolver::new(vec![
            (certified_with(&ca, &rcgen::PKCS_ED25519), names.clone()),
            (certified_with(&ca, &rcgen::PKCS_ECDSA_P256_SHA256), names),
            (certified_with(&ca, &rcgen::PKCS_ECDSA_P384_SHA384), other),
        ]);
        let chosen = |name: Option<&str>, schemes: &[SignatureScheme]| {
            let chosen = resolver.choose(name, schemes).unwrap();
            resolver
                .identities
                .iter()
                .position(|it| Arc::ptr_eq(it, &chosen))
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
}
