//! What a load did, as those who asked for it are told.

use std::{collections::HashSet, sync::Arc};

use super::{Loaded, Outcome, lookup::Lookup};
use crate::{
    facts::{CertificateFacts, IdentityChange, IdentityOutcome, VerifiedIdentity},
    tls::material::{Identity, Material},
};

/// The most identities of which those are listed that stay as they were.
const FEW: usize = 100;

/// What a load did to identities.
#[derive(Debug, Default)]
pub struct Changes {
    /// What became of each identity; of those that stay as they were only if there are few identities.
    pub identities: Vec<IdentityChange>,
    /// How many stay as they were.
    pub unchanged: usize,
}

impl Loaded {
    /// Tells what the load did to each identity, against what was served before.
    #[must_use]
    pub fn changes(&self, last: Option<&Material>) -> Changes {
        let mut served = Lookup::of(self.material.as_ref().or(last));
        let mut before = Lookup::of(last);
        let (mut stay, mut unchanged) = (0, 0);
        let few = self.outcomes.len() <= FEW;
        let change = |it: &Outcome| {
            let name = it.files.name.as_str();
            let (old, new) = (before.find(name), served.find(name));
            stay += usize::from(old.is_some());
            let outcome = it.outcome?;
            let stays = outcome == IdentityOutcome::Unchanged;
            unchanged += usize::from(stays);
            (few || !stays).then(|| IdentityChange {
                name: name.to_owned(),
                outcome,
                old: old.map(facts),
                new: new.map(facts),
            })
        };
        let mut identities: Vec<_> = self.outcomes.iter().filter_map(change).collect();
        let all = last.map_or(&[][..], |it| &it.identities);
        if self.material.is_some() && stay < all.len() {
            identities.extend(self.removed(all));
        }
        Changes {
            identities,
            unchanged,
        }
    }

    /// Returns whether this is what is served, with nothing broken and nothing left out.
    #[must_use]
    pub fn is_served(&self, served: &Material) -> bool {
        let unchanged = Some(IdentityOutcome::Unchanged);
        self.material.as_ref().is_some_and(|it| it.is_same(served))
            && self.problems.is_empty()
            && self.outcomes.iter().all(|it| it.outcome == unchanged)
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
    fn removed(&self, last: &[Arc<Identity>]) -> Vec<IdentityChange> {
        let known: HashSet<&str> = self
            .outcomes
            .iter()
            .map(|it| it.files.name.as_str())
            .collect();
        let gone = last.iter().filter(|it| !known.contains(it.name.as_str()));
        let mut gone: Vec<_> = gone.collect();
        gone.sort_unstable_by_key(|it| &it.name);
        let removed = |it: &Arc<Identity>| IdentityChange {
            name: it.name.clone(),
            outcome: IdentityOutcome::Removed,
            old: Some(facts(it)),
            new: None,
        };
        gone.into_iter().map(removed).collect()
    }

    /// Sets every identity on disk against what is served.
    #[must_use]
    pub fn verified(&self, served: Option<&Material>) -> Vec<VerifiedIdentity> {
        let mut served = Lookup::of(served);
        let verified = |it: &Outcome| VerifiedIdentity {
            name: it.files.name.clone(),
            cert: it.files.cert.display().to_string(),
            key: it.files.key.display().to_string(),
            disk: it.disk.as_ref().map(facts),
            served: served.find(&it.files.name).map(facts),
        };
        self.outcomes.iter().map(verified).collect()
    }
}

fn facts(of: &Arc<Identity>) -> Arc<CertificateFacts> {
    Arc::clone(&of.facts)
}
