//! Going back: the generation before, kept in memory, and what may be served of it.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::info;

use super::{Found, Loads, Message, Next, Verdict, disk::cannot_pack, report::Report};
use crate::{
    control::{DiskState, EventKind, RollbackStatus},
    facts::Trigger,
    link::{Generation, Packs},
    store,
    supervisor::{
        notices::Events,
        plan::{LoadId, Loaded},
        workers::Acquired,
    },
    tls::material::{ListenerMaterial, Material},
};

/// The generation to go back to, and the rollback in force.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The last generation in force whose material differs from that of the one in force now.
    earlier: Option<Earlier>,
    rollback: Option<RollbackStatus>,
}

/// What is kept of an earlier generation: not the descriptors of its packs, because a rollback makes
/// packs of its own.
#[derive(Debug, Clone)]
struct Earlier {
    number: u64,
    material: Arc<Material>,
}

/// What a rollback needs, so that it can be prepared on another thread.
#[derive(Debug)]
pub(super) struct Step {
    earlier: Earlier,
    current: Arc<Generation>,
}

/// What was served before, ready to be staged.
#[derive(Debug)]
pub(in crate::supervisor) struct Prepared {
    loaded: store::Loaded,
    packs: Packs,
    next: Option<Next>,
}

impl History {
    /// Goes on with the rollback that was in force under an earlier supervisor, if there was one.
    pub(super) fn resume(rollback: Option<RollbackStatus>) -> Self {
        Self {
            earlier: None,
            rollback,
        }
    }

    /// Returns the step back from `current`, or why there is none.
    pub(super) fn step_back(&self, current: Arc<Generation>) -> Result<Step, String> {
        if let Some(rollback) = &self.rollback {
            return Err(format!(
                "a rollback to generation {} is in force already, as generation {}; `proxyctl reload-tls` \
                 goes forward to what is on disk",
                rollback.to_generation, current.number
            ));
        }
        let Some(earlier) = self.earlier.clone() else {
            return Err(format!(
                "there is no earlier generation to go back to: TLS material has not changed since the \
                 daemon started; generation {} is still served",
                current.number
            ));
        };
        Ok(Step { earlier, current })
    }

    /// Notes that a generation takes the place of another; returns that as a sentence if it is a
    /// rollback. `differs` is [`Next::differs`], and `updated` names the identities that are others now.
    pub(super) fn replaced(
        &mut self,
        before: &Arc<Generation>,
        now: &Generation,
        differs: bool,
        updated: &str,
    ) -> Option<String> {
        let rollback = (now.trigger == Trigger::Rollback).then(|| RollbackStatus {
            since: now.loaded_at,
            from_generation: before.number,
            to_generation: self.earlier.as_ref().map_or(0, |it| it.number),
            trust_went_back: trusting_others(&before.material, &now.material),
        });
        // What the configuration no longer names cannot be gone back to.
        if differs {
            self.earlier = Some(Earlier {
                number: before.number,
                material: Arc::new(before.material.clone()),
            });
        }
        let rollback = rollback?;
        let sentence = sentence(&rollback, now.number, updated);
        self.rollback = Some(rollback);
        Some(sentence)
    }

    /// Notes that the rollback in force has ended, if there is one; returns it.
    pub(super) fn end(&mut self) -> Option<RollbackStatus> {
        self.rollback.take()
    }

    /// Returns why what has changed on disk is not loaded, if a rollback is the reason.
    pub(super) fn why_held(&self, verdict: &Verdict) -> Option<String> {
        let rollback = self.rollback.as_ref()?;
        // What was not looked at says more about a restart.
        let is_changed = verdict.state == DiskState::Changed && verdict.unseen.is_none();
        is_changed.then(|| {
            format!(
                "a rollback to generation {} is in force, so it is loaded only when told",
                rollback.to_generation
            )
        })
    }

    /// Returns the rollback in force.
    pub(super) fn rollback(&self) -> Option<&RollbackStatus> {
        self.rollback.as_ref()
    }
}

fn sentence(rollback: &RollbackStatus, now: u64, updated: &str) -> String {
    let trusting = rollback.trust_went_back.iter();
    let trusting: Vec<_> = trusting.map(|it| format!("\"{it}\"")).collect();
    let trusting = if trusting.is_empty() {
        String::new()
    } else {
        format!(
            "; authorities and revocation lists for clients of listener {} went back too",
            trusting.join(", ")
        )
    };
    format!(
        "Generation {now} is in service by a rollback{updated}: it has the TLS material of generation {} in \
         the place of that of generation {}{trusting}. It holds until a reload that an operator asks for; \
         changes on disk are not taken meanwhile.",
        rollback.to_generation, rollback.from_generation
    )
}

