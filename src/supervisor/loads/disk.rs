//! What is on disk: read for a reload, and judged for a status.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tracing::debug;

use super::{next::Next, verdict::Verdict};
use crate::{
    config::{Config, ConfigError, Source, needs_restart},
    control::DiskState,
    facts::{Partial, Problem, Trigger},
    link::{Generation, Packs},
    store::{self, Changes, Depth, Loaded, Look, Memo, Owner, Programs},
    supervisor::{
        steps::{self, Findings, Ground, Origin, Who},
        workers::{Acquired, Acquirer},
    },
};

/// How long ports are tried for that workers are just leaving, after a reload that was turned back.
const PORT_PATIENCE: Duration = Duration::from_millis(300);

/// What was found on disk.
#[derive(Debug)]
pub(in crate::supervisor) struct Reading {
    /// The configuration that the material was read for, if it is not the one in force.
    pub config: Option<(Config, Acquired)>,
    /// Why the configuration on disk was not taken.
    pub refused: Vec<Problem>,
    /// The TLS material, but what became of each identity.
    pub loaded: Loaded,
    /// What became of each identity.
    pub changes: Changes,
    /// What is odd beside what each file says of itself, see [`Loaded::oddities`].
    pub odd: Arc<Vec<Problem>>,
    /// Whether all of it is what is served.
    pub is_served: bool,
    /// Where workers read the chains and keys of its identities.
    pub packs: Packs,
    /// The fingerprint of the files, if all of them were refused because a part is broken.
    pub held: Option<[u8; 32]>,
    /// When a piece of the configuration that was read begins or ends by itself.
    pub changes_at: Option<Timestamp>,
    /// What holds once this is in force; `None` if there is nothing new.
    pub next: Option<Next>,
}

/// Everything that a reading needs, so that it can be made on another thread.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct Reader {
    /// Where the configuration comes from.
    pub source: Arc<Source>,
    /// How the daemon was started.
    pub origin: Arc<Origin>,
    /// What earlier reads found.
    pub memo: Arc<Memo>,
    /// The fingerprint of the files when all of them were refused.
    pub held: Option<[u8; 32]>,
    /// The generation in force.
    pub current: Arc<Generation>,
    /// What is odd about that, if it is known.
    pub odd: Option<Arc<Vec<Problem>>>,
}

/// What a reading tells of what it loaded, made where it takes no time of the supervisor's loop.
struct Told {
    changes: Changes,
    odd: Arc<Vec<Problem>>,
    is_served: bool,
    next: Option<Next>,
}

/// Returns whether a load reads every file, or trusts the metadata of files that look unchanged.
///
/// An operator's reload reads every file that could have changed without its metadata telling, as far
/// as file systems promise. The daemon's own loads are frequent, and a slot stays empty until one is
/// over.
fn depth(trigger: Trigger) -> Depth {
    match trigger {
        // A rollback reads nothing.
        Trigger::Start | Trigger::Rollback => Depth::Contents,
        Trigger::ReloadTls | Trigger::Reload | Trigger::Sighup => Depth::Promised,
        Trigger::Watch | Trigger::Crash => Depth::Stamps,
    }
}

impl Reader {
    /// Reads TLS material, and the configuration too if the trigger asks for that.
    ///
    /// A configuration is taken whole or not at all. If it is refused, the material for the
    /// configuration in force is still read. Blocks.
    pub(in crate::supervisor) fn read(
        &self,
        trigger: Trigger,
        partial: Partial,
        acquirer: &Acquirer,
    ) -> Reading {
        let refused = match trigger {
            Trigger::Reload | Trigger::Sighup => match self.read_config(partial, acquirer) {
                Ok(Some(reading)) => return reading,
                Ok(None) => Vec::new(),
                Err(problems) => problems,
            },
            _ => Vec::new(),
        };
        let (mut loaded, changes_at) = self.load(&self.current.config, depth(trigger));
        let broken = !(refused.is_empty() && loaded.problems.is_empty());
        let held = broken.then(|| self.to_hold(trigger, partial)).flatten();
        if held.is_some() {
            loaded.hold();
        }
        let packs = pack_or_hold(&mut loaded, |it| self.pack(it));
        let told = self.tell(&self.current.config, &mut loaded, changes_at);
        Reading {
            config: None,
            refused,
            loaded,
            changes: told.changes,
            odd: told.odd,
            is_served: told.is_served,
            packs,
            held,
            changes_at,
            next: told.next,
        }
    }

