//! Reads the pieces of a configuration and collects what is said about them.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{
    Look, Outcome, Owner, Programs, bundle,
    files::{
        memo::{Memo, Perishable, Shelf},
        named::{
            backend_pair_piece, clients_piece, identity_piece, trust_piece, wants_system_roots,
        },
        parts::Parts,
        piece::{Piece, Read},
    },
    identity::{Proved, Role},
    judge::{Judge, Verdict},
    lookup::Lookup,
    settle::Settler,
    source::{Item, Origin, Source},
};
use crate::{
    config::{Config, IdentityDir, IdentityFiles, Listener},
    facts::{IdentityOutcome, Problem},
    tls::material::{BackendTrust, Der, Identity, ListenerMaterial, Material},
};

/// Reads pieces and collects what is said about them.
pub(super) struct Loader<'m, S> {
    settler: Settler<S>,
    memo: &'m Memo,
    programs: Programs<'m>,
    owner: Owner,
    pieces: Vec<Piece>,
    said: Said,
}

/// What was said about the pieces.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) unseen: Vec<Problem>,
}

/// A piece of a listener: not configured, configured and broken, or what it is.
#[derive(Debug, Clone)]
enum Found<T> {
    Absent,
    Broken,
    Good(T),
}

impl<'m, S: Source> Loader<'m, S> {
    pub(super) fn new(source: S, look: Look<'m>) -> Self {
        let Look {
            memo,
            depth,
            now,
            programs,
            owner,
        } = look;
        Self {
            owner,
            settler: Settler { source, depth, now },
            memo,
            programs,
            pieces: Vec::new(),
            said: Said::default(),
        }
    }

    /// Forgets what is not part of this configuration; returns what was said.
    pub(super) fn end(self) -> Said {
        self.memo.keep(self.owner, self.pieces.iter());
        self.said
    }

