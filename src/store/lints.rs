//! What is odd about what a load brought, beside what was served and beside what clients ask for,
//! and about the configuration that it was for.

use std::collections::{HashMap, HashSet};

use super::{
    Loaded, Outcome,
    binding::{Against, Shown},
    lookup::Lookup,
    overlaps::ByReference,
};
use crate::{
    config::{Config, Listener},
    facts::Problem,
    tls::material::{Identity, Material},
    x509::name::stands_for,
};

/// What turns clients away although it loads.
#[derive(Debug, Default)]
pub struct KeptOut {
    /// What is sure to.
    pub certainly: Vec<Problem>,
    /// What may.
    pub perhaps: Vec<Problem>,
}

impl Loaded {
    /// Returns what is odd about what is on disk for `config`, where `served` is in service.
    #[must_use]
    pub fn oddities(&self, config: &Config, served: Option<&Material>) -> Vec<Problem> {
        let mut index = Lookup::of(served);
        let changes = self.outcomes.iter().flat_map(|it| {
            let served = index.find(&it.files.name);
            let odd = match (&it.disk, served) {
                (Some(disk), Some(served)) if disk.digest != served.digest => {
                    odd_change(served, disk)
                }
                _ => Vec::new(),
            };
            odd.into_iter().map(|reason| about(it, reason))
        });
        let uncovered = config.listeners.iter().flat_map(|it| self.uncovered(it));
        let limits = config.listeners.iter().filter_map(|it| {
            Some(Problem {
                file: config.source.as_ref().map(|it| it.display().to_string()),
                ..about_listener(it, it.odd_limits()?)
            })
        });
        let all = changes.chain(self.doubles()).chain(uncovered);
        all.chain(self.overlaps(config)).chain(limits).collect()
    }

    /// Returns what would load for `config` and turn clients away, where backends have shown these
    /// certificates.
    #[must_use]
    pub fn kept_out(&self, config: &Config, shown: &[Shown]) -> KeptOut {
        let mut kept_out = KeptOut::default();
        for listener in &config.listeners {
            let (to, reason) = match self.binding(listener, shown) {
                Against::Nothing => continue,
                Against::Perhaps(reason) => (&mut kept_out.perhaps, reason),
                Against::Certainly(reason) => (&mut kept_out.certainly, reason),
            };
            to.push(about_listener(listener, reason));
        }
        kept_out
    }

    /// Returns all that a log should warn of: what is odd about the files and about what they bring,
    /// and what would not work.
    #[must_use]
    pub fn all_odd(
        &self,
        config: &Config,
        served: Option<&Material>,
        shown: &[Shown],
    ) -> Vec<Problem> {
        let KeptOut { certainly, perhaps } = self.kept_out(config, shown);
        let odd = self.oddities(config, served);
        [self.warnings.clone(), certainly, perhaps, odd].concat()
    }

    /// Tells of identities that present the same certificate.
    fn doubles(&self) -> Vec<Problem> {
        let mut holders: HashMap<&str, &str> = HashMap::with_capacity(self.outcomes.len());
        let mut doubles = Vec::new();
        for it in &self.outcomes {
            let Some(disk) = &it.disk else { continue };
            let holder = holders.entry(&disk.facts.sha256).or_insert(&it.files.name);
            if *holder != it.files.name {
                let reason = format!("identity \"{holder}\" holds the same certificate");
                doubles.push(about(it, reason));
            }
        }
        doubles
    }

    /// Tells of identities of a listener that overlap without being interchangeable; of those of
    /// several listeners once.
    fn overlaps(&self, config: &Config) -> Vec<Problem> {
        let Some(material) = &self.material else {
            return Vec::new();
        };
        let by_reference = ByReference::new(material, &config.listeners);
        let mut seen = HashSet::new();
        let listeners = config.listeners.iter();
        let new = listeners.filter(|it| seen.insert((&it.identities, it.tls.unknown_name)));
        new.flat_map(|listener| {
            let odd = by_reference.overlaps(listener).into_iter();
            odd.map(|reason| about_listener(listener, reason))
        })
        .collect()
    }

    /// Tells of the names that clients of a listener use and that none of its identities holds.
    fn uncovered(&self, listener: &Listener) -> Vec<Problem> {
        let names = &listener.server_names;
        let Some(material) = self.material.as_ref().filter(|_| !names.is_empty()) else {
            return Vec::new();
        };
        let held: Vec<&str> = material
            .presented(listener)
            .flat_map(|identity| identity.host_names.iter().map(String::as_str))
            .collect();
        let is_held = |name: &String| held.iter().any(|it| stands_for(it, name));
        names
            .iter()
            .filter(|name| !is_held(name))
            .map(|name| {
                let reason = format!("none of its identities holds its name {name}");
                about_listener(listener, reason)
            })
            .collect()
    }
}

fn about(outcome: &Outcome, reason: String) -> Problem {
    Problem {
        subject: format!("identity \"{}\"", outcome.files.name),
        file: Some(outcome.files.cert.display().to_string()),
        reason,
    }
}