    /// Tells what became of each identity, what is odd, and what is to come; gives up the rest of what is
    /// known of each identity.
    fn tell(&self, config: &Config, loaded: &mut Loaded, changes_at: Option<Timestamp>) -> Told {
        let served = &self.current.material;
        let is_served = loaded.is_served(served) && *config == *self.current.config;
        let known = self.odd.clone().filter(|_| is_served);
        let told = Told {
            changes: loaded.changes(Some(served)),
            odd: known.unwrap_or_else(|| Arc::new(loaded.oddities(config, Some(served)))),
            is_served,
            next: loaded
                .material
                .as_ref()
                .and_then(|it| Next::of(&self.current, config, it, changes_at)),
        };
        loaded.outcomes = Vec::new();
        told
    }

    /// Puts the chains and keys that are new where workers can read them.
    fn pack(&self, loaded: &Loaded) -> Result<Packs, Problem> {
        let Some(material) = &loaded.material else {
            return Ok(Packs::default());
        };
        self.current
            .packs
            .next(material)
            .map_err(|error| cannot_pack(&error))
    }

    /// Returns the fingerprint of the files if none of them may be taken while a part is broken: because
    /// this request says so, or because an earlier one did and the files have not changed since.
    fn to_hold(&self, trigger: Trigger, partial: Partial) -> Option<[u8; 32]> {
        let own = matches!(trigger, Trigger::Watch | Trigger::Crash);
        if partial == Partial::Allow && !(own && self.held.is_some()) {
            return None;
        }
        let now = store::fingerprint(&self.current.config, &self.memo);
        (partial == Partial::Refuse || self.held == Some(now)).then_some(now)
    }

    /// Reads a configuration that differs from the one in force; `None` if it does not.
    fn read_config(
        &self,
        partial: Partial,
        acquirer: &Acquirer,
    ) -> Result<Option<Reading>, Vec<Problem>> {
        let config = self.source.load().map_err(|error| wrong_config(&error))?;
        if config == *self.current.config {
            return Ok(None);
        }
        let fixed = needs_restart(&self.current.config, &config);
        if !fixed.is_empty() {
            return Err(vec![about_config(&format_args!(
                "{} cannot change while the daemon runs; restart it, or change that back",
                fixed.join(", ")
            ))]);
        }
        let (mut loaded, changes_at) = self.load(&config, depth(Trigger::Reload));
        let whole = loaded.problems.is_empty();
        if loaded.material.is_none() || (partial == Partial::Refuse && !whole) {
            return Err(loaded.problems);
        }
        let packs = self.pack(&loaded).map_err(|problem| vec![problem])?;
        let resources = acquirer
            .acquire(&config.listeners, PORT_PATIENCE)
            .map_err(|error| vec![about_config(&error)])?;
        let told = self.tell(&config, &mut loaded, changes_at);
        Ok(Some(Reading {
            config: Some((config, resources)),
            refused: Vec::new(),
            loaded,
            changes: told.changes,
            odd: told.odd,
            is_served: told.is_served,
            packs,
            held: None,
            changes_at,
            next: told.next,
        }))
    }

    /// Reads a configuration's files; returns also when one of them begins or ends by itself.
    fn load(&self, config: &Config, depth: Depth) -> (Loaded, Option<Timestamp>) {
        let look = self.look_at(config, depth);
        debug!(?depth, "the TLS files are read and judged");
        let loaded = store::load(config, Some(&self.current.material), look);
        (loaded, self.memo.changes_at(look.owner, look.now))
    }

    /// Reads the files of the configuration on disk as a cold start would.
    pub(in crate::supervisor) fn load_cold(&self, config: &Config) -> Loaded {
        store::load(config, None, self.look_at_disk(config, Depth::Promised))
    }

    /// Returns a look at the configuration on disk. If that is the one in force, what another needed is
    /// forgotten.
    fn look_at_disk(&self, config: &Config, depth: Depth) -> Look<'_> {
        let look = self.look_at(config, depth);
        if look.owner == Owner::InForce {
            self.memo.forget(Owner::Other);
        }
        look
    }

    fn look_at(&self, config: &Config, depth: Depth) -> Look<'_> {
        let is_in_force = *config == *self.current.config;
        Look {
            memo: &self.memo,
            depth,
            now: Timestamp::now(),
            programs: Programs::All,
            owner: if is_in_force {
                Owner::InForce
            } else {
                Owner::Other
            },
        }
    }
}

/// Returns the problems of a configuration that cannot be taken.
pub(in crate::supervisor) fn wrong_config(error: &ConfigError) -> Vec<Problem> {
    error
        .lines()
        .iter()
        .map(|line| about_config(line))
        .collect()
}

