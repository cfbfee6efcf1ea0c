//! What ends when, of all that a generation serves and trusts.
//!
//! The authorities of the operating system are left out: its updates renew them.

use std::{collections::HashMap, path::Path};

use super::Loaded;
use crate::{
    config::{BackendTlsMode, Config, Listener, OnUnknown},
    facts::{BackendStatus, CertificateFacts, Expiry, ExpiryEffect, ExpiryKind, Moment},
    tls::material::{BackendTrust, Bundle, Der, Identity, KeyPair, ListenerMaterial, Material},
    x509::{certificate, list::RevocationList, path},
};

/// What ends when.
#[derive(Debug, Default)]
pub struct Expiries {
    /// All of it, what ends first in front; `days_left` is not filled in.
    pub list: Vec<Expiry>,
    /// What is sent, of each identity by its name.
    pub paths: HashMap<String, SentPath>,
    /// The certificates that identities send behind their leaves, each once.
    pub intermediates: Vec<CertificateFacts>,
}

/// What an identity sends.
#[derive(Debug, Clone)]
pub struct SentPath {
    /// The earliest end of it.
    pub end: Moment,
    /// Where the certificates above its leaf stand among [`Expiries::intermediates`], from the leaf's issuer upwards.
    pub above: Vec<u32>,
}

impl Expiries {
    /// Lists what ends of this material.
    ///
    /// A certificate that many identities send after their leaves is read and listed once, so that
    /// ten thousand identities of one authority cost little.
    #[must_use]
    pub fn of(config: &Config, material: &Material) -> Self {
        let mut list = Vec::new();
        let mut paths = HashMap::new();
        let mut sent: HashMap<(&str, Vec<&[u8]>), Sent> = HashMap::new();
        let mut intermediates = Intermediates::default();
        for it in &material.identities {
            // The leaf's issuer decides which of the rest are followed.
            let rest = it.pair.chain.iter().skip(1).map(Der::as_bytes);
            let sent = sent.entry((&it.facts.issuer, rest.collect()));
            let sent = sent.or_insert_with(|| Sent::behind(it, &mut intermediates));
            sent.owners += 1;
            list.push(leaf(it));
            let end = sent.end.unwrap_or(Moment::MAX).min(it.facts.not_after);
            let above = sent.above.clone();
            paths.insert(it.name.clone(), SentPath { end, above });
        }
        list.extend(sent.into_values().flat_map(Sent::told));
        let mut lists = Lists::default();
        for it in &config.listeners {
            if let Some(material) = material.listener(&it.name) {
                list.extend(of_listener(it, material, &mut lists));
            }
        }
        list.sort_by_key(|it| it.ends_at);
        Self {
            list,
            paths,
            intermediates: intermediates.all,
        }
    }

    /// Lists what ends of what a load found, what ends first in front, with the days left from `now` on.
    ///
    /// Where something is broken that has no last good state, these are the identities alone that are
    /// good.
    #[must_use]
    pub fn on_disk(config: &Config, loaded: &Loaded, now: Moment) -> Vec<Expiry> {
        let good = || Material {
            identities: loaded
                .outcomes
                .iter()
                .filter_map(|it| it.disk.clone())
                .collect(),
            listeners: Vec::new(),
            system_roots: Vec::new(),
        };
        let found = match &loaded.material {
            Some(material) => Self::of(config, material),
            None => Self::of(config, &good()),
        };
        let mut list = found.list;
        for it in &mut list {
            it.days_left = it.ends_at.days_since(now);
        }
        list
    }
}

/// The certificates behind leaves, each once.
#[derive(Default)]
struct Intermediates {
    all: Vec<CertificateFacts>,
    places: HashMap<String, u32>,
}

impl Intermediates {
    /// Returns where a certificate stands among them.
    fn place(&mut self, facts: CertificateFacts) -> u32 {
        let next = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let place = self.places.entry(facts.sha256.clone()).or_insert(next);
        if *place == next {
            self.all.push(facts);
        }
        *place
    }
}

/// The certificates that follow the leaves of one or more identities.
struct Sent {
    list: Vec<Expiry>,
    /// Where they stand among all intermediates.
    above: Vec<u32>,
    end: Option<Moment>,
    owners: usize,
}

