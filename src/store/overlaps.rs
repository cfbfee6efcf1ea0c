//! Where identities of a listener overlap without being interchangeable: which clients are shut out
//! although another identity would do, and which certificates no client is shown.
//!
//! By the rule of [`crate::tls::resolver`]. Takes time in proportion to the names, and says no more
//! than a person reads: one example of a kind, and how many there are.

use std::collections::HashMap;

use crate::{
    config::{Listener, UnknownName},
    tls::{
        material::{Identity, Material},
        names::NameTable,
    },
};

/// Clients as there are: what they are called, and the kinds of keys whose signatures they know.
///
/// All that know anything else know these too.
const CLIENTS: [(&str, &[&str]); 2] = [
    ("clients that know RSA alone", &["rsa"]),
    (
        "clients that know neither Ed25519 nor P-521",
        &["rsa", "ecdsa-p256", "ecdsa-p384"],
    ),
];

/// The identities of a generation by what a listener may call them: their name, or their folder's.
pub(super) struct ByReference<'m>(HashMap<&'m str, Vec<&'m Identity>>);

impl<'m> ByReference<'m> {
    /// Sorts the identities by what these listeners call them.
    pub(super) fn new(material: &'m Material, listeners: &'m [Listener]) -> Self {
        let references = listeners.iter().flat_map(|it| &it.identities);
        let mut all: HashMap<&str, Vec<&Identity>> =
            references.map(|it| (it.as_str(), Vec::new())).collect();
        for identity in &material.identities {
            let name = identity.name.as_str();
            let folders = name.match_indices('/').map(|(at, _)| &name[..at]);
            for reference in folders.chain([name]) {
                if let Some(meant) = all.get_mut(reference) {
                    meant.push(identity);
                }
            }
        }
        Self(all)
    }

    /// Returns what is odd about how a listener's identities overlap.
    pub(super) fn overlaps(&self, listener: &Listener) -> Vec<String> {
        let references = listener.identities.iter();
        let identities = references
            .filter_map(|it| self.0.get(it.as_str()))
            .flatten()
            .copied()
            .collect();
        let names_may_be_unknown = listener.tls.unknown_name == UnknownName::Fallback;
        let presented = Presented::new(identities);
        let all = [
            presented.fallback(names_may_be_unknown),
            presented.exact_before_star(),
            presented.never_shown(),
        ];
        all.into_iter().flatten().collect()
    }
}

/// The identities that a listener presents, in its order.
struct Presented<'m> {
    identities: Vec<&'m Identity>,
    table: NameTable,
}

impl<'m> Presented<'m> {
    fn new(identities: Vec<&'m Identity>) -> Self {
        let names: Vec<&[String]> = identities
            .iter()
            .map(|it| it.host_names.as_slice())
            .collect();
        let table = NameTable::new(&names);
        Self { identities, table }
    }

    /// Tells of clients that the fallback shuts out although another identity would do.
    fn fallback(&self, names_may_be_unknown: bool) -> Option<String> {
        let first = self.identities.first()?;
        let fallback = Served::by(&self.identities, self.table.fallback());
        let (clients, other) = self.identities.iter().find_map(|it| {
            let clients = Served::of(it).but_not(fallback)?;
            Some((clients, it))
        })?;
        let asking = if names_may_be_unknown {
            "that ask for no name, as most of MySQL's do, or for one that no identity holds"
        } else {
            "that ask for no name, as most of MySQL's do"
        };
        Some(format!(
            "{clients} and {asking} are refused: the fallback is its first identity, \"{}\" ({}), \
             although identity \"{}\" ({}) would do; name that first, or give the first a twin \
             with exactly its names and such a key",
            first.name, first.facts.key_type, other.name, other.facts.key_type
        ))
    }

    /// Tells of clients that ask for a name and are shut out by its holder, although one with a star
    /// would do.
    fn exact_before_star(&self) -> Option<String> {
        let stars: HashMap<&str, (&[usize], Served)> = self
            .table
            .names()
            .filter_map(|(name, holders)| {
                let parent = name.strip_prefix("*.")?;
                // Once for each star, which may stand above thousands of names.
                Some((parent, (holders, Served::by(&self.identities, holders))))
            })
            .collect();
        let exact = self.table.names().filter(|(name, _)| !is_star(name));
        let mut shut: Vec<_> = exact
            .filter_map(|(name, holders)| {
                let (_, parent) = name.split_once('.')?;
                let (stars, served) = stars.get(parent)?;
                let holding = Served::by(&self.identities, holders);
                let clients = served.but_not(holding)?;
                Some((name, holders.first()?, stars.first()?, clients))
            })
            .collect();
        shut.sort();
        let (name, holder, star, clients) = shut.first()?;
        let (holder, star) = (self.identities.get(**holder)?, self.identities.get(**star)?);
        Some(format!(
            "{clients} and that ask for {name}{} are refused: identity \"{}\" ({}) holds that name \
             and goes before \"{}\" ({}), which holds it by a star",
            more(shut.len(), "name"),
            holder.name,
            holder.facts.key_type,
            star.name,
            star.facts.key_type
        ))
    }

