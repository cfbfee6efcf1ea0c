//! How the daemon ends: by draining, at once, or because no worker can be started.

use std::time::Duration;

use super::{
    Action, Condemned, Doing, Exit, Heir, NoResult, Plan, Slot, SlotState, WorkerId, answer,
};
use crate::link::PARTING;

/// How long to wait for killed workers to end: the system may be unable to end one that waits for a
/// device.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// The phase of the daemon as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No worker has served yet.
    Starting,
    /// It serves, or tries to.
    Serving,
    /// It ends when its sessions have ended.
    Draining {
        /// When the sessions that are left are cut.
        until: Duration,
    },
    /// It ends now.
    Stopping {
        /// When the daemon stops waiting for killed workers.
        until: Duration,
    },
}

/// The state of the daemon's end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Whether no worker could be started.
    failed: bool,
    /// Whether a failure was reported for which the exit-failure command must run first.
    reported: bool,
    /// The last decision about the exit.
    exit: Option<Exit>,
}

impl Ending {
    pub(super) fn note_failure(&mut self) {
        self.reported = true;
    }
}

impl Plan {
    /// Returns whether the daemon is ending.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. } | Phase::Stopping { .. })
    }

    /// Returns whether the daemon is ending because no worker could be started.
    pub fn has_failed(&self) -> bool {
        self.ending.failed
    }

    /// Returns how long sessions may go on while the daemon drains.
    pub fn drain_left(&self, now: Duration) -> Duration {
        match self.phase {
            Phase::Draining { until } => until.saturating_sub(now),
            _ => Duration::ZERO,
        }
    }

    /// Notes that a worker serves for the first time.
    pub(super) fn begin_to_serve(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Serving;
            actions.push(Action::Ready);
        }
    }

    pub(super) fn drain(&mut self, until: Duration, actions: &mut Vec<Action>) {
        if self.is_ending() {
            return;
        }
        self.phase = Phase::Draining { until };
        self.begin_to_end(actions);
        for slot in &mut self.slots {
            let Some(worker) = slot.worker_mut() else {
                slot.state = SlotState::Empty;
                continue;
            };
            match worker.doing {
                // It is told to drain once it has the sessions.
                Doing::HeldBack(_) | Doing::Starting | Doing::Serving { .. }
                    if worker.heir == Heir::TakesOver =>
                {
                    worker.doing = Doing::Draining;
                }
                Doing::Starting if worker.heir == Heir::No => {
                    worker.doing = Doing::Condemned {
                        why: Condemned::Ending,
                        since: None,
                    };
                    actions.push(Action::Kill(worker.id));
                }
                Doing::HeldBack(_) | Doing::Starting | Doing::Serving { .. } => {
                    worker.doing = Doing::Draining;
                    actions.push(Action::Drain(worker.id));
                }
                Doing::Draining | Doing::Condemned { .. } => {}
            }
        }
    }

    /// Ends at once because the operator asks for that, without waiting for the exit-failure command.
    pub(super) fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.ending.reported = false;
        self.kill_all(now, actions);
    }

    /// Ends because no worker could be started.
    pub(super) fn give_up(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.ending.failed = true;
        self.ending.reported = true;
        self.kill_all(now, actions);
    }

    fn kill_all(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        if !self.is_ending() {
            self.begin_to_end(actions);
        }
        self.phase = Phase::Stopping {
            until: now + KILL_PATIENCE,
        };
        for slot in &mut self.slots {
            match slot.worker_mut() {
                None => slot.state = SlotState::Empty,
                Some(worker) => {
                    worker.doing = Doing::Condemned {
                        why: Condemned::Ending,
                        since: worker.served_since(),
                    };
                    actions.push(Action::Kill(worker.id));
                }
            }
        }
    }

    fn begin_to_end(&mut self, actions: &mut Vec<Action>) {
        let mut asks = self.loads.abandon();
        if self.staged.is_some() {
            actions.push(Action::Discard);
        }
        asks.extend(self.abandon_generations());
        answer(asks, NoResult::Ending, actions);
        actions.push(Action::CloseSockets);
    }

    /// Returns when [`Self::end_overdue`] is due.
    pub(super) fn ending_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Draining { until } if self.draining().next().is_some() => Some(until + PARTING),
            Phase::Draining { until } if self.ending.exit.is_none() => {
                Some(until + PARTING + KILL_PATIENCE)
            }
            Phase::Stopping { until } if self.ending.exit.is_none() => Some(until),
            _ => None,
        }
    }

    fn draining(&self) -> impl Iterator<Item = WorkerId> {
        let workers = self.slots.iter().filter_map(Slot::worker);
        let draining = workers.filter(|worker| worker.doing == Doing::Draining);
        draining.map(|worker| worker.id)
    }

    /// Kills workers that have not ended in time, and stops waiting for those that do not end even so.
    pub(super) fn end_overdue(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::Draining { until } if until + PARTING <= now => {
                let overdue: Vec<_> = self.draining().collect();
                for worker in overdue {
                    self.condemn(worker, Condemned::Overdue, actions);
                }
            }
            _ => {}
        }
        let left_behind = match self.phase {
            Phase::Draining { until } => until + PARTING + KILL_PATIENCE <= now,
            Phase::Stopping { until } => until <= now,
            Phase::Starting | Phase::Serving => false,
        };
        if left_behind {
            for slot in &mut self.slots {
                slot.state = SlotState::Empty;
            }
        }
    }

    pub(super) fn exit_if_empty(&mut self, actions: &mut Vec<Action>) {
        let empty = self.slots.iter().all(|slot| slot.state == SlotState::Empty);
        let exit = Exit {
            success: !self.ending.failed,
            after_hook: self.ending.reported,
        };
        if self.is_ending() && empty && self.ending.exit != Some(exit) {
            self.ending.exit = Some(exit);
            actions.push(Action::Exit(exit));
        }
    }
}
