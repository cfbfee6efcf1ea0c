//! A slot: a place for one worker, what it holds, and how long it waits before the next start.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{LoadId, WorkerId};
use crate::children::restart::{HEALTHY, wait_after};

/// A place for one worker.
#[derive(Debug, Clone)]
pub struct Slot {
    /// What the slot holds.
    pub state: SlotState,
    /// Failures in a row.
    pub failures: u32,
    /// Since when no worker accepts for it; `None` while one does.
    pub unaccepted_since: Option<Duration>,
    /// Workers in a row that ended before they had taken over the sessions that were left in the slot.
    pub failed_heirs: u32,
    /// When the next worker that is to take them over is started, if it waits for that and the back-off lasts longer.
    pub heir_at: Option<Duration>,
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing, for good: the daemon is ending.
    Empty,
    /// Nothing until a back-off is over.
    Waiting {
        /// When the back-off is over.
        until: Duration,
    },
    /// Nothing until a load of the disk is over.
    Loading {
        /// The load, begun after the last worker's end.
        load: LoadId,
    },
    /// A worker.
    Worker(Worker),
}

/// A worker, as far as the plan knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its id.
    pub id: WorkerId,
    /// When it was started, or, if it was held back, when it was let serve.
    pub started: Duration,
    /// What it does.
    pub doing: Doing,
    /// The newest generation that it has confirmed; 0 before the first.
    pub generation: u64,
    /// The generation in force, until the worker has confirmed it.
    pub owed: Option<Owed>,
    /// The slots that it is to accept for, and when it was last handed the sockets of each.
    pub handed: BTreeMap<usize, Duration>,
    /// The slots that it reports to accept for.
    pub accepts: BTreeSet<usize>,
    /// How often in a row it has refused what another worker has made ready.
    pub refusals: u32,
    /// How long it has sent no message.
    pub silence: Duration,
    /// Whether it takes sessions over.
    pub heir: Heir,
}

/// Whether a worker takes over sessions that other workers have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heir {
    /// It has none to take over.
    No,
    /// It is to take some over, and has not reported that it did.
    TakesOver,
    /// It has taken over all that it was to.
    TookOver,
}

/// Until when a worker that was started to take sessions over is not to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBack {
    /// Until a back-off is over, and a load of the disk after it.
    BackOff {
        /// When the back-off is over.
        until: Duration,
    },
    /// Until a load of the disk is over.
    Load {
        /// The load, begun after the last worker's end.
        load: LoadId,
    },
}

/// A generation in force that a worker was told to serve and has not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// When the worker is killed for not confirming.
    pub until: Duration,
    /// When it is told again, after it has refused; `None` while its answer is awaited.
    pub again: Option<Duration>,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It takes sessions over and goes on with them, and is not to serve yet.
    HeldBack(HeldBack),
    /// It is getting ready.
    Starting,
    /// It accepts.
    Serving {
        /// Since when.
        since: Duration,
    },
    /// It finishes its sessions, or those that it takes over.
    Draining,
    /// It was killed, and its end was not reported yet.
    Condemned {
        /// Why it was killed.
        why: Condemned,
        /// Since when it had served; `None` if it never did.
        since: Option<Duration>,
    },
}

/// Why a worker was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condemned {
    /// The daemon ends at once, so its end is no failure.
    Ending,
    /// It did not get ready in time.
    NeverReady,
    /// It did not end when the time for draining was over.
    Overdue,
    /// It was silent for too long.
    Silent,
    /// It was told to serve the generation in force and did not confirm it in time.
    Unconfirmed,
    /// It refused again and again what another worker had made ready.
    Refusing,
}