    /// Tells of identities that are not shown for a name because an earlier one holds it with the same
    /// kind of key.
    fn never_shown(&self) -> Option<String> {
        let shared = self.table.names().filter(|(_, holders)| holders.len() > 1);
        let mut hidden: Vec<_> = shared
            .flat_map(|(name, holders)| {
                let hidden = self.hidden_among(holders).into_iter();
                hidden.map(move |(later, first)| (later, name, first))
            })
            .collect();
        hidden.sort_unstable();
        hidden.dedup_by_key(|(later, ..)| *later);
        let (later, name, first) = hidden.first()?;
        let (later, first) = (self.identities.get(*later)?, self.identities.get(*first)?);
        Some(format!(
            "identity \"{}\"{} is not shown to clients that ask for {name}: \"{}\" comes before it \
             and holds that name with the same kind of key ({})",
            later.name,
            more(hidden.len(), "identity"),
            first.name,
            kind(later)
        ))
    }
}

impl Presented<'_> {
    /// Returns which of the holders of a name come after one with the same kind of key, and after
    /// which.
    fn hidden_among(&self, holders: &[usize]) -> Vec<(usize, usize)> {
        let mut firsts: HashMap<&str, usize> = HashMap::new();
        let of_holder = |holder: &usize| {
            let identity = self.identities.get(*holder)?;
            let first = *firsts.entry(kind(identity)).or_insert(*holder);
            // That they hold the same certificate is told elsewhere, and no client notices.
            let is_same = self.identities.get(first)?.facts.sha256 == identity.facts.sha256;
            (!is_same).then_some((*holder, first))
        };
        holders.iter().filter_map(of_holder).collect()
    }
}

fn is_star(name: &str) -> bool {
    name.starts_with("*.")
}

/// Says how many there are beside the example.
fn more(count: usize, what: &str) -> String {
    match (count, what) {
        (0 | 1, _) => String::new(),
        (2, _) => format!(" (and one other {what})"),
        (_, "identity") => format!(" (and {} other identities)", count - 1),
        _ => format!(" (and {} other {what}s)", count - 1),
    }
}

/// Names the kind of key as clients tell them apart: RSA of any length, and each curve.
fn kind(identity: &Identity) -> &str {
    let key_type = identity.facts.key_type.as_str();
    if key_type.starts_with("rsa-") {
        "rsa"
    } else {
        key_type
    }
}

/// Which of [`CLIENTS`] are served, by place.
#[derive(Clone, Copy, Default)]
struct Served([bool; CLIENTS.len()]);

impl Served {
    fn of(identity: &Identity) -> Self {
        Self(CLIENTS.map(|(_, known)| known.contains(&kind(identity))))
    }

    fn by(identities: &[&Identity], places: &[usize]) -> Self {
        let all = places.iter().filter_map(|it| identities.get(*it));
        all.fold(Self::default(), |Self(served), identity| {
            let Self(more) = Self::of(identity);
            let mut both = served;
            for (both, more) in both.iter_mut().zip(more) {
                *both |= more;
            }
            Self(both)
        })
    }

    /// Names the clients that these serve and others do not.
    fn but_not(self, other: Self) -> Option<&'static str> {
        let served = CLIENTS.iter().zip(self.0).zip(other.0);
        served
            .rev()
            .find(|((_, here), there)| *here && !there)
            .map(|(((clients, _), _), _)| *clients)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tls::testing::{Ca, identity, listener};

    /// Returns what is told of identities, each with its names and its kind of key.
    fn told(identities: &[(&str, &[&str], &str)], strict: bool) -> Vec<String> {
        let ca = Ca::new("root");
        let identities = identities.iter().map(|(name, hosts, key_type)| {
            let mut made = identity(name, &ca.server(hosts));
            Arc::make_mut(&mut made.facts).key_type = (*key_type).to_owned();
            made.host_names = hosts.iter().map(|it| (*it).to_owned()).collect();
            Arc::new(made)
        });
        let material = Material {
            identities: identities.collect(),
            listeners: vec![],
            system_roots: vec![],
        };
        let names: Vec<&str> = material.identities.iter().map(|it| &*it.name).collect();
        let mut listener = listener(&names);
        if strict {
            listener.tls.unknown_name = UnknownName::Refuse;
        }
        ByReference::new(&material, std::slice::from_ref(&listener)).overlaps(&listener)
    }

    #[test]
    fn a_fallback_that_shuts_out_clients_of_old_is_told() {
        let fleet: [(&str, &[&str], &str); 2] =
            [("a", &["a.x"], "ecdsa-p256"), ("b", &["b.x"], "rsa-2048")];
        assert_eq!(
            told(&fleet, false),
            [
                "clients that know RSA alone and that ask for no name, as most of MySQL's do, or \
                for one that no identity holds are refused: the fallback is its first identity, \
                \"a\" (ecdsa-p256), although identity \"b\" (rsa-2048) would do; name that first, \
                or give the first a twin with exactly its names and such a key"
            ]
        );
        assert!(!told(&fleet, true)[0].contains("no identity holds"));
        let [a, b] = fleet;
        assert!(told(&[b, a], false).is_empty());
        assert!(told(&[a], false).is_empty());
    }

