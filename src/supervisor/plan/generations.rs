//! How a generation comes into force: staged, made ready by the workers, committed, confirmed.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Action, AskId, Condemned, Doing, LoadId, Loaded, Outcome, Plan, Slot, WorkerId, loads::Load,
};
use crate::facts::Trigger;

/// How long workers have to make a staged generation of few pieces ready; afterwards the generation is
/// put in force without those that have not answered.
const STAGE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a worker that serves may take to confirm a generation of few pieces that is in force.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(10);

/// How much longer a load, or a worker that makes ready what it brought, may take for each of the
/// pieces of material.
const PIECE_PATIENCE: Duration = Duration::from_millis(3);

/// Until a worker that refused the generation in force is told to serve it once more.
const AGAIN: Duration = Duration::from_millis(250);

/// How often in a row a worker may refuse what another worker has made ready: for about two minutes, with
/// the pauses between the loads that the daemon begins by itself.
const MOST_REFUSALS: u32 = 8;

/// The pause before the first load after a worker has refused a staged generation.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest pause between such loads.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A generation that workers make ready before it is put in force.
#[derive(Debug)]
pub(super) struct Staged {
    load: LoadId,
    trigger: Trigger,
    asks: Vec<AskId>,
    /// The workers that were offered it.
    offered: BTreeSet<WorkerId>,
    /// Those of them whose answer is due.
    waiting: BTreeSet<WorkerId>,
    /// Until when to wait for them.
    pub(super) until: Duration,
    /// How much longer workers may take for the number of its pieces.
    pieces_patience: Duration,
}

/// A load that is settled once all workers have confirmed the generation in force after it.
#[derive(Debug)]
pub(super) struct Confirming {
    load: LoadId,
    generation: u64,
    asks: Vec<AskId>,
}

/// When the daemon reads the disk again by itself because a worker refused a staged generation.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Whether the configuration lets the daemon load files by itself.
    pub(super) is_allowed: bool,
    pub(super) due: Option<Duration>,
    refusals: u32,
}

impl Retry {
    fn after_refusal(&mut self, now: Duration) {
        let wait = FIRST_RETRY.saturating_mul(1_u32.checked_shl(self.refusals).unwrap_or(u32::MAX));
        self.refusals = self.refusals.saturating_add(1);
        self.due = self.is_allowed.then(|| now + wait.min(LAST_RETRY));
    }

    /// Returns whether a load is due at `now`; `true` only once for each.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

/// Returns how much longer a load of so many pieces, or making it ready, may take.
pub(super) fn patience_for(pieces: usize) -> Duration {
    PIECE_PATIENCE.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX))
}

impl Plan {
    pub(super) fn loaded(
        &mut self,
        load: LoadId,
        loaded: Loaded,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.is_ending() {
            return;
        }
        let Some(ended) = self.loads.end(load) else {
            return;
        };
        match loaded {
            // The operator was told that there is no result, and may have done something else since.
            Loaded::New { .. } if ended.trigger == Trigger::Rollback && ended.asks.is_empty() => {
                self.settle_impossible(ended, now, actions);
            }
            Loaded::New { pieces } => self.stage(ended, patience_for(pieces), now, actions),
            Loaded::Same => {
                self.note_served(ended.trigger, actions);
                self.conclude(load, ended.asks, now, actions);
            }
            Loaded::Kept => self.conclude(load, ended.asks, now, actions),
            Loaded::Impossible => self.settle_impossible(ended, now, actions),
        }
    }

    fn settle_impossible(&mut self, load: Load, now: Duration, actions: &mut Vec<Action>) {
        actions.push(Action::Settle {
            load: load.id,
            asks: load.asks,
            outcome: Outcome::Impossible,
        });
        self.go_on_after(load.id, now, actions);
    }

    fn stage(
        &mut self,
        load: Load,
        pieces_patience: Duration,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let waiting: BTreeSet<_> = self.slots.iter().filter_map(Slot::serving).collect();
        actions.push(Action::Stage {
            load: load.id,
            generation: self.generation + 1,
        });
        actions.extend(waiting.iter().copied().map(Action::Offer));
        self.staged = Some(Staged {
            load: load.id,
            trigger: load.trigger,
            asks: load.asks,
            offered: waiting.clone(),
            waiting,
            until: now + STAGE_PATIENCE + pieces_patience,
            pieces_patience,
        });
    }

    pub(super) fn note_staged(&mut self, worker: WorkerId, load: LoadId) {
        self.heard(worker);
        if let Some(staged) = self.staged.as_mut().filter(|staged| staged.load == load)
            && staged.waiting.remove(&worker)
            && let Some(worker) = self.find(worker)
        {
            worker.refusals = 0;
        }
    }

    /// Puts the staged generation in force if every serving worker that is not silent has made it ready,
    /// or the time for that is over.
    pub(super) fn commit_if_ready(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let counts = |id: &WorkerId| {
            let worker = self.slots.iter().find(|slot| slot.serving() == Some(*id));
            worker.is_some_and(|slot| self.is_lively(slot))
        };
        let is_ready = self
            .staged
            .as_ref()
            .is_some_and(|staged| staged.until <= now || !staged.waiting.iter().any(counts));
        if let Some(staged) = self.staged.take_if(|_| is_ready) {
            self.commit(staged, now, actions);
        }
    }

