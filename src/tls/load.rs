//! Files to [`Material`], piece by piece.
//!
//! A piece is an identity, a listener's client bundle, its backend trust or its backend identity.
//! One that is broken on disk stays at its last good state, and every problem is told, not only
//! the first. Without a last good state of every broken piece there is no material at all. An
//! unknown listener or identity name is no reason to guess: pieces are matched by name only.

use std::path::Path;

use jiff::Timestamp;

use super::{
    bundle,
    identity::{Proved, Role},
    judge::{Judge, Verdict},
    material::{
        BackendTrust, ClientBundle, ContentHash, Der, Identity, KeyPair, ListenerMaterial, Material,
    },
    settle::{FileSet, Read, Settled},
    sources::{
        backend_pair_files, client_files, file_sets, identity_files, trust_files,
        wants_system_roots,
    },
};
use crate::{
    config::{Config, Doubt, IdentityFiles, Listener},
    control::{CertificateFacts, IdentityChange, IdentityOutcome, Problem, VerifiedIdentity},
};

/// What reading the files of a configuration gave.
#[derive(Debug)]
pub struct Loaded {
    /// What can be served; `None` when a broken piece has no last good state.
    pub material: Option<Material>,
    /// What is wrong on disk.
    pub problems: Vec<Problem>,
    /// What is odd on disk but loads.
    pub warnings: Vec<Problem>,
    /// What became of each identity, in the order of the configuration.
    pub outcomes: Vec<Outcome>,
}

/// What became of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What happened to it; `None` when it is broken and was never served.
    pub outcome: Option<IdentityOutcome>,
    /// What is on disk; `None` if it does not load.
    pub disk: Option<CertificateFacts>,
}

/// Reads and checks all files of a configuration, as of `now`.
///
/// Blocks, for up to half a second a piece when files are being written.
#[must_use]
pub fn load(config: &Config, last: Option<&Material>, now: Timestamp) -> Loaded {
    let mut loader = Loader {
        now,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let (identities, outcomes) = loader.identities(config, last);
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|it| loader.listener(it, last))
        .collect();
    let system_roots = loader.system_roots(config, last);
    Loaded {
        material: assemble(identities, listeners, system_roots),
        problems: loader.problems,
        warnings: loader.warnings,
        outcomes,
    }
}

/// Returns SHA-256 over what the files of a configuration hold now, without judging any of it.
///
/// Much cheaper than [`load`]: while it stays the same, only the passing of time can change what
/// `load` would say. The operating system's authorities are not in it.
#[must_use]
pub fn fingerprint(config: &Config) -> [u8; 32] {
    let mut hash = ContentHash::new();
    for set in file_sets(config) {
        hash.field("files", &set.digest(&set.read()));
    }
    hash.finish()
}

impl Loaded {
    /// Tells what the load did to each identity that is served, against what was served before.
    #[must_use]
    pub fn changes(&self, last: Option<&Material>) -> Vec<IdentityChange> {
        let change = |it: &Outcome| {
            let served = self.material.as_ref()?.identity(&it.name)?;
            Some(IdentityChange {
                name: it.name.clone(),
                outcome: it.outcome?,
                old: facts_in(last, &it.name),
                new: served.facts.clone(),
            })
        };
        self.outcomes.iter().filter_map(change).collect()
    }

    /// Sets every configured identity on disk against what is served.
    #[must_use]
    pub fn verified(&self, config: &Config, served: Option<&Material>) -> Vec<VerifiedIdentity> {
        let disk = |name: &str| {
            let outcome = self.outcomes.iter().find(|it| it.name == name)?;
            outcome.disk.clone()
        };
        config
            .identities
            .iter()
            .map(|files| VerifiedIdentity {
                name: files.name.clone(),
                cert: shown(&files.cert),
                key: shown(&files.key),
                disk: disk(&files.name),
                served: facts_in(served, &files.name),
            })
            .collect()
    }
}

fn facts_in(material: Option<&Material>, name: &str) -> Option<CertificateFacts> {
    Some(material?.identity(name)?.facts.clone())
}

