//! The workers of supervisors that have ended, until another worker goes on with their sessions.
//!
//! They serve as they did, until each slot has a worker of this supervisor that accepts; then they hand over. What they
//! say and hold lies with the other workers; this owner knows how far each is.

mod course;
#[cfg(test)]
mod model;

use std::{collections::BTreeMap, time::Duration};

use tracing::{info, warn};

pub(super) use self::course::{Action, Event, Why};
use self::course::{Course, Doing};
use super::plan::{End, Exit, WorkerId};
use crate::{control::WorkerState, facts::amount, link::worker::About};

/// The workers of supervisors that have ended.
#[derive(Debug)]
pub(super) struct Orphans {
    course: Course,
    known: BTreeMap<WorkerId, Known>,
    /// How the daemon ends once none is left.
    exit: Option<Exit>,
}

/// What is known of a worker.
#[derive(Debug)]
struct Known {
    pid: u32,
    slot: usize,
    generation: u64,
    /// Whether operators were told that sessions keep it from handing over.
    told_stay: bool,
    /// How many do, as far as it has said.
    stays: u64,
    /// How many sessions another worker may have.
    offered: u64,
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// Whether it had handed over all its sessions.
    pub(super) handed_over: bool,
    /// Whether it was told to end, so that it leaves nothing.
    pub(super) as_told: bool,
    /// Why it was killed, if it was.
    pub(super) why: Option<Why>,
}

/// A worker as `status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) worker: WorkerId,
    pub(super) slot: usize,
    pub(super) state: WorkerState,
    /// The generation that it served when it was found.
    pub(super) generation: u64,
}

impl Orphans {
    /// Begins with none; one that is silent for `patience` is killed.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            course: Course::new(patience),
            known: BTreeMap::new(),
            exit: None,
        }
    }

    /// Takes a worker that was found.
    pub(super) fn add(&mut self, worker: WorkerId, about: &About) {
        self.course.add(worker);
        let known = Known {
            pid: about.pid,
            slot: about.slot,
            generation: about.generation,
            told_stay: false,
            stays: 0,
            offered: 0,
        };
        self.known.insert(worker, known);
    }

    /// Returns whether a worker is one of these.
    pub(super) fn has(&self, worker: WorkerId) -> bool {
        self.known.contains_key(&worker)
    }

    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the workers.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.known.keys().copied()
    }

    /// Returns how many sessions cannot be handed over, once nothing else keeps any of these workers; `None` before.
    pub(super) fn only_stay(&self) -> Option<u64> {
        let stays = self
            .known
            .values()
            .map(|it| Some(it.stays).filter(|it| *it > 0));
        stays.sum()
    }

    /// Returns when [`Event::Tick`] is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.course.due()
    }

    /// Handles an event; returns what to do.
    pub(super) fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let actions = self.course.on(event, now);
        for action in &actions {
            let of = |worker: &WorkerId| self.known.get(worker).map(|it| (it.pid, it.slot));
            match action {
                Action::HandOver(worker) => {
                    if let Some((pid, slot)) = of(worker) {
                        info!(
                            pid,
                            slot, "a worker of an earlier supervisor is to hand over its sessions"
                        );
                    }
                }
                Action::Kill(worker, why) if *why != Why::Ending => {
                    if let Some((pid, slot)) = of(worker) {
                        warn!(
                            pid,
                            slot, "a worker of an earlier supervisor is killed: {why}"
                        );
                    }
                }
                Action::Kill(..) | Action::Drain(_) | Action::Offer(_) | Action::Leave(_) => {}
            }
        }
        let course = &self.course;
        self.known
            .retain(|worker, _| course.doing(*worker).is_some());
        actions
    }

    /// Returns a sentence for operators if sessions of a worker keep it from handing over, once.
    pub(super) fn stays(&mut self, worker: WorkerId, stays: u64) -> Option<String> {
        let known = self.known.get_mut(&worker)?;
        known.stays = stays;
        if stays == 0 || std::mem::replace(&mut known.told_stay, true) {
            return None;
        }
        Some(format!(
            "Worker {} in slot {} of an earlier supervisor goes on with its sessions until {} of them, which cannot be \
             handed over, have ended.",
            known.pid, known.slot, stays
        ))
    }

    /// Notes that another worker may have so many sessions of one of these.
    pub(super) fn offered(&mut self, worker: WorkerId, sessions: u64) {
        if let Some(known) = self.known.get_mut(&worker) {
            known.offered = sessions;
        }
    }

    /// Returns whether a worker was told to finish its sessions.
    pub(super) fn is_draining(&self, worker: WorkerId) -> bool {
        self.course.doing(worker) == Some(Doing::Draining)
    }

    /// Takes a worker out that has ended; returns how, and a sentence for operators, unless it was to end. `None` if it is
    /// none of these.
    pub(super) fn ended(&mut self, worker: WorkerId, end: End) -> Option<(Ended, Option<String>)> {
        let known = self.known.remove(&worker)?;
        let doing = self.course.remove(worker)?;
        let ended = match doing {
            Doing::HandedOver { .. } => Ended {
                handed_over: true,
                as_told: false,
                why: None,
            },
            Doing::Draining => Ended {
                handed_over: false,
                as_told: matches!(end, End::Code(0) | End::Unknown),
                why: None,
            },
            Doing::Condemned(why) => Ended {
                handed_over: false,
                as_told: why == Why::Ending,
                why: Some(why),
            },
            Doing::Serving | Doing::HandingOver | Doing::Ready => Ended {
                handed_over: false,
                as_told: false,
                why: None,
            },
        };
        Some((ended, known.sentence(ended, end)))
    }

    /// Notes how the daemon ends; returns that if it ends now. One that has failed waits for no worker of an earlier
    /// supervisor: these go on serving for the next one.
    pub(super) fn exit(&mut self, exit: Exit) -> Option<Exit> {
        self.exit = Some(exit);
        self.exit_now()
    }

    /// Returns how the daemon ends, if nothing keeps it from that any more.
    pub(super) fn exit_now(&mut self) -> Option<Exit> {
        let is_done = self.is_empty();
        self.exit.take_if(|exit| is_done || !exit.success)
    }

    /// Returns the workers as `status` shows them.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.known.iter().filter_map(|(worker, known)| {
            let state = match self.course.doing(*worker)? {
                Doing::Serving => WorkerState::Orphaned,
                Doing::HandingOver | Doing::Ready | Doing::HandedOver { .. } => {
                    WorkerState::HandingOver
                }
                Doing::Draining | Doing::Condemned(_) => WorkerState::Draining,
            };
            Some(Row {
                worker: *worker,
                slot: known.slot,
                state,
                generation: known.generation,
            })
        })
    }
}

impl Known {
    /// Returns what operators are told of the worker's end.
    fn sentence(&self, ended: Ended, end: End) -> Option<String> {
        let Self {
            pid, slot, offered, ..
        } = self;
        if ended.as_told {
            return None;
        }
        let worker = format!("Worker {pid} in slot {slot} of an earlier supervisor");
        Some(match ended.why {
            _ if ended.handed_over => format!(
                "{worker} has handed over {} and ended.",
                amount(*offered, "session")
            ),
            Some(why) => format!("{worker} was killed: {why}."),
            None => format!("{worker} {end}."),
        })
    }
}
