//! What becomes of a worker of an earlier supervisor: a pure state machine, from events to actions.
//!
//! - none is to hand over before each slot has a worker that accepts for it;
//! - one that hands over or drains and hangs is killed;
//! - one that is ready to hand over serves until another worker has all that it takes to go on; then it ends soon, or
//!   is killed.
//!
//! Times are since the daemon's start.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{children::restart::look_interval, link::PARTING, supervisor::plan::WorkerId};

/// How long to wait for killed workers to end: the system may be unable to end one that waits for a device.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the workers.
#[derive(Debug)]
pub(super) struct Course {
    all: BTreeMap<WorkerId, Orphan>,
    /// How long one may be silent.
    patience: Duration,
    looked: Duration,
    /// When [`Event::Tick`] came last.
    ticked: Duration,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Orphan {
    doing: Doing,
    silence: Duration,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It serves, as it did for the supervisor before.
    Serving,
    /// It has its sessions kept, to hand them over.
    HandingOver,
    /// Another worker may have all its sessions; it serves them until that worker can go on.
    Ready,
    /// It was told to leave its sessions, and is about to end.
    HandedOver {
        /// When it is killed.
        until: Duration,
    },
    /// It finishes its sessions.
    Draining,
    /// It was killed.
    Condemned(Why),
}

/// Why a worker was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Why {
    /// The daemon ends at once.
    Ending,
    /// It was silent for too long.
    Silent,
    /// It did not end when it should have.
    Overdue,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ending => "the daemon ends",
            Self::Silent => "it gave no sign of life",
            Self::Overdue => "it did not end in time",
        })
    }
}

/// How the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// When its sessions have ended, but at this time at the latest.
    Draining(Duration),
    /// At once; those that have not ended by this time are left behind.
    Stopping(Duration),
}

/// What happens to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Event {
    /// Time has passed.
    Tick,
    /// One has sent a message.
    Heard(WorkerId),
    /// Each slot has a worker of this supervisor that accepts for it.
    Covered,
    /// One says how many of its sessions it cannot hand over.
    HandedOver { worker: WorkerId, stays: u64 },
    /// Another worker has all that it takes to go on with the sessions of this one.
    Held(WorkerId),
    /// The daemon ends when its sessions have, within this time.
    Drain { within: Duration },
    /// The daemon ends at once.
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum Action {
    /// Tell a worker to hand over.
    HandOver(WorkerId),
    /// Let another worker have what it takes to go on with the sessions of this one, which serves them still.
    Offer(WorkerId),
    /// Tell a worker to leave its sessions.
    Leave(WorkerId),
    /// Tell a worker to finish its sessions.
    Drain(WorkerId),
    /// Kill a worker.
    Kill(WorkerId, Why),
}

