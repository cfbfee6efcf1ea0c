//! Reads the pieces of a configuration and collects what is said about them.

use std::{path::Path, sync::Arc};

use super::{
    Look, Outcome,
    discover::discover,
    judge::{Judge, Verdict},
    memo::{Perishable, Shelf},
    piece::{Piece, Read},
    settle::Settler,
    sources::{backend_pair_piece, clients_piece, identity_piece, trust_piece, wants_system_roots},
};
use crate::{
    config::{Config, IdentityFiles, Listener},
    control::{IdentityOutcome, Problem},
    tls::{
        identity::{Proved, Role},
        material::{BackendTrust, Der, Identity, ListenerMaterial, Material},
        trust::bundle,
    },
};

/// Reads pieces and collects what is said about them.
pub(super) struct Loader<'m> {
    settler: Settler<'m>,
    pieces: Vec<Piece>,
    said: Said,
}

/// What was said about the pieces.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// A piece of a listener: not configured, configured and broken, or what it is.
#[derive(Debug, Clone)]
enum Found<T> {
    Absent,
    Broken,
    Good(T),
}

impl<'m> Loader<'m> {
    pub(super) fn new(look: Look<'m>) -> Self {
        let Look { memo, depth, now } = look;
        Self {
            settler: Settler { memo, depth, now },
            pieces: Vec::new(),
            said: Said::default(),
        }
    }

    /// Forgets what is not part of this configuration; returns what was said.
    pub(super) fn end(self) -> Said {
        self.settler.memo.keep(self.pieces.iter());
        self.said
    }

