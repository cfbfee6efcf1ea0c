//! What a load did, as those who asked for it are told.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Loaded, Outcome};
use crate::{
    facts::{CertificateFacts, IdentityChange, IdentityOutcome, VerifiedIdentity},
    tls::material::{Identity, Material},
};

/// Identities by name.
type Index<'m> = HashMap<&'m str, &'m Arc<Identity>>;

impl Loaded {
    /// Tells what the load did to each identity, against what was served before.
    #[must_use]
    pub fn changes(&self, last: Option<&Material>) -> Vec<IdentityChange> {
        let served = index(self.material.as_ref().or(last));
        let last = index(last);
        let change = |it: &Outcome| {
            let name = it.files.name.as_str();
            Some(IdentityChange {
                name: name.to_owned(),
                outcome: it.outcome?,
                old: facts(&last, name),
                new: facts(&served, name),
            })
        };
        let mut changes: Vec<_> = self.outcomes.iter().filter_map(change).collect();
        if self.material.is_some() {
            changes.extend(self.removed(&last));
        }
        changes
    }

    /// Gives up what is new, so that all stays as it is.
    pub fn hold(&mut self) {
        self.material = None;
        for it in &mut self.outcomes {
            if it.outcome == Some(IdentityOutcome::Updated) {
                it.outcome = Some(IdentityOutcome::Held);
            }
        }
    }

    /// Tells of the identities that were served and are no longer anywhere.
    fn removed(&self, last: &Index<'_>) -> Vec<IdentityChange> {
        let known: HashSet<&str> = self
            .outcomes
            .iter()
            .map(|it| it.files.name.as_str())
            .collect();
        let gone = last.keys().filter(|name| !known.contains(**name));
        let mut gone: Vec<&str> = gone.copied().collect();
        gone.sort_unstable();
        let removed = |name: &str| IdentityChange {
            name: name.to_owned(),
            outcome: IdentityOutcome::Removed,
            old: facts(last, name),
            new: None,
        };
        gone.into_iter().map(removed).collect()
    }

    /// Sets every identity on disk against what is served.
    #[must_use]
    pub fn verified(&self, served: Option<&Material>) -> Vec<VerifiedIdentity> {
        let served = index(served);
        let verified = |it: &Outcome| VerifiedIdentity {
            name: it.files.name.clone(),
            cert: it.files.cert.display().to_string(),
            key: it.files.key.display().to_string(),
            disk: it.disk.as_ref().map(|it| it.facts.clone()),
            served: facts(&served, &it.files.name),
        };
        self.outcomes.iter().map(verified).collect()
    }
}

fn index(material: Option<&Material>) -> Index<'_> {
    material.map(Material::index).unwrap_or_default()
}

fn facts(of: &Index<'_>, name: &str) -> Option<CertificateFacts> {
    Some(of.get(name)?.facts.clone())
}