impl Sent {
    /// Returns what follows the leaf of this identity, the first of its owners.
    fn behind(identity: &Identity, intermediates: &mut Intermediates) -> Self {
        let owner = format!("identity \"{}\"", identity.name);
        let followed = chain(&identity.pair.chain, |it| {
            let told = Expiry {
                owner: owner.clone(),
                file: Some(identity.cert.clone()),
                ..expiry(it, ExpiryKind::Intermediate, ExpiryEffect::ClientsRefuse)
            };
            (told, certificate::facts(it))
        });
        let (list, above): (Vec<_>, Vec<_>) = followed.into_iter().skip(1).unzip();
        let places = above.into_iter().map(|it| intermediates.place(it));
        Self {
            above: places.collect(),
            end: list.iter().map(|it| it.ends_at).min(),
            list,
            owners: 0,
        }
    }

    fn told(mut self) -> Vec<Expiry> {
        if let Some(more @ 1..) = self.owners.checked_sub(1) {
            for it in &mut self.list {
                it.owner = format!("{} and {more} more", it.owner);
            }
        }
        self.list
    }
}

type Certificate<'a> = x509_parser::certificate::X509Certificate<'a>;

/// Returns something for each certificate that is followed, the leaf first.
fn chain<T>(chain: &[Der], make: impl Fn(&Certificate<'_>) -> T) -> Vec<T> {
    let parsed: Vec<_> = chain
        .iter()
        .filter_map(|it| certificate::parse(it.as_bytes()).ok())
        .collect();
    path::followed(&parsed).iter().map(make).collect()
}

fn expiry(it: &Certificate<'_>, kind: ExpiryKind, effect: ExpiryEffect) -> Expiry {
    Expiry {
        kind,
        owner: String::new(),
        name: it.subject().to_string(),
        file: None,
        starts_at: certificate::not_before(it),
        ends_at: certificate::not_after(it),
        days_left: 0,
        effect,
    }
}

fn leaf(identity: &Identity) -> Expiry {
    Expiry {
        kind: ExpiryKind::Identity,
        owner: format!("identity \"{}\"", identity.name),
        name: identity.facts.subject.clone(),
        file: Some(identity.cert.clone()),
        starts_at: identity.facts.not_before,
        ends_at: identity.facts.not_after,
        days_left: 0,
        effect: ExpiryEffect::ClientsRefuse,
    }
}

fn of_listener<'m>(
    listener: &Listener,
    material: &'m ListenerMaterial,
    known: &mut Lists<'m>,
) -> Vec<Expiry> {
    let (auth, backend) = (&listener.client_auth, &listener.backend_tls);
    let mut all = Vec::new();
    if let Some(bundle) = &material.clients {
        let owner = format!("listener \"{}\" client_auth", listener.name);
        let lists = match auth.expired_crl {
            OnUnknown::Refuse => ExpiryEffect::RefusesClients,
            OnUnknown::Accept => ExpiryEffect::AcceptedAnyway,
        };
        all.extend(authorities(
            bundle,
            ExpiryKind::ClientAuthority,
            &owner,
            auth.ca.as_deref(),
        ));
        all.extend(known.of(bundle, lists, &owner, &auth.crl));
    }
    let owner = format!("listener \"{}\" backend_tls", listener.name);
    if let Some(BackendTrust::Roots(bundle)) = &material.backend {
        all.extend(authorities(
            bundle,
            ExpiryKind::BackendAuthority,
            &owner,
            backend.ca.as_deref(),
        ));
        let accepted = ExpiryEffect::AcceptedAnyway;
        all.extend(known.of(bundle, accepted, &owner, &backend.crl));
    }
    if let Some(pair) = &material.backend_identity {
        all.extend(towards_backend(pair, &owner, backend.cert.as_deref()));
    }
    all
}

/// Trust in an authority does not end with its certificate (RFC 5280 §6.1 takes a name and a key).
fn authorities(bundle: &Bundle, kind: ExpiryKind, owner: &str, file: Option<&Path>) -> Vec<Expiry> {
    let roots = bundle.roots.iter();
    roots
        .filter_map(|der| {
            let root = certificate::parse(der.as_bytes()).ok()?;
            Some(Expiry {
                owner: owner.to_owned(),
                file: file.map(|it| it.display().to_string()),
                ..expiry(&root, kind, ExpiryEffect::AcceptedAnyway)
            })
        })
        .collect()
}

/// What is told of revocation lists, by their bytes: one that many listeners share is parsed once.
#[derive(Default)]
struct Lists<'m>(HashMap<&'m [u8], Option<Listed>>);

/// A revocation list that ends.
#[derive(Clone)]
struct Listed {
    issuer: String,
    from: Moment,
    end: Moment,
}