    #[test]
    fn a_twin_with_the_same_names_and_another_kind_of_key_is_no_overlap() {
        let twins: [(&str, &[&str], &str); 3] = [
            ("a", &["a.x", "*.x"], "ecdsa-p256"),
            ("b", &["*.X", "A.x"], "rsa-2048"),
            ("c", &["c.y"], "ed25519"),
        ];
        assert!(told(&twins, false).is_empty());
    }

    #[test]
    fn a_twin_with_other_names_stands_in_for_nobody() {
        let told = told(
            &[
                ("a", &["a.x"], "ed25519"),
                ("b", &["a.x", "b.x"], "ecdsa-p256"),
            ],
            false,
        );
        assert!(
            told[0].starts_with("clients that know neither Ed25519"),
            "{told:?}"
        );
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn an_exact_name_that_shuts_out_what_a_star_would_serve_is_told() {
        let told = told(
            &[
                ("star", &["*.x"], "rsa-2048"),
                ("a", &["a.x", "b.x"], "ecdsa-p256"),
            ],
            false,
        );
        assert_eq!(
            told,
            [
                "clients that know RSA alone and that ask for a.x (and one other name) are refused: \
                identity \"a\" (ecdsa-p256) holds that name and goes before \"star\" (rsa-2048), \
                which holds it by a star"
            ]
        );
    }

    #[test]
    fn a_star_of_a_kind_that_all_know_shuts_out_nobody() {
        let told = told(
            &[
                ("star", &["*.x"], "ecdsa-p256"),
                ("a", &["a.x"], "rsa-4096"),
            ],
            false,
        );
        // But RSA is what the fallback lacks.
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("the fallback is"), "{told:?}");
    }

    #[test]
    fn what_nobody_is_shown_is_told_once_with_its_number() {
        let told = told(
            &[
                ("a", &["a.x"], "rsa-2048"),
                ("b", &["A.x", "b.x"], "rsa-4096"),
                ("c", &["c.x", "b.x"], "rsa-2048"),
                ("d", &["a.x"], "ecdsa-p256"),
            ],
            false,
        );
        assert_eq!(
            told,
            [
                "identity \"b\" (and one other identity) is not shown to clients that ask for a.x: \
                \"a\" comes before it and holds that name with the same kind of key (rsa)"
            ]
        );
    }

    /// With time for each pair of them, this would not end.
    #[test]
    fn ten_thousand_that_all_overlap_are_told_in_a_few_lines() {
        let ca = Ca::new("root");
        let leaf = ca.server(&["x"]);
        let identities = (0..10_000).map(|n| {
            let mut made = identity(&format!("live/{n}"), &leaf);
            Arc::make_mut(&mut made.facts).sha256 = n.to_string();
            let kind = if n % 2 == 0 { "ecdsa-p256" } else { "rsa-2048" };
            kind.clone_into(&mut Arc::make_mut(&mut made.facts).key_type);
            made.host_names = vec![format!("a{n}.x"), "same.x".to_owned(), "*.x".to_owned()];
            Arc::new(made)
        });
        let material = Material {
            identities: identities.collect(),
            listeners: vec![],
            system_roots: vec![],
        };
        let listener = listener(&["live"]);
        let told = ByReference::new(&material, std::slice::from_ref(&listener)).overlaps(&listener);
        assert_eq!(told.len(), 3);
        assert!(
            told[1].contains("a0.x (and 4999 other names)"),
            "{}",
            told[1]
        );
        assert!(told[2].contains("(and 9997 other identities)"), "{told:?}");
    }

    #[test]
    fn the_order_is_that_of_the_listener_and_then_of_the_folder() {
        let ca = Ca::new("root");
        let made = ["live/a", "live/b", "lively"].map(|name| {
            let mut made = identity(name, &ca.server(&[name]));
            let kind = if name == "lively" {
                "ecdsa-p256"
            } else {
                "rsa-2048"
            };
            kind.clone_into(&mut Arc::make_mut(&mut made.facts).key_type);
            Arc::new(made)
        });
        let material = Material {
            identities: made.into(),
            listeners: vec![],
            system_roots: vec![],
        };
        let listeners = [listener(&["live", "lively"]), listener(&["lively", "live"])];
        let by = ByReference::new(&material, &listeners);
        assert!(by.overlaps(&listeners[0]).is_empty());
        let told = by.overlaps(&listeners[1]).join("");
        assert!(told.contains("\"lively\" (ecdsa-p256)"), "{told}");
        assert!(told.contains("identity \"live/a\" (rsa-2048)"), "{told}");
    }
}