/// Returns the listeners whose clients are judged by other authorities or lists.
fn trusting_others(before: &Material, now: &Material) -> Vec<String> {
    let differs = |it: &&ListenerMaterial| {
        let was = before.listener(&it.name).and_then(|it| it.clients.as_ref());
        match (was, &it.clients) {
            (Some(was), Some(now)) => was.roots != now.roots || was.crls != now.crls,
            _ => false,
        }
    };
    let differing = now.listeners.iter().filter(differs);
    differing.map(|it| it.name.clone()).collect()
}

impl Loads {
    /// Begins to prepare what was served before, on another thread.
    pub(super) fn begin_rollback(&self, load: LoadId) {
        let (step, inbox) = (self.history.step_back(self.current()), self.inbox.clone());
        tokio::task::spawn_blocking(move || {
            let prepared = step.and_then(|step| step.prepare());
            let _ = inbox.send(Message::Prepared(load, Box::new(prepared)));
        });
    }

    /// Takes what was served before, or why it cannot be served again.
    pub(in crate::supervisor) fn take_earlier(
        &mut self,
        load: LoadId,
        prepared: Result<Prepared, String>,
    ) -> Loaded {
        let before = self.current();
        let Some(unsettled) = self.unsettled.get_mut(&load) else {
            return Loaded::Impossible;
        };
        let changes = prepared
            .as_ref()
            .map(|it| it.loaded.changes(Some(&before.material)));
        unsettled.report = Some(Report {
            generation: before.number,
            changed: false,
            changes: changes.unwrap_or_default(),
            problems: Vec::new(),
            trust_went_back: Vec::new(),
        });
        self.found = match prepared {
            Ok(Prepared {
                loaded,
                packs,
                next,
            }) => loaded.material.zip(next).map(|(material, next)| Found {
                trigger: unsettled.trigger,
                config: Arc::clone(&before.config),
                material,
                packs,
                acquired: Acquired::default(),
                next: Next {
                    // The disk is as it was.
                    changes_at: self.changes_at,
                    ..next
                },
            }),
            Err(reason) => {
                unsettled.refusal = Some(reason);
                None
            }
        };
        match &self.found {
            Some(found) => Loaded::New {
                pieces: found.material.pieces(),
            },
            None => Loaded::Impossible,
        }
    }

    /// Notes that a rollback is no longer in force.
    pub(in crate::supervisor) fn end_rollback(&mut self, events: &mut Events) {
        let Some(rollback) = self.history.end() else {
            return;
        };
        let message = format!(
            "The rollback to generation {} has ended; generation {} is in service.",
            rollback.to_generation,
            self.current().number
        );
        info!("{message}");
        events.add(EventKind::RollbackEnded, message);
    }

    /// Returns the rollback in force.
    pub(in crate::supervisor) fn rollback(&self) -> Option<&RollbackStatus> {
        self.history.rollback()
    }
}

impl Step {
    /// Returns the earlier material for the configuration in force, or why it cannot be served. Takes as
    /// long as proving that workers can serve it.
    pub(super) fn prepare(&self) -> Result<Prepared, String> {
        let (earlier, current) = (&self.earlier, &self.current);
        let served = &current.material;
        let loaded =
            store::load_earlier(&current.config, &earlier.material, served, Timestamp::now());
        let loaded = loaded.map_err(|problems| {
            let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
            format!(
                "what generation {} served cannot be served now: {}; generation {} is still served",
                earlier.number,
                reasons.join("; "),
                current.number
            )
        })?;
        let Some(material) = &loaded.material else {
            let packs = Packs::default();
            return Ok(Prepared {
                loaded,
                packs,
                next: None,
            });
        };
        let next = Next::of(current, &current.config, material, None);
        if next.is_none() {
            return Err(format!(
                "generation {} served the same as generation {}, which is in force, as far as the \
                 configuration still names it",
                earlier.number, current.number
            ));
        }
        let packs = current.packs.next(material);
        let packs = packs.map_err(|error| cannot_pack(&error).to_string())?;
        Ok(Prepared {
            loaded,
            packs,
            next,
        })
    }
}