impl Listed {
    /// Lists without a next update never end.
    fn read(der: &[u8]) -> Option<Self> {
        let list = RevocationList::parse(der).ok()?;
        Some(Self {
            issuer: list.issuer_name().to_owned(),
            from: list.age().0,
            end: list.next_update()?,
        })
    }
}

impl<'m> Lists<'m> {
    fn find(&mut self, der: &'m Der, read: impl Fn(&[u8]) -> Option<Listed>) -> Option<Listed> {
        let known = self.0.entry(der.as_bytes());
        known.or_insert_with_key(|der| read(der)).clone()
    }

    fn of(
        &mut self,
        bundle: &'m Bundle,
        effect: ExpiryEffect,
        owner: &str,
        files: &[impl AsRef<Path>],
    ) -> Vec<Expiry> {
        let file = match files {
            [file] => Some(file.as_ref().display().to_string()),
            _ => None,
        };
        let lists = bundle.crls.iter();
        let lists = lists.filter_map(|der| self.find(der, Listed::read));
        lists
            .map(|it| Expiry {
                kind: ExpiryKind::RevocationList,
                owner: owner.to_owned(),
                name: it.issuer,
                file: file.clone(),
                starts_at: it.from,
                ends_at: it.end,
                days_left: 0,
                effect,
            })
            .collect()
    }
}

fn towards_backend(pair: &KeyPair, owner: &str, file: Option<&Path>) -> Vec<Expiry> {
    let kind = ExpiryKind::BackendClientCertificate;
    chain(&pair.chain, |it| Expiry {
        owner: owner.to_owned(),
        file: file.map(|it| it.display().to_string()),
        ..expiry(it, kind, ExpiryEffect::BackendsRefuse)
    })
}

/// Returns when the certificate ends that a backend of this listener showed last.
#[must_use]
pub fn shown(listener: &Listener, backend: &BackendStatus) -> Option<Expiry> {
    let facts = backend.certificate.as_ref()?;
    let effect = match listener.backend_tls.mode {
        BackendTlsMode::VerifyCa | BackendTlsMode::VerifyFull => ExpiryEffect::RefusesBackend,
        _ => ExpiryEffect::AcceptedAnyway,
    };
    Some(Expiry {
        kind: ExpiryKind::BackendCertificate,
        owner: format!("listener \"{}\" backend {}", listener.name, backend.address),
        name: facts.subject.clone(),
        file: None,
        starts_at: facts.not_before,
        ends_at: facts.not_after,
        days_left: 0,
        effect,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tls::testing::{Ca, config, der_of, identity};

    #[test]
    fn a_list_that_many_listeners_share_is_parsed_once() {
        let ca = Ca::new("authority");
        let leaf = ca.server(&["db.example.com"]);
        let lists = [2030, 2031].map(|year| der_of(&ca.revoke(&leaf, year)));
        let parsed = std::cell::Cell::new(0);
        let read = |der: &[u8]| {
            parsed.set(parsed.get() + 1);
            Listed::read(der)
        };
        let mut known = Lists::default();
        let shared = [&lists[0], &lists[0].clone(), &lists[1]];
        let ends: Vec<_> = shared.map(|it| known.find(it, read).unwrap().end).into();
        assert_eq!(parsed.get(), 2);
        assert_eq!(ends[0], ends[1]);
        assert!(ends[1] < ends[2]);
    }

    #[test]
    fn an_intermediate_of_many_is_listed_once() {
        let between = Ca::new("root").intermediate("between");
        let identities = ["a", "b"].map(|name| {
            let mut it = identity(name, &between.server(&["db.example.com"]));
            it.pair.chain.push(between.der());
            Arc::new(it)
        });
        let material = Material {
            identities: identities.to_vec(),
            listeners: vec![],
            system_roots: vec![],
        };
        let found = Expiries::of(&config(vec![]), &material);
        assert_eq!(found.paths.len(), 2);
        assert_eq!(found.list.len(), 3);
        let mut between = found.list.iter();
        let between = between.find(|it| it.kind == ExpiryKind::Intermediate);
        let told = "identity \"a\" and 1 more: its intermediate CN=between";
        assert_eq!(between.unwrap().to_string(), told);
        let above = |name| found.paths[name].above.clone();
        assert_eq!((above("a"), above("b")), (vec![0], vec![0]));
        assert_eq!(found.intermediates.len(), 1);
        assert_eq!(found.intermediates[0].subject, "CN=between");
    }
}
