//! The asks that have no answer yet.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::Answered;
use crate::{facts::Wanted, link::Ask};

/// The step in which times are told, so that sessions that began at about the same time share an ask.
const STEP: Duration = Duration::from_millis(100);

/// The asks that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Asks {
    open: BTreeMap<u64, Open>,
    /// Those that the resolver was not told yet.
    unsent: VecDeque<u64>,
    next: u64,
}

/// An ask that has no answer yet.
#[derive(Debug)]
struct Open {
    wanted: Wanted,
    within: Duration,
    until: Instant,
    waiting: Vec<oneshot::Sender<Answered>>,
}

impl Open {
    /// Whether no session waits for the answer any more.
    fn is_over(&self, now: Instant) -> bool {
        now >= self.until || self.waiting.iter().all(oneshot::Sender::is_closed)
    }
}

impl Asks {
    /// Has a session wait for something, together with others that want the same name for the same time.
    pub(super) fn add(
        &mut self,
        wanted: Wanted,
        within: Duration,
        now: Instant,
        session: oneshot::Sender<Answered>,
    ) {
        self.open.retain(|_, open| !open.is_over(now));
        let within = rounded(within);
        let is_same = |open: &&mut Open| {
            matches!(wanted, Wanted::Host(_)) && open.wanted == wanted && open.within == within
        };
        if let Some(open) = self.open.values_mut().find(is_same) {
            open.waiting.push(session);
            return;
        }
        let number = self.next;
        self.next += 1;
        self.unsent.push_back(number);
        let open = Open {
            wanted,
            within,
            until: now + within,
            waiting: vec![session],
        };
        self.open.insert(number, open);
    }

    /// Takes the next ask that the resolver was not told and for which a session still waits.
    pub(super) fn take_unsent(&mut self, now: Instant) -> Option<Ask> {
        while let Some(number) = self.unsent.pop_front() {
            let open = self.open.get(&number).filter(|open| !open.is_over(now));
            let Some(open) = open else {
                self.open.remove(&number);
                continue;
            };
            let left = open.until.saturating_duration_since(now);
            return Some(Ask {
                number,
                wanted: open.wanted.clone(),
                within: left,
            });
        }
        None
    }

    /// Takes out the sessions that wait for an answer.
    pub(super) fn take(&mut self, number: u64) -> Vec<oneshot::Sender<Answered>> {
        let open = self.open.remove(&number);
        open.map(|open| open.waiting).unwrap_or_default()
    }

    /// Counts all asks as not told.
    pub(super) fn ask_again(&mut self) {
        self.unsent = self.open.keys().copied().collect();
    }
}

/// Rounds a time up to whole steps.
fn rounded(time: Duration) -> Duration {
    let steps = time.as_nanos().div_ceil(STEP.as_nanos());
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    STEP.saturating_mul(steps)
}