    fn commit(&mut self, staged: Staged, now: Duration, actions: &mut Vec<Action>) {
        self.generation += 1;
        self.retry.due = None;
        self.retry.refusals = 0;
        actions.push(Action::Commit);
        self.note_served(staged.trigger, actions);
        let patience = CONFIRM_PATIENCE + staged.pieces_patience;
        let wanted: Vec<_> = self.wanted().map(|worker| worker.id).collect();
        for id in wanted {
            // The others have the sockets that are new.
            if !staged.offered.contains(&id) {
                for slot in self.slots_of(id) {
                    self.hand(id, slot, now, actions);
                }
            }
            if let Some(worker) = self.find(id) {
                worker.owe(now, patience);
                actions.push(Action::Serve(id));
            }
        }
        self.conclude(staged.load, staged.asks, now, actions);
    }

    /// Ends a load: fills the slots that waited for it, begins the next load, and keeps the requests
    /// until workers have confirmed the generation in force.
    fn conclude(
        &mut self,
        load: LoadId,
        asks: Vec<AskId>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.confirming.push(Confirming {
            load,
            generation: self.generation,
            asks,
        });
        self.go_on_after(load, now, actions);
    }

    fn go_on_after(&mut self, load: LoadId, now: Duration, actions: &mut Vec<Action>) {
        self.fill_waiting(load, now, actions);
        while let Some(next) = self.loads.next_begins(now) {
            // It was queued before the rollback came into force.
            if self.is_held(next.trigger) {
                self.loads.end(next.id);
                self.fill_waiting(next.id, now, actions);
                continue;
            }
            actions.push(Action::Load {
                load: next.id,
                trigger: next.trigger,
                partial: next.partial,
            });
            break;
        }
    }

    /// Handles a worker's refusal: discards the staged generation, or tells the worker later to serve
    /// the generation in force if it refused that.
    pub(super) fn refused(
        &mut self,
        worker: WorkerId,
        offer: Option<LoadId>,
        reason: String,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.heard(worker);
        let was_offered = |it: &mut Staged| Some(it.load) == offer && it.offered.contains(&worker);
        let Some(staged) = self.staged.take_if(was_offered) else {
            // It is in force, or was put in force meanwhile, or was withdrawn.
            let in_force = self.generation;
            let worker = self.find(worker).filter(|worker| worker.is_wanted());
            if let Some(worker) = worker.filter(|worker| worker.generation < in_force) {
                worker.refuse(now + AGAIN, now + CONFIRM_PATIENCE);
            }
            return;
        };
        self.note_refusal(worker, &staged, actions);
        actions.push(Action::Discard);
        actions.extend(self.wanted().map(|worker| Action::Withdraw(worker.id)));
        actions.push(Action::Settle {
            load: staged.load,
            asks: staged.asks,
            outcome: Outcome::Refused { reason },
        });
        // What is on disk is served still.
        if staged.trigger != Trigger::Rollback {
            self.retry.after_refusal(now);
        }
        self.go_on_after(staged.load, now, actions);
    }

    /// Counts a refusal; kills the worker that refuses again and again what another makes ready, because
    /// no other worker would ever serve a new certificate.
    fn note_refusal(&mut self, id: WorkerId, staged: &Staged, actions: &mut Vec<Action>) {
        let made_ready = staged.offered.difference(&staged.waiting);
        let another_can = made_ready.filter(|other| **other != id).count() > 0;
        let Some(worker) = self.find(id).filter(|_| another_can) else {
            return;
        };
        worker.refusals += 1;
        if worker.refusals >= MOST_REFUSALS {
            self.condemn(id, Condemned::Refusing, actions);
        }
    }

    pub(super) fn serving(
        &mut self,
        id: WorkerId,
        generation: u64,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let in_force = self.generation;
        let Some(worker) = self.find(id) else { return };
        worker.silence = Duration::ZERO;
        // To say the same again is no progress.
        let is_newer = generation > worker.generation;
        worker.generation = worker.generation.max(generation);
        if worker.generation >= in_force {
            worker.owed = None;
        } else if let Some(owed) = worker.owed.as_mut().filter(|_| is_newer) {
            owed.until = now + CONFIRM_PATIENCE;
        }
        if worker.doing == Doing::Starting {
            worker.doing = Doing::Serving { since: now };
            self.begin_to_serve(actions);
        }
    }

    /// Settles the loads whose generation every worker has confirmed.
    pub(super) fn confirm(&mut self, actions: &mut Vec<Action>) {
        let workers = self.wanted().count();
        let oldest = self.wanted().map(|worker| worker.generation).min();
        // Without a worker, no worker has confirmed the generation; and while no worker accepts the
        // clients of a slot, these are not served by it.
        let Some(oldest) = oldest.filter(|_| self.accepts_everywhere()) else {
            return;
        };
        let confirmed = self.confirming.extract_if(.., |it| it.generation <= oldest);
        actions.extend(confirmed.map(|confirmed| Action::Settle {
            load: confirmed.load,
            asks: confirmed.asks,
            outcome: Outcome::Served { workers },
        }));
    }

    /// Removes and returns the requests whose loads are not settled, because the daemon is ending.
    pub(super) fn abandon_generations(&mut self) -> Vec<AskId> {
        let staged = self.staged.take().into_iter().flat_map(|it| it.asks);
        let confirming = self.confirming.drain(..).flat_map(|it| it.asks);
        staged.chain(confirming).collect()
    }
}