impl Course {
    /// Begins without workers; one may be silent for `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            all: BTreeMap::new(),
            patience,
            looked: Duration::ZERO,
            ticked: Duration::ZERO,
            ending: None,
        }
    }

    /// Takes a worker that serves.
    pub(super) fn add(&mut self, worker: WorkerId) {
        let orphan = Orphan {
            doing: Doing::Serving,
            silence: Duration::ZERO,
        };
        self.all.insert(worker, orphan);
    }

    /// Returns what a worker does; `None` if it has ended, or was left behind.
    pub(super) fn doing(&self, worker: WorkerId) -> Option<Doing> {
        self.all.get(&worker).map(|it| it.doing)
    }

    /// Removes a worker that has ended; returns what it did.
    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<Doing> {
        self.all.remove(&worker).map(|it| it.doing)
    }

    /// Returns when [`Event::Tick`] is due.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.all.is_empty() {
            return None;
        }
        let look = self.looked + look_interval(self.patience);
        let ends = self.all.values().filter_map(|it| match it.doing {
            Doing::HandedOver { until } => Some(until),
            _ => None,
        });
        let ending = self.ending.map(|ending| match ending {
            Ending::Draining(until) => until + PARTING,
            Ending::Stopping(until) => until,
        });
        // What is over leads to nothing more.
        let ending = ending.filter(|at| *at > self.ticked);
        ends.chain(ending).chain([look]).min()
    }

    /// Handles an event at `now`; returns what to do.
    pub(super) fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => self.tick(now, &mut actions),
            Event::Heard(worker) => {
                if let Some(orphan) = self.all.get_mut(&worker) {
                    orphan.silence = Duration::ZERO;
                }
            }
            Event::Covered => self.hand_over(&mut actions),
            Event::HandedOver { worker, stays } => self.handed_over(worker, stays, &mut actions),
            Event::Held(worker) => self.held(worker, now, &mut actions),
            Event::Drain { within } => self.drain(now + within, &mut actions),
            Event::Stop => self.stop(now, &mut actions),
        }
        actions
    }

    fn hand_over(&mut self, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        for (worker, orphan) in &mut self.all {
            if orphan.doing == Doing::Serving {
                orphan.doing = Doing::HandingOver;
                actions.push(Action::HandOver(*worker));
            }
        }
    }

    fn handed_over(&mut self, worker: WorkerId, stays: u64, actions: &mut Vec<Action>) {
        let Some(orphan) = self.all.get_mut(&worker) else {
            return;
        };
        orphan.silence = Duration::ZERO;
        if stays == 0 && orphan.doing == Doing::HandingOver {
            orphan.doing = Doing::Ready;
            actions.push(Action::Offer(worker));
        }
    }

    fn held(&mut self, worker: WorkerId, now: Duration, actions: &mut Vec<Action>) {
        let Some(orphan) = self.all.get_mut(&worker) else {
            return;
        };
        if orphan.doing == Doing::Ready {
            let until = now + PARTING;
            orphan.doing = Doing::HandedOver { until };
            actions.push(Action::Leave(worker));
        }
    }

    fn drain(&mut self, until: Duration, actions: &mut Vec<Action>) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(Ending::Draining(until));
        for (worker, orphan) in &mut self.all {
            if matches!(
                orphan.doing,
                Doing::Serving | Doing::HandingOver | Doing::Ready
            ) {
                orphan.doing = Doing::Draining;
                actions.push(Action::Drain(*worker));
            }
        }
    }

    fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if matches!(self.ending, Some(Ending::Stopping(_))) {
            return;
        }
        self.ending = Some(Ending::Stopping(now + KILL_PATIENCE));
        for (worker, orphan) in &mut self.all {
            orphan.doing = Doing::Condemned(Why::Ending);
            actions.push(Action::Kill(*worker, Why::Ending));
        }
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.ticked = now;
        let interval = look_interval(self.patience);
        let passed = now.saturating_sub(self.looked);
        let looks = passed >= interval;
        if looks {
            self.looked = now;
        }
        let is_over =
            matches!(self.ending, Some(Ending::Draining(until)) if until + PARTING <= now);
        for (worker, orphan) in &mut self.all {
            if looks {
                // A supervisor that was itself held up does not take its workers for dead.
                orphan.silence += passed.min(interval);
            }
            let is_silent = orphan.silence >= self.patience;
            let why = match orphan.doing {
                Doing::HandedOver { until } if until <= now => Why::Overdue,
                Doing::Draining if is_over => Why::Overdue,
                Doing::Serving | Doing::HandingOver | Doing::Ready | Doing::Draining
                    if is_silent =>
                {
                    Why::Silent
                }
                _ => continue,
            };
            orphan.doing = Doing::Condemned(why);
            actions.push(Action::Kill(*worker, why));
        }
        let left_behind = match self.ending {
            Some(Ending::Draining(until)) => until + PARTING + KILL_PATIENCE <= now,
            Some(Ending::Stopping(until)) => until <= now,
            None => false,
        };
        if left_behind {
            self.all.clear();
        }
    }
}