impl Slot {
    /// Returns the worker, if there is one.
    pub fn worker(&self) -> Option<&Worker> {
        match &self.state {
            SlotState::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    /// Returns the worker to change it, if there is one.
    pub fn worker_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.state {
            SlotState::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    /// Returns the worker, if there is one that serves.
    pub fn serving_worker(&self) -> Option<&Worker> {
        self.worker()
            .filter(|worker| matches!(worker.doing, Doing::Serving { .. }))
    }

    /// Returns the worker's id, if there is one that serves.
    pub fn serving(&self) -> Option<WorkerId> {
        self.serving_worker().map(|worker| worker.id)
    }

    /// Returns until when a back-off lasts, if the slot waits for that.
    pub(super) fn backs_off_until(&self) -> Option<Duration> {
        match &self.state {
            SlotState::Waiting { until } => Some(*until),
            SlotState::Worker(worker) => match worker.doing {
                Doing::HeldBack(HeldBack::BackOff { until }) => Some(until),
                _ => None,
            },
            SlotState::Empty | SlotState::Loading { .. } => None,
        }
    }

    /// Returns the load that the slot waits for, if it does.
    pub(super) fn awaits(&self) -> Option<LoadId> {
        match &self.state {
            SlotState::Loading { load } => Some(*load),
            SlotState::Worker(worker) => match worker.doing {
                Doing::HeldBack(HeldBack::Load { load }) => Some(load),
                _ => None,
            },
            SlotState::Empty | SlotState::Waiting { .. } => None,
        }
    }

    /// Returns the failures in a row as of `now`, none once its worker has been healthy for a
    /// while.
    pub fn failures_at(&self, now: Duration) -> u32 {
        let since = self.worker().and_then(Worker::served_since);
        if is_healthy(since, now) {
            0
        } else {
            self.failures
        }
    }

    /// Counts a worker that ended before it had taken over the sessions that it was to; any other end begins the count
    /// anew. Returns how long to wait before the next worker is started to take over what was left.
    ///
    /// This wait is shorter than the back-off before new clients are served, and keeps a program that cannot take
    /// sessions over from being started in a loop.
    pub(super) fn fail_heir(&mut self, worker: &Worker) -> Duration {
        self.failed_heirs = match worker.heir {
            Heir::TakesOver => self.failed_heirs.saturating_add(1),
            Heir::No | Heir::TookOver => 0,
        };
        wait_after(self.failed_heirs)
    }

    /// Counts a failure at `now`; returns how long to wait before the next start.
    pub fn fail(&mut self, served_since: Option<Duration>, now: Duration) -> Duration {
        if is_healthy(served_since, now) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        wait_after(self.failures)
    }
}

impl Worker {
    /// Returns since when it serves or served; `None` if it never did.
    pub fn served_since(&self) -> Option<Duration> {
        match self.doing {
            Doing::Serving { since } => Some(since),
            Doing::Condemned { since, .. } => since,
            Doing::HeldBack(_) | Doing::Starting | Doing::Draining => None,
        }
    }

    /// Lets a worker serve in its `slot` that was held back until `now`.
    pub(super) fn admit(&mut self, slot: usize, now: Duration) {
        self.doing = Doing::Starting;
        self.started = now;
        self.handed.insert(slot, now);
    }

    /// Notes that the worker is to confirm the generation in force within `patience` from `now`, or by
    /// the deadline that it has already.
    pub(super) fn owe(&mut self, now: Duration, patience: Duration) {
        // A worker that confirms nothing gets no more time because generations follow each other.
        let until = self.owed.map_or(now + patience, |owed| owed.until);
        self.owed = Some(Owed { until, again: None });
    }

    /// Notes that the worker has refused the generation in force; at `again` it is told to serve it once
    /// more.
    pub(super) fn refuse(&mut self, again: Duration, until: Duration) {
        let owed = self.owed.get_or_insert(Owed { until, again: None });
        owed.again = Some(again);
    }

    /// Returns why the worker was killed, if it was.
    pub fn condemned(&self) -> Option<Condemned> {
        match self.doing {
            Doing::Condemned { why, .. } => Some(why),
            _ => None,
        }
    }

    /// Returns whether the worker is expected to confirm new generations.
    pub fn is_wanted(&self) -> bool {
        matches!(self.doing, Doing::Starting | Doing::Serving { .. })
    }
}

fn is_healthy(served_since: Option<Duration>, now: Duration) -> bool {
    served_since.is_some_and(|since| now.saturating_sub(since) >= HEALTHY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healthy_while_forgets_failures() {
        let mut slot = Slot {
            state: SlotState::Empty,
            failures: 7,
            unaccepted_since: None,
            failed_heirs: 0,
            heir_at: None,
        };
        let served = Some(Duration::from_secs(5));
        assert_eq!(slot.fail(served, Duration::from_secs(15)), Duration::ZERO);
        assert!(slot.fail(None, Duration::from_secs(16)) > Duration::ZERO);
    }
}
