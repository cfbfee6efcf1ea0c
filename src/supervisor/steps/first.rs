//! What is served first by a supervisor that comes after another one.
//!
//! It is no cold start: what the supervisor before this one served is known to be good. So a part that is broken on disk
//! stays as it was, and a configuration that cannot be taken leaves that of before in force.

use jiff::Timestamp;

use crate::{
    config::{Config, ConfigError, DEFAULT_NAME, Source},
    facts::{IdentityChange, Problem, Trigger},
    link::Packs,
    store::{self, Depth, Loaded, Look, Memo, Owner, Programs},
    supervisor::{loads::wrong_config, preflight, refusal::Refusal, state::Earlier},
    tls::{Material, policy},
};

/// What is served first.
#[derive(Debug)]
pub(in crate::supervisor) struct First {
    /// Certificates, keys and authorities.
    pub(in crate::supervisor) material: Material,
    /// The packs that some of it may lie in already.
    pub(in crate::supervisor) packs: Packs,
    /// The number of the generation before, when it was loaded and why, if this is the same.
    pub(in crate::supervisor) same: Option<(u64, Timestamp, Trigger)>,
    /// What is to be told of the load.
    pub(in crate::supervisor) told: Told,
}

/// What is to be told of the load at a start.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Told {
    /// What became of each identity.
    pub(in crate::supervisor) identities: Vec<IdentityChange>,
    /// What is wrong on disk, so that something of before is still served.
    pub(in crate::supervisor) problems: Vec<Problem>,
    /// Whether the configuration on disk was not taken.
    pub(in crate::supervisor) config_refused: bool,
    /// Whether the disk was not read, because a rollback is in force.
    pub(in crate::supervisor) is_held: bool,
}

/// What a start decides by that comes after another supervisor.
#[derive(Clone, Copy)]
pub(super) struct Successor<'a> {
    /// What the supervisor before this one served.
    pub(super) earlier: &'a Earlier,
    /// Whether that is a rollback, which holds until an operator asks for a reload.
    pub(super) holds: bool,
    /// Where the configuration comes from.
    pub(super) source: &'a Source,
    /// What earlier reads found.
    pub(super) memo: &'a Memo,
}

impl Successor<'_> {
    /// Decides what is served first, if the configuration on disk is this one or could not be read; `warn` is told
    /// what is odd. Blocks.
    pub(super) fn first(
        self,
        config: Result<Config, Vec<Problem>>,
        mut warn: impl FnMut(&[Problem]),
    ) -> Result<(Config, First), Refusal> {
        let before = self.config_before();
        if self.holds
            && let Ok(before) = &before
            && policy::prove(&before.listeners, &self.earlier.material).is_ok()
        {
            return Ok((before.clone(), self.held()));
        }
        let problems = match config {
            Err(problems) => problems,
            Ok(config) => match self.load(&config) {
                Ok(loaded) => {
                    warn(&loaded.all_odd(&config, None, &[]));
                    let first = self.of(&config, before.as_ref().ok(), loaded, Vec::new());
                    return Ok((config, first));
                }
                Err(problems) => problems,
            },
        };
        self.go_back(problems)
    }

    /// Goes back to the configuration of before, because of these problems of the one on disk.
    pub(super) fn go_back(self, problems: Vec<Problem>) -> Result<(Config, First), Refusal> {
        let told = list(&problems);
        let before = self.config_before().map_err(|_| told)?;
        match self.load(&before) {
            Ok(loaded) => {
                let first = self.of(&before, Some(&before), loaded, problems);
                Ok((before, first))
            }
            Err(more) => Err(list(&[problems, more].concat())),
        }
    }

    fn config_before(self) -> Result<Config, ConfigError> {
        self.source.parse(self.earlier.config.clone())
    }

    fn held(self) -> First {
        First {
            material: self.earlier.material.clone(),
            packs: self.earlier.packs.clone(),
            same: Some(self.same()),
            told: Told {
                is_held: true,
                ..Told::default()
            },
        }
    }

    fn same(self) -> (u64, Timestamp, Trigger) {
        let Earlier {
            number,
            loaded_at,
            trigger,
            ..
        } = self.earlier;
        (*number, *loaded_at, *trigger)
    }

    /// Loads the files of a configuration; what is broken stays as it was. Fails if something is broken that was not
    /// there before, or workers could not serve it.
    fn load(self, config: &Config) -> Result<Loaded, Vec<Problem>> {
        // A new authority of our own is the last thing that clients expect who trust the one that was served.
        let has_created = self.earlier.material.index().contains_key(DEFAULT_NAME);
        let created = if has_created {
            None
        } else {
            preflight::create(config).err()
        };
        let look = Look {
            memo: self.memo,
            depth: Depth::Contents,
            now: Timestamp::now(),
            programs: Programs::All,
            owner: Owner::InForce,
        };
        let last = &self.earlier.material;
        let mut loaded = store::load(config, Some(last), look);
        loaded.problems.extend(created.map(|reason| Problem {
            subject: "TLS".to_owned(),
            file: None,
            reason,
        }));
        let Some(material) = &loaded.material else {
            return Err(loaded.problems);
        };
        // Another version of this program may have served it.
        if let Err(error) = policy::prove(&config.listeners, material) {
            loaded.problems.push(Problem {
                subject: "TLS".to_owned(),
                file: None,
                reason: error.to_string(),
            });
            return Err(loaded.problems);
        }
        Ok(loaded)
    }

    fn of(
        self,
        config: &Config,
        before: Option<&Config>,
        mut loaded: Loaded,
        refused: Vec<Problem>,
    ) -> First {
        let changes = loaded.changes(Some(&self.earlier.material));
        let config_refused = !refused.is_empty();
        let mut problems = refused;
        problems.append(&mut loaded.problems);
        let last = &self.earlier.material;
        let material = loaded.material.unwrap_or_else(|| last.clone());
        let is_same = before == Some(config) && material.is_same(last);
        First {
            packs: self.earlier.packs.clone(),
            same: is_same.then(|| self.same()),
            material,
            told: Told {
                identities: changes.identities,
                problems,
                config_refused,
                is_held: false,
            },
        }
    }
}

impl First {
    /// What a cold start serves: nothing of it was there before.
    pub(super) fn cold(material: Material) -> Self {
        Self {
            material,
            packs: Packs::default(),
            same: None,
            told: Told::default(),
        }
    }
}

/// Returns the problems of a configuration file that cannot be read.
pub(super) fn unreadable(error: &ConfigError) -> Vec<Problem> {
    wrong_config(error)
}

fn list(problems: &[Problem]) -> Refusal {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\nproxyd: ")
}

#[cfg(test)]
mod tests;
