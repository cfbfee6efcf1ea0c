//! Material that was served before, for the configuration in force.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    Loaded, Outcome, bundle,
    files::named::{backend_pair_piece, clients_piece, trust_piece, wants_system_roots},
};
use crate::{
    config::{Config, IdentityFiles, Listener, OnUnknown},
    facts::{IdentityOutcome, Moment, Problem},
    tls::{
        material::{BackendTrust, Bundle, Identity, KeyPair, ListenerMaterial, Material},
        policy,
    },
    x509::certificate,
};

/// Returns what a configuration names of material that was made for another one, as far as it is there.
#[must_use]
pub fn select(config: &Config, earlier: &Material) -> Material {
    let mut identities = Vec::new();
    let index = earlier.index();
    for files in &config.identities {
        identities.extend(index.get(files.name.as_str()).copied().cloned());
    }
    for dir in &config.identity_dirs {
        let is_in = |it: &&Arc<Identity>| it.name != dir.name && it.is_meant(&dir.name);
        let mut found: Vec<_> = earlier.identities.iter().filter(is_in).cloned().collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        identities.extend(found);
    }
    let listeners = config.listeners.iter();
    let system_roots = if config.listeners.iter().any(wants_system_roots) {
        earlier.system_roots.clone()
    } else {
        Vec::new()
    };
    Material {
        identities,
        listeners: listeners.map(|it| listener_of(it, earlier)).collect(),
        system_roots,
    }
}

fn listener_of(listener: &Listener, earlier: &Material) -> ListenerMaterial {
    let found = earlier.listener(&listener.name);
    let trust = || match found?.backend.clone()? {
        BackendTrust::Roots(roots) => Some(BackendTrust::Roots(roots)),
        BackendTrust::System => None,
    };
    ListenerMaterial {
        name: listener.name.clone(),
        clients: clients_piece(listener).and_then(|_| found?.clients.clone()),
        backend: if wants_system_roots(listener) {
            Some(BackendTrust::System)
        } else {
            trust_piece(listener).and_then(|_| trust())
        },
        backend_identity: backend_pair_piece(listener)
            .and_then(|_| found?.backend_identity.clone()),
    }
}

/// Returns material that was served before, for a configuration that needs no more than it holds, as a
/// load would have brought it; `served` is what is served now.
///
/// # Errors
///
/// Returns everything that keeps it from being served at `now`: something that the configuration names is
/// not in it, a certificate that would be presented is not valid, a revocation list has ended and would
/// have clients refused, or workers could not serve it.
pub fn load_earlier(
    config: &Config,
    earlier: &Material,
    served: &Material,
    now: Timestamp,
) -> Result<Loaded, Vec<Problem>> {
    let material = select(config, earlier);
    let mut problems = missing(config, &material);
    problems.extend(ended(config, &material, now));
    if problems.is_empty() {
        let error = policy::prove(&config.listeners, &material).err();
        problems.extend(error.map(|error| problem("TLS", error.to_string())));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Loaded {
        outcomes: outcomes(config, &material, served),
        material: Some(material),
        problems: Vec::new(),
        warnings: Vec::new(),
        unseen: Vec::new(),
    })
}

fn problem(subject: impl Into<String>, reason: impl Into<String>) -> Problem {
    Problem {
        subject: subject.into(),
        file: None,
        reason: reason.into(),
    }
}

/// Returns what the configuration names and the material lacks.
fn missing(config: &Config, material: &Material) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lacks = "it was not configured then";
    let names = material.index();
    for name in config.identities.iter().map(|it| it.name.as_str()) {
        if !names.contains_key(name) {
            problems.push(problem(format!("identity \"{name}\""), lacks));
        }
    }
    let identities = material.identities.iter();
    let meant: HashSet<&str> = identities.flat_map(|it| it.references()).collect();
    for dir in &config.identity_dirs {
        if !meant.contains(dir.name.as_str()) {
            let subject = format!("identity_dir \"{}\"", dir.name);
            problems.push(problem(subject, "no identity of it was served then"));
        }
    }
    for (listener, found) in config.listeners.iter().zip(&material.listeners) {
        let wanted = [
            (clients_piece(listener), found.clients.is_some()),
            (trust_piece(listener), found.backend.is_some()),
            (
                backend_pair_piece(listener),
                found.backend_identity.is_some(),
            ),
        ];
        for (piece, is_there) in wanted {
            let piece = piece.filter(|_| !is_there);
            problems.extend(piece.map(|it| problem(it.subject, lacks)));
        }
    }
    if material.system_roots.is_empty() && config.listeners.iter().any(wants_system_roots) {
        problems.push(problem("system authorities", "none were loaded then"));
    }
    problems
}