    /// Judges pieces of a kind and keeps what was said about them; `None` for those that are broken
    /// or may not be opened.
    fn settle<T: Perishable>(
        &mut self,
        pieces: Vec<Piece>,
        kind: &Shelf<T>,
        judge: impl Fn(usize, &Judge<'_>, &Parts<Read>) -> Verdict<T> + Sync,
    ) -> Vec<Option<T>> {
        let pieces = pieces.into_iter().enumerate();
        let (open, closed): (Vec<_>, Vec<_>) =
            pieces.partition(|(_, piece)| self.programs.include(&piece.form));
        let (places, open): (Vec<usize>, Vec<Piece>) = open.into_iter().unzip();
        let verdicts = self.settler.settle(&open, kind, |index, at, reads| {
            judge(places[index], at, reads)
        });
        self.pieces.extend(open);
        let mut found = Vec::new();
        for (place, verdict) in places.into_iter().zip(verdicts) {
            found.push((place, self.take(verdict)));
        }
        for (place, piece) in closed {
            found.push((place, self.recall(&piece, kind)));
            self.pieces.push(piece);
        }
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, found)| found).collect()
    }

    fn take<T>(&mut self, verdict: Verdict<T>) -> Option<T> {
        self.said.warnings.extend(verdict.warnings);
        let problems = &mut self.said.problems;
        verdict.result.map_err(|it| problems.extend(it)).ok()
    }

    /// Returns what is known of a piece that may not be opened.
    fn recall<T: Perishable>(&mut self, piece: &Piece, kind: &Shelf<T>) -> Option<T> {
        if let Some(verdict) = self.settler.recall(piece, kind) {
            return self.take(verdict);
        }
        let reason = "it was not looked at, because the configuration that names its \
            passphrase_command is not in force; a reload or `proxyctl verify` runs that";
        self.said.unseen.push(Problem {
            subject: piece.subject.clone(),
            file: None,
            reason: reason.to_owned(),
        });
        None
    }

    /// Returns the identities to serve, unless some are missing that must be there, and what became
    /// of each.
    pub(super) fn identities(
        &mut self,
        config: &Config,
        last: Option<&Material>,
    ) -> (Option<Vec<Arc<Identity>>>, Vec<Outcome>) {
        let mut last_of = Lookup::of(last);
        let found = self.settler.source.stock(config);
        self.said.problems.extend(found.problems);
        self.said.warnings.extend(found.warnings);
        let items = found.items;
        let disk = self.settle(
            items.iter().map(|it| identity_piece(&it.files)).collect(),
            &self.memo.identities,
            |index, at, reads| {
                let Item { origin, files } = &items[index];
                let proved = match origin {
                    Origin::Configured => at.pair(reads, Role::Server).map(Some),
                    Origin::Entry => at.entry(reads),
                };
                proved.map(|it| it.map(|it| Arc::new(identity_of(files, it))))
            },
        );
        let mut gathered = Gathered::default();
        let mut nothing = found.hollow;
        let mut strays = Vec::new();
        for (Item { origin, files }, disk) in items.into_iter().zip(disk) {
            if let Some(None) = disk {
                strays.push(files.name.clone());
                nothing.push((files.name.clone(), only_authorities(&files)));
                continue;
            }
            let disk = disk.flatten();
            let last = last_of.find(&files.name);
            let outcome = match outcome(disk.as_ref(), last) {
                // A program may be about to write it, and the others do not wait for that.
                None if origin == Origin::Entry => Some(IdentityOutcome::LeftOut),
                outcome => outcome,
            };
            gathered.add(files, outcome, disk, last);
        }
        for (name, problem) in nothing {
            if let Some(last) = last_of.find(&name) {
                self.said.problems.push(problem);
                gathered.keep(last);
            } else {
                self.said.warnings.push(problem);
            }
        }
        for dir in &config.identity_dirs {
            let is_lost = found.lost.contains(&dir.name);
            // Its listeners would have nothing to present.
            if is_lost || !gathered.served.iter().any(|it| it.is_meant(&dir.name)) {
                if !is_lost && strays.iter().any(|it| is_in(it, dir)) {
                    self.said.problems.push(no_identity(dir));
                }
                gathered.keep_all(kept_of(&dir.name, last));
            }
        }
        gathered.end(config)
    }

    /// Returns what the listeners trust and show, unless some of it is missing.
    pub(super) fn listeners(
        &mut self,
        config: &Config,
        last: Option<&Material>,
    ) -> Option<Vec<ListenerMaterial>> {
        let memo = self.memo;
        let listeners = &config.listeners;
        let judge = |at: &Judge<'_>, reads: &Parts<Read>| at.bundle(reads);
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
        judge: impl Fn(&Judge<'_>, &Parts<Read>) -> Verdict<T> + Sync,
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

fn only_authorities(files: &IdentityFiles) -> Problem {
    Problem {
        subject: format!("identity \"{}\"", files.name),
        file: Some(files.cert.display().to_string()),
        reason: "it holds authorities and no key, and is no identity".to_owned(),
    }
}

fn is_in(name: &str, dir: &IdentityDir) -> bool {
    name.split_once('/').is_some_and(|(it, _)| it == dir.name)
}

fn no_identity(dir: &IdentityDir) -> Problem {
    Problem {
        subject: format!("identity_dir \"{}\"", dir.name),
        file: Some(dir.path.display().to_string()),
        reason: "no good identity is in the folder, only authorities".to_owned(),
    }
}

fn identity_of(files: &IdentityFiles, proved: Proved) -> Identity {
    Identity {
        name: files.name.clone(),
        cert: files.cert.display().to_string(),
        key: files.key.display().to_string(),
        digest: proved.pair.digest(),
        pair: proved.pair,
        facts: Arc::new(proved.facts),
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

/// Returns what was served of a folder of which nothing can be served now.
fn kept_of<'m>(dir: &str, last: Option<&'m Material>) -> Vec<&'m Arc<Identity>> {
    let identities = last.into_iter().flat_map(|it| &it.identities);
    identities.filter(|it| it.is_meant(dir)).collect()
}

/// Identities to serve and what became of each, as they are found.
struct Gathered {
    served: Vec<Arc<Identity>>,
    outcomes: Vec<Outcome>,
    /// Whether all are there that must be.
    is_whole: bool,
}

impl Default for Gathered {
    fn default() -> Self {
        Self {
            served: Vec::new(),
            outcomes: Vec::new(),
            is_whole: true,
        }
    }
}

impl Gathered {
    fn add(
        &mut self,
        files: IdentityFiles,
        outcome: Option<IdentityOutcome>,
        disk: Option<Arc<Identity>>,
        last: Option<&Arc<Identity>>,
    ) {
        self.is_whole &= outcome.is_some();
        self.served.extend(disk.as_ref().or(last).cloned());
        self.outcomes.push(Outcome {
            files,
            outcome,
            disk,
        });
    }

    /// Goes on serving what is not there now.
    fn keep(&mut self, last: &Arc<Identity>) {
        self.served.push(Arc::clone(last));
        self.outcomes.push(kept_outcome(last));
    }

    /// Goes on serving a folder in which nothing is good now.
    fn keep_all(&mut self, kept: Vec<&Arc<Identity>>) {
        self.is_whole &= !kept.is_empty();
        for it in kept {
            self.keep(it);
        }
    }

    /// Puts all in the order of the configuration, whatever order they were found in.
    fn end(mut self, config: &Config) -> (Option<Vec<Arc<Identity>>>, Vec<Outcome>) {
        let identities = config.identities.iter().map(|it| it.name.as_str());
        let dirs = config.identity_dirs.iter().map(|it| it.name.as_str());
        let places: HashMap<&str, usize> = identities.chain(dirs).zip(0..).collect();
        let place = |name: &str| {
            let holder = name.split_once('/').map_or(name, |(dir, _)| dir);
            places.get(holder).copied()
        };
        let compare = |one: &str, other: &str| (place(one), one).cmp(&(place(other), other));
        self.served
            .sort_by(|one, other| compare(&one.name, &other.name));
        self.outcomes
            .sort_by(|one, other| compare(&one.files.name, &other.files.name));
        (self.is_whole.then_some(self.served), self.outcomes)
    }
}

fn kept_outcome(kept: &Identity) -> Outcome {
    let (cert, key) = (Path::new(&kept.cert), Path::new(&kept.key));
    Outcome {
        files: IdentityFiles::pem(kept.name.clone(), cert.to_owned(), key.to_owned()),
        outcome: Some(IdentityOutcome::Kept),
        disk: None,
    }
}
