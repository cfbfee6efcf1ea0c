//! What is on disk to [`Material`], piece by piece; the supervisor alone uses it.
//!
//! A piece is an identity, a listener's client bundle, its backend trust or its backend identity.
//! One that is broken on disk stays at its last good state, and every problem is told, not only
//! the first. Without a last good state of every broken piece there is no material at all, but for
//! an identity that turned up in a folder: that one is left out. An unknown listener or identity
//! name is no reason to guess: pieces are matched by name only.
//!
//! `source` is the seam to where pieces lie, and `files` the only source. `settle` has what a source
//! holds judged once it stands still, `judge` does that, and `loader` puts the verdicts together.

pub mod client;
pub mod create;
pub mod expiries;
pub mod fuzzing;

mod binding;
mod bundle;
mod earlier;
mod files;
mod identity;
mod issue;
mod judge;
mod lints;
mod lists;
mod loader;
mod lookup;
mod overlaps;
mod report;
mod settle;
mod source;

use std::sync::Arc;

use jiff::Timestamp;

pub use self::{
    binding::Shown,
    earlier::{load_earlier, select},
    files::{
        memo::{Depth, Memo, Owner},
        survey::{Survey, fingerprint},
    },
    lints::KeptOut,
    report::Changes,
};
use self::{
    files::{mounted::Mounted, source::Files},
    loader::Loader,
};
use crate::{
    config::{Config, IdentityFiles, PairForm},
    facts::{IdentityOutcome, Problem},
    tls::{
        material::{Der, Identity, ListenerMaterial, Material},
        policy,
    },
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
    /// What was not looked at, as it needs a program that may not be run or lies behind a mount.
    pub unseen: Vec<Problem>,
    /// What became of each identity, in the order of [`Material::identities`].
    pub outcomes: Vec<Outcome>,
}

/// What became of an identity.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Where it is.
    pub files: IdentityFiles,
    /// What happened to it; `None` when it is broken and nothing can be served without it.
    pub outcome: Option<IdentityOutcome>,
    /// What is on disk; `None` if it does not load.
    pub disk: Option<Arc<Identity>>,
}

/// How a configuration's files are read.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// What earlier reads found.
    pub memo: &'a Memo,
    /// How far that is believed.
    pub depth: Depth,
    /// The time by which certificates are judged.
    pub now: Timestamp,
    /// What may be run for passphrases.
    pub programs: Programs<'a>,
    /// Whose configuration it is.
    pub owner: Owner,
}

/// Which programs may be run for passphrases.
#[derive(Debug, Clone, Copy)]
pub enum Programs<'a> {
    /// All that the configuration names whose files are read.
    All,
    /// Those that this configuration names too, because it is in force.
    Of(&'a Config),
}

impl Programs<'_> {
    /// Returns whether what opens a pair's key may be run, if that is a program.
    fn include(self, form: &PairForm) -> bool {
        let Self::Of(config) = self else {
            return true;
        };
        let identities = config.identities.iter().map(|it| &it.form);
        let backends = config.listeners.iter().map(|it| &it.backend_tls.form);
        let mut known = identities.chain(backends);
        !form.runs_program() || known.any(|it| it.passphrase == form.passphrase)
    }
}

/// Reads and checks all files of a configuration.
///
/// Blocks, for up to half a second longer than reading takes when files are being written.
#[must_use]
pub fn load(config: &Config, last: Option<&Material>, look: Look<'_>) -> Loaded {
    let Look { memo, depth, .. } = look;
    let mut loader = Loader::new(Files { memo, depth }, look);
    let (identities, outcomes) = loader.identities(config, last);
    let listeners = loader.listeners(config, last);
    let system_roots = loader.system_roots(config, last);
    let mut said = loader.end();
    let mounted = Mounted::of(config);
    said.warnings.extend(mounted.warnings);
    said.warnings.extend(mounted.gone.iter().cloned());
    said.unseen.extend(mounted.gone);
    let mut material = assemble(identities, listeners, system_roots);
    if let Some(error) = material.as_ref().and_then(|it| refusal(config, it, last)) {
        said.problems.push(error);
        material = None;
    }
    Loaded {
        material,
        problems: said.problems,
        warnings: said.warnings,
        unseen: said.unseen,
        outcomes,
    }
}

/// Returns why workers could not serve what is not served already.
fn refusal(config: &Config, material: &Material, last: Option<&Material>) -> Option<Problem> {
    if last.is_some_and(|last| last.is_same(material)) {
        return None;
    }
    let error = policy::prove(&config.listeners, material).err()?;
    Some(Problem {
        subject: "TLS".to_owned(),
        file: None,
        reason: error.to_string(),
    })
}

fn assemble(
    identities: Option<Vec<Arc<Identity>>>,
    listeners: Option<Vec<ListenerMaterial>>,
    system_roots: Option<Vec<Der>>,
) -> Option<Material> {
    Some(Material {
        identities: identities?,
        listeners: listeners?,
        system_roots: system_roots?,
    })
}

#[cfg(test)]
mod tests;