fn assemble(
    identities: Vec<Option<Identity>>,
    listeners: Vec<Option<ListenerMaterial>>,
    system_roots: Option<Vec<Der>>,
) -> Option<Material> {
    Some(Material {
        identities: identities.into_iter().collect::<Option<_>>()?,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        system_roots: system_roots?,
    })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Collects what is said while pieces are read.
struct Loader {
    now: Timestamp,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Loader {
    /// Judges a piece and keeps what was said about it.
    fn piece<T>(
        &mut self,
        subject: String,
        files: FileSet,
        judge: impl Fn(&Judge, &[Read]) -> Verdict<T>,
    ) -> Option<T> {
        let at = Judge::new(subject, files, self.now);
        let settled = at
            .files()
            .settle(|reads| judge(&at, reads), |it| it.result.is_ok());
        let verdict = match settled {
            Settled::Verdict(verdict) => verdict,
            Settled::Restless => Verdict::bad(vec![at.restless()]),
        };
        self.warnings.extend(verdict.warnings);
        verdict.result.map_err(|it| self.problems.extend(it)).ok()
    }

    fn identities(
        &mut self,
        config: &Config,
        last: Option<&Material>,
    ) -> (Vec<Option<Identity>>, Vec<Outcome>) {
        config
            .identities
            .iter()
            .map(|files| self.identity(files, last.and_then(|it| it.identity(&files.name))))
            .unzip()
    }

    fn identity(
        &mut self,
        files: &IdentityFiles,
        last: Option<&Identity>,
    ) -> (Option<Identity>, Outcome) {
        let subject = format!("identity \"{}\"", files.name);
        let proved = self.piece(subject, identity_files(files), |at, reads| {
            at.pair(reads, Role::Server)
        });
        let disk = proved.map(|it| identity_of(files, it));
        let outcome = Outcome {
            name: files.name.clone(),
            outcome: outcome(disk.as_ref(), last),
            disk: disk.as_ref().map(|it| it.facts.clone()),
        };
        (disk.or_else(|| last.cloned()), outcome)
    }

    fn listener(
        &mut self,
        listener: &Listener,
        last: Option<&Material>,
    ) -> Option<ListenerMaterial> {
        let last = last.and_then(|it| it.listener(&listener.name));
        // All three are read before one that is missing ends it, so that every problem is told.
        let clients = self.clients(listener, last);
        let backend = self.backend(listener, last);
        let backend_identity = self.backend_identity(listener, last);
        Some(ListenerMaterial {
            name: listener.name.clone(),
            clients: clients?,
            backend: backend?,
            backend_identity: backend_identity?,
        })
    }

    /// The outer `None` is a broken piece without a last good state; the inner, none configured.
    #[expect(
        clippy::option_option,
        reason = "the two are as different as broken and absent"
    )]
    fn clients(
        &mut self,
        listener: &Listener,
        last: Option<&ListenerMaterial>,
    ) -> Option<Option<ClientBundle>> {
        let Some(files) = client_files(&listener.client_auth) else {
            return Some(None);
        };
        let subject = format!("listener \"{}\" client_auth", listener.name);
        let expired = listener.client_auth.expired_crl;
        self.piece(subject, files, |at, reads| at.clients(reads, expired))
            .or_else(|| last?.clients.clone())
            .map(Some)
    }

    #[expect(
        clippy::option_option,
        reason = "the two are as different as broken and absent"
    )]
    fn backend(
        &mut self,
        listener: &Listener,
        last: Option<&ListenerMaterial>,
    ) -> Option<Option<BackendTrust>> {
        if wants_system_roots(listener) {
            return Some(Some(BackendTrust::System));
        }
        let Some(files) = trust_files(&listener.backend_tls) else {
            return Some(None);
        };
        let subject = format!("listener \"{}\" backend_tls", listener.name);
        self.piece(subject, files, |at, reads| at.clients(reads, Doubt::Accept))
            .map(BackendTrust::Roots)
            .or_else(|| {
                last?
                    .backend
                    .clone()
                    .filter(|it| matches!(it, BackendTrust::Roots(_)))
            })
            .map(Some)
    }

    #[expect(
        clippy::option_option,
        reason = "the two are as different as broken and absent"
    )]
    fn backend_identity(
        &mut self,
        listener: &Listener,
        last: Option<&ListenerMaterial>,
    ) -> Option<Option<KeyPair>> {
        let Some(files) = backend_pair_files(&listener.backend_tls) else {
            return Some(None);
        };
        let subject = format!("listener \"{}\" backend_tls", listener.name);
        self.piece(subject, files, |at, reads| at.pair(reads, Role::Client))
            .map(|it| it.pair)
            .or_else(|| last?.backend_identity.clone())
            .map(Some)
    }

    fn system_roots(&mut self, config: &Config, last: Option<&Material>) -> Option<Vec<Der>> {
        if !config.listeners.iter().any(wants_system_roots) {
            return Some(Vec::new());
        }
        match bundle::system_roots() {
            Ok(found) => {
                let odd = found.warnings.into_iter().map(about_system);
                self.warnings.extend(odd);
                Some(found.value)
            }
            Err(reason) => {
                self.problems.push(about_system(reason));
                let roots = &last?.system_roots;
                (!roots.is_empty()).then(|| roots.clone())
            }
        }
    }
}

fn about_system(reason: String) -> Problem {
    Problem {
        subject: "system authorities".to_owned(),
        file: None,
        reason,
    }
}

fn identity_of(files: &IdentityFiles, proved: Proved) -> Identity {
    Identity {
        name: files.name.clone(),
        cert: shown(&files.cert),
        key: shown(&files.key),
        digest: proved.pair.digest(),
        pair: proved.pair,
        facts: proved.facts,
    }
}

fn outcome(disk: Option<&Identity>, last: Option<&Identity>) -> Option<IdentityOutcome> {
    match (disk, last) {
        (None, None) => None,
        (None, Some(_)) => Some(IdentityOutcome::Kept),
        (Some(disk), Some(last)) if disk.digest == last.digest => Some(IdentityOutcome::Unchanged),
        (Some(_), _) => Some(IdentityOutcome::Updated),
    }
}

#[cfg(test)]
mod tests;
