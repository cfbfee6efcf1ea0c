//! What is known of one name or path, and who waits for it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Limits, asks::Ticket};
use crate::facts::Unresolved;

/// Where the lookup of a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    Idle,
    /// It waits for a thread.
    Queued,
    /// It runs.
    Running {
        /// Since when.
        since: Instant,
        /// Whether the one before was slow.
        was_slow: bool,
    },
}

/// One name or path.
#[derive(Debug)]
pub(super) struct Flight<A> {
    pub(super) phase: Phase,
    /// The asks that wait, in their order.
    pub(super) waiting: VecDeque<Ticket>,
    /// Whether the last lookup was slow.
    pub(super) is_slow: bool,
    memory: Option<Memory<A>>,
}

/// The result of the last lookup.
#[derive(Debug)]
struct Memory<A> {
    until: Instant,
    result: Result<A, Unresolved>,
}

impl<A> Default for Flight<A> {
    fn default() -> Self {
        Self {
            phase: Phase::Idle,
            waiting: VecDeque::new(),
            is_slow: false,
            memory: None,
        }
    }
}

impl<A: Clone> Flight<A> {
    /// Returns what can be told without waiting to an ask that would wait for so long.
    pub(super) fn known(&self, now: Instant, within: Duration) -> Option<Result<A, Unresolved>> {
        if let Some(memory) = self.memory.as_ref().filter(|it| now < it.until) {
            return Some(memory.result.clone());
        }
        match self.phase {
            Phase::Running { since, .. } => {
                let lasted = now.duration_since(since);
                (lasted >= within).then_some(Err(Unresolved::NoAnswer(lasted)))
            }
            Phase::Idle | Phase::Queued => None,
        }
    }

    /// Remembers the result of a lookup for a moment.
    pub(super) fn remember(
        &mut self,
        now: Instant,
        limits: &Limits,
        result: Result<A, Unresolved>,
    ) {
        let time = if result.is_ok() {
            limits.success
        } else {
            limits.failure
        };
        let until = now + time;
        self.memory = Some(Memory { until, result });
    }

    /// Whether a lookup runs or waits for a thread.
    pub(super) fn is_busy(&self) -> bool {
        self.phase != Phase::Idle
    }
}