fn about_listener(listener: &Listener, reason: String) -> Problem {
    Problem {
        subject: format!("listener \"{}\"", listener.name),
        file: None,
        reason,
    }
}

/// Returns what clients may notice when one certificate follows another.
fn odd_change(old: &Identity, new: &Identity) -> Vec<String> {
    let mut odd = Vec::new();
    if old.pair.chain.len() > 1 && new.pair.chain.len() == 1 {
        odd.push(
            "the chain ends with the leaf, where intermediates were served; clients that do not \
             know them will fail"
                .to_owned(),
        );
    }
    let (old, new) = (&old.facts, &new.facts);
    let kind = |key_type: &str| key_type.split('-').next().map(str::to_owned);
    if kind(&old.key_type) != kind(&new.key_type) {
        odd.push(format!(
            "the key is {} where {} was served; clients that know only the old kind will fail",
            new.key_type, old.key_type
        ));
    }
    if new.not_before < old.not_before {
        odd.push(format!(
            "the certificate is older than the one served: valid from {}, not from {}; was an \
             old file put back?",
            new.not_before, old.not_before
        ));
    }
    odd
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use super::*;
    use crate::{
        config::IdentityFiles,
        tls::testing::{self, Ca, identity, listener, params},
    };

    fn loaded(identities: Vec<Identity>) -> Loaded {
        let identities: Vec<_> = identities.into_iter().map(Arc::new).collect();
        let outcome = |it: &Arc<Identity>| Outcome {
            files: IdentityFiles::pem(it.name.clone(), "/c".into(), PathBuf::new()),
            outcome: None,
            disk: Some(Arc::clone(it)),
        };
        Loaded {
            problems: Vec::new(),
            warnings: Vec::new(),
            unseen: Vec::new(),
            outcomes: identities.iter().map(outcome).collect(),
            material: Some(Material {
                identities,
                listeners: vec![],
                system_roots: vec![],
            }),
        }
    }

    fn told(loaded: &Loaded, listener: Listener, served: Option<&Loaded>) -> Vec<String> {
        let config = testing::config(vec![listener]);
        let served = served.and_then(|it| it.material.as_ref());
        let odd = loaded.oddities(&config, served);
        odd.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn another_kind_of_key_and_an_older_certificate_are_odd() {
        let ca = Ca::new("root");
        let mut old = params(&["db.example.com"]);
        old.not_before = rcgen::date_time_ymd(2020, 1, 1);
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut new = params(&["db.example.com"]);
        new.not_before = rcgen::date_time_ymd(2021, 1, 1);
        let before = loaded(vec![identity("a", &ca.leaf(&new))]);
        let after = loaded(vec![identity("a", &ca.leaf_with(&old, &key))]);
        let told = told(&after, listener(&["a"]), Some(&before)).join("\n");
        assert!(told.contains("the key is ed25519 where ecdsa-p256 was served"));
        assert!(told.contains("valid from 2020-01-01T00:00:00Z, not from 2021"));
        assert!(told.starts_with("identity \"a\": /c: "), "{told}");
    }

    #[test]
    fn a_chain_that_has_lost_its_intermediates_is_odd() {
        let ca = Ca::new("root");
        let mut whole = identity("a", &ca.server(&["db.example.com"]));
        whole.pair.chain.push(ca.der());
        let before = loaded(vec![whole]);
        let after = loaded(vec![identity("a", &ca.server(&["db.example.com"]))]);
        let told = told(&after, listener(&["a"]), Some(&before)).join("\n");
        assert!(told.contains("where intermediates were served"), "{told}");
    }

    #[test]
    fn what_is_served_already_and_what_is_renewed_is_not_odd() {
        let ca = Ca::new("root");
        let first = loaded(vec![identity("a", &ca.server(&["db.example.com"]))]);
        let renewed = loaded(vec![identity("a", &ca.server(&["db.example.com"]))]);
        for now in [&first, &renewed] {
            assert!(told(now, listener(&["a"]), Some(&first)).is_empty());
        }
    }

    #[test]
    fn a_certificate_of_two_identities_is_odd() {
        let ca = Ca::new("root");
        let leaf = ca.server(&["db.example.com"]);
        let loaded = loaded(vec![identity("a", &leaf), identity("b", &leaf)]);
        assert_eq!(
            told(&loaded, listener(&["a"]), None),
            ["identity \"b\": /c: identity \"a\" holds the same certificate"]
        );
    }

    #[test]
    fn a_name_that_no_identity_of_the_listener_holds_is_odd() {
        let ca = Ca::new("root");
        let a = identity("a", &ca.server(&["*.example.com"]));
        let b = identity("b", &ca.server(&["other.example"]));
        let mut listener = listener(&["a"]);
        let names = ["DB.example.com", "other.example", "example.com"];
        listener.server_names = names.map(str::to_owned).to_vec();
        assert_eq!(
            told(&loaded(vec![a, b]), listener, None),
            ["other.example", "example.com"].map(|name| format!(
                "listener \"orders\": none of its identities holds its name {name}"
            ))
        );
    }
}