/// Returns what time has ended since, or has not begun.
fn ended(config: &Config, material: &Material, now: Timestamp) -> Vec<Problem> {
    let mut problems = Vec::new();
    for identity in &material.identities {
        let reason = not_valid(&identity.pair, now);
        problems.extend(reason.map(|it| problem(format!("identity \"{}\"", identity.name), it)));
    }
    for (listener, found) in config.listeners.iter().zip(&material.listeners) {
        let pair = found.backend_identity.as_ref();
        let reason = pair.and_then(|pair| not_valid(pair, now));
        let about = |part: &str| format!("listener \"{}\" {part}", listener.name);
        problems.extend(reason.map(|it| problem(about("backend_tls"), it)));
        if listener.client_auth.expired_crl == OnUnknown::Refuse {
            let reason = found.clients.as_ref().and_then(|it| old_list(it, now));
            problems.extend(reason.map(|it| problem(about("client_auth"), it)));
        }
    }
    problems
}

/// Returns why a certificate may not be presented at `now`, by its period alone.
fn not_valid(pair: &KeyPair, now: Timestamp) -> Option<String> {
    let leaf = certificate::parse(pair.leaf()).ok()?;
    let (from, until) = (
        certificate::not_before(&leaf),
        certificate::not_after(&leaf),
    );
    let now = Moment::from(now);
    if now < from {
        return Some(format!(
            "its earlier certificate is not valid before {from}"
        ));
    }
    (now > until).then(|| format!("its earlier certificate expired at {until}"))
}

fn old_list(bundle: &Bundle, now: Timestamp) -> Option<String> {
    let ends = bundle.crls.iter().filter_map(|it| bundle::period(it)?.1);
    let end = ends.filter(|end| *end < now.into()).min()?;
    Some(format!(
        "a revocation list of then ended at {end}, and expired_crl = \"refuse\" would refuse clients"
    ))
}

fn outcomes(config: &Config, material: &Material, served: &Material) -> Vec<Outcome> {
    let served = served.index();
    let files = config.identities.iter().map(|it| (it.name.as_str(), it));
    let files: HashMap<&str, &IdentityFiles> = files.collect();
    let outcome = |identity: &Arc<Identity>| {
        let files = files.get(identity.name.as_str()).map(|it| (*it).clone());
        let (cert, key) = (identity.cert.clone().into(), identity.key.clone().into());
        let now = served.get(identity.name.as_str());
        let is_same = now.is_some_and(|it| it.digest == identity.digest);
        Outcome {
            files: files.unwrap_or_else(|| IdentityFiles::pem(identity.name.clone(), cert, key)),
            outcome: Some(if is_same {
                IdentityOutcome::Unchanged
            } else {
                IdentityOutcome::Updated
            }),
            disk: Some(Arc::clone(identity)),
        }
    };
    material.identities.iter().map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::testing::{self, any_identity};

    #[test]
    fn each_identity_is_looked_for_and_told_by_its_own_name() {
        let mut config = testing::config(Vec::new());
        let pem = |name: &str| IdentityFiles::pem(name, format!("{name}.crt").into(), "k".into());
        config.identities = vec![pem("a"), pem("ab"), pem("b")];
        let material = Material {
            identities: vec![any_identity("ab"), any_identity("a")],
            listeners: Vec::new(),
            system_roots: Vec::new(),
        };
        let told = missing(&config, &material);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].subject, "identity \"b\"");
        let mut served = material.clone();
        served.identities[1] = any_identity("a");
        let of = |it: Outcome| (it.files.cert, it.outcome);
        let told: Vec<_> = outcomes(&config, &material, &served)
            .into_iter()
            .map(of)
            .collect();
        assert_eq!(
            told,
            [
                ("ab.crt".into(), Some(IdentityOutcome::Unchanged)),
                ("a.crt".into(), Some(IdentityOutcome::Updated)),
            ]
        );
    }
}