/// Packs what was loaded; if that fails, holds all of it back and adds the problem.
pub(super) fn pack_or_hold(
    loaded: &mut Loaded,
    pack: impl FnOnce(&Loaded) -> Result<Packs, Problem>,
) -> Packs {
    pack(loaded).unwrap_or_else(|problem| {
        loaded.hold();
        loaded.problems.push(problem);
        Packs::default()
    })
}

/// Says that workers cannot be handed certificates and keys.
pub(super) fn cannot_pack(error: &std::io::Error) -> Problem {
    Problem {
        subject: String::new(),
        file: None,
        reason: format!(
            "certificates and keys cannot be put into memory that workers share: {error}; \
             `proxyctl reload-tls` tries again"
        ),
    }
}

/// Returns an error of the configuration as a problem.
pub(in crate::supervisor) fn about_config(error: &dyn std::fmt::Display) -> Problem {
    Problem {
        subject: "configuration".to_owned(),
        file: None,
        reason: error.to_string(),
    }
}

/// A verdict, and what it was based on.
#[derive(Debug, Clone)]
pub(in crate::supervisor) struct View {
    /// The verdict.
    pub verdict: Verdict,
    generation: u64,
    fingerprint: [u8; 32],
    config: Result<Config, String>,
    tried: Findings,
    made: Instant,
}

impl View {
    /// Whether the verdict compares the disk with this generation, and not with an earlier one.
    pub(in crate::supervisor) fn is_of(&self, generation: &Generation) -> bool {
        self.generation == generation.number
    }
}

/// How long a verdict holds while no file changes: certificates expire by themselves, and the
/// system's authorities are not among the files compared.
const HOLDS: Duration = Duration::from_secs(2);

impl Reader {
    /// Judges the disk; returns `last` if nothing has changed since. Blocks.
    pub(in crate::supervisor) fn look(&self, last: Option<View>) -> View {
        let config = self.source.load().map_err(|error| error.lines().join("; "));
        let wanted = config.as_ref().unwrap_or(&self.current.config);
        let fingerprint = store::fingerprint(wanted, &self.memo);
        let tried = self.attempt_start(wanted);
        match last {
            Some(view)
                if view.generation == self.current.number
                    && view.fingerprint == fingerprint
                    && view.config == config
                    && view.tried == tried
                    && view.made.elapsed() < HOLDS =>
            {
                view
            }
            _ => View {
                verdict: self.judge(&config, &tried),
                generation: self.current.number,
                fingerprint,
                config,
                tried,
                made: Instant::now(),
            },
        }
    }

    /// Tries the steps of a start with `config`, without effect. Blocks.
    pub(in crate::supervisor) fn attempt_start(&self, config: &Config) -> Findings {
        let who = Who::Daemon(&self.current.config);
        steps::attempt(&Ground::new(config, who, &self.origin))
    }

    /// Compares the disk with the generation in force.
    ///
    /// A status request never runs passphrase programs from a configuration that is not in force.
    fn judge(&self, config: &Result<Config, String>, tried: &Findings) -> Verdict {
        let obstacles = &tried.obstacles[..];
        let wanted = config.as_ref().unwrap_or(&self.current.config);
        let look = Look {
            programs: Programs::Of(&self.current.config),
            ..self.look_at_disk(wanted, Depth::Stamps)
        };
        let loaded = store::load(wanted, None, look);
        let lines = |problems: &[Problem]| problems.iter().map(ToString::to_string).collect();
        let unseen: Vec<String> = lines(&loaded.unseen);
        let mut wrong: Vec<String> = config.as_ref().err().cloned().into_iter().collect();
        wrong.append(&mut lines(&loaded.problems));
        let same = loaded
            .material
            .as_ref()
            .is_some_and(|material| material.is_same(&self.current.material));
        Verdict {
            state: match (wrong.is_empty(), same && *wanted == *self.current.config) {
                (false, _) => DiskState::Invalid,
                (true, true) => DiskState::Same,
                (true, false) => DiskState::Changed,
            },
            by_files: obstacles.is_empty()
                && config.as_ref().is_ok_and(|it| *it == *self.current.config),
            restart_safe: [&wrong[..], obstacles, &unseen]
                .iter()
                .all(|it| it.is_empty())
                && loaded.material.is_some(),
            reason: Some([&wrong[..], obstacles].concat().join("; ")).filter(|why| !why.is_empty()),
            not_tried: tried.not_tried.clone(),
            replaced: tried.replaced,
            unseen: Some(unseen.join("; ")).filter(|what| !what.is_empty()),
        }
    }
}