    /// Judges pieces of a kind and keeps what was said about them; `None` for those that are broken.
    fn settle<T: Perishable>(
        &mut self,
        pieces: Vec<Piece>,
        kind: &Shelf<T>,
        judge: impl Fn(usize, &Judge<'_>, &[Read]) -> Verdict<T> + Sync,
    ) -> Vec<Option<T>> {
        let verdicts = self.settler.settle(&pieces, kind, judge);
        self.pieces.extend(pieces);
        let mut take = |verdict: Verdict<T>| {
            self.said.warnings.extend(verdict.warnings);
            let problems = &mut self.said.problems;
            verdict.result.map_err(|it| problems.extend(it)).ok()
        };
        verdicts.into_iter().map(&mut take).collect()
    }

    /// Returns the identities to serve, unless some are missing that must be there, and what became
    /// of each.
    pub(super) fn identities(
        &mut self,
        config: &Config,
        last: Option<&Material>,
    ) -> (Option<Vec<Arc<Identity>>>, Vec<Outcome>) {
        let last_of = last.map(Material::index).unwrap_or_default();
        let found = discover(config);
        self.said.problems.extend(found.problems);
        self.said.warnings.extend(found.warnings);
        let declared = config.identities.len();
        let files = [&config.identities[..], &found.identities].concat();
        let disk = self.settle(
            files.iter().map(identity_piece).collect(),
            &self.settler.memo.identities,
            |index, at, reads| {
                let pair = at.pair(reads, Role::Server);
                pair.map(|proved| Arc::new(identity_of(&files[index], proved)))
            },
        );
        let mut served = Some(Vec::with_capacity(files.len()));
        let mut outcomes = Vec::with_capacity(files.len());
        for (index, (files, disk)) in files.into_iter().zip(disk).enumerate() {
            let last = last_of.get(files.name.as_str()).copied();
            let outcome = match outcome(disk.as_ref(), last) {
                // Somebody may be about to put it there, and the others do not wait for that.
                None if index >= declared => Some(IdentityOutcome::LeftOut),
                outcome => outcome,
            };
            if outcome.is_none() {
                served = None;
            }
            if let (Some(served), Some(it)) = (&mut served, disk.as_ref().or(last)) {
                served.push(Arc::clone(it));
            }
            outcomes.push(Outcome {
                files,
                outcome,
                disk,
            });
        }
        for dir in found.lost {
            let kept = kept_of(&dir, last);
            if kept.is_empty() {
                served = None;
            }
            outcomes.extend(kept.iter().map(|it| kept_outcome(it)));
            if let Some(served) = &mut served {
                served.extend(kept);
            }
        }
        (served, outcomes)
    }

    /// Returns what the listeners trust and show, unless some of it is missing.
    pub(super) fn listeners(
        &mut self,
        config: &Config,
        last: Option<&Material>,
    ) -> Option<Vec<ListenerMaterial>> {
        let memo = self.settler.memo;
        let listeners = &config.listeners;
        let judge = |at: &Judge<'_>, reads: &[Read]| at.bundle(reads);
        let clients = self.of_listeners(listeners, clients_piece, &memo.bundles, judge);
        let trust = self.of_listeners(listeners, trust_piece, &memo.bundles, judge);
        let pairs = &memo.backend_pairs;
        let pairs = self.of_listeners(listeners, backend_pair_piece, pairs, |at, reads| {
            at.pair(reads, Role::Client).map(|it| it.pair)
        });
        let found = listeners.iter().zip(clients).zip(trust).zip(pairs);
        let material = found.map(|(((listener, clients), trust), pair)| {
            let last = last.and_then(|it| it.listener(&listener.name));
            let system = wants_system_roots(listener).then_some(BackendTrust::System);
            let roots = trust.or_last(|| match last?.backend.clone()? {
                BackendTrust::Roots(roots) => Some(roots),
                BackendTrust::System => None,
            })?;
            Some(ListenerMaterial {
                name: listener.name.clone(),
                clients: clients.or_last(|| last?.clients.clone())?,
                backend: system.or(roots.map(BackendTrust::Roots)),
                backend_identity: pair.or_last(|| last?.backend_identity.clone())?,
            })
        });
        material.collect()
    }

    /// Judges the piece of a kind that each listener may have.
    fn of_listeners<T: Perishable>(
        &mut self,
        listeners: &[Listener],
        piece: impl Fn(&Listener) -> Option<Piece>,
        kind: &Shelf<T>,
        judge: impl Fn(&Judge<'_>, &[Read]) -> Verdict<T> + Sync,
    ) -> Vec<Found<T>> {
        let pieces: Vec<Option<Piece>> = listeners.iter().map(piece).collect();
        let configured: Vec<bool> = pieces.iter().map(Option::is_some).collect();
        let pieces = pieces.into_iter().flatten().collect();
        let mut found = self
            .settle(pieces, kind, |_, at, reads| judge(at, reads))
            .into_iter();
        let next = |configured| {
            if configured {
                found.next().flatten().map_or(Found::Broken, Found::Good)
            } else {
                Found::Absent
            }
        };
        configured.into_iter().map(next).collect()
    }

    /// Returns the authorities of the operating system, unless they are missing.
    pub(super) fn system_roots(
        &mut self,
        config: &Config,
        last: Option<&Material>,
    ) -> Option<Vec<Der>> {
        if !config.listeners.iter().any(wants_system_roots) {
            return Some(Vec::new());
        }
        match bundle::system_roots() {
            Ok(found) => {
                let odd = found.warnings.into_iter().map(about_system);
                self.said.warnings.extend(odd);
                Some(found.value)
            }
            Err(reason) => {
                self.said.problems.push(about_system(reason));
                let roots = &last?.system_roots;
                (!roots.is_empty()).then(|| roots.clone())
            }
        }
    }
}

impl<T> Found<T> {
    /// Returns what it is, or was when it was good; the outer `None` if it is broken and never was.
    #[expect(
        clippy::option_option,
        reason = "the two are as different as broken and absent"
    )]
    fn or_last(self, last: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
        match self {
            Self::Absent => Some(None),
            Self::Broken => last().map(Some),
            Self::Good(it) => Some(Some(it)),
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
        cert: files.cert.display().to_string(),
        key: files.key.display().to_string(),
        digest: proved.pair.digest(),
        pair: proved.pair,
        facts: proved.facts,
        host_names: proved.host_names,
    }
}

fn outcome(disk: Option<&Arc<Identity>>, last: Option<&Arc<Identity>>) -> Option<IdentityOutcome> {
    match (disk, last) {
        (None, None) => None,
        (None, Some(_)) => Some(IdentityOutcome::Kept),
        (Some(disk), Some(last)) if disk.digest == last.digest => Some(IdentityOutcome::Unchanged),
        (Some(_), _) => Some(IdentityOutcome::Updated),
    }
}

/// Returns what was served of a folder that cannot be looked into now.
fn kept_of(dir: &str, last: Option<&Material>) -> Vec<Arc<Identity>> {
    let identities = last.into_iter().flat_map(|it| &it.identities);
    let of_dir = identities.filter(|it| it.is_meant(dir));
    of_dir.cloned().collect()
}

fn kept_outcome(kept: &Identity) -> Outcome {
    let (cert, key) = (Path::new(&kept.cert), Path::new(&kept.key));
    Outcome {
        files: IdentityFiles::pem(kept.name.clone(), cert.to_owned(), key.to_owned()),
        outcome: Some(IdentityOutcome::Kept),
        disk: None,
    }
}
