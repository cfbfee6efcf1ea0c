//! A worker: its process, what it was handed, and what it has said of its sessions.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    children,
    facts::ListenerCounts,
    link::{Generation, ToWorker, board::ListenerNumber},
    session::record,
};

/// The shortest time between two links to the resolver that a worker gets for saying that it needs one: no
/// longer than between most beats, and too long for a worker that was taken over to keep others busy.
const BETWEEN_LINKS: Duration = Duration::from_millis(200);

/// A worker, from the request to start it to its end.
#[derive(Debug)]
pub(in crate::supervisor) struct Process {
    /// Its slot, in which another worker may be as well.
    pub slot: usize,
    /// What the ids of its sessions begin with.
    pub origin: u64,
    /// Its process.
    pub child: children::Process<ToWorker>,
    /// System calls that it says it was refused.
    pub denied_calls: u64,
    /// How many bytes of memory it takes, as it says.
    pub resident: Option<u64>,
    /// Its last counts of sessions and backends, by listener.
    pub counts: BTreeMap<String, ListenerCounts>,
    /// Whether it has reported the end of its drain.
    pub(super) has_drained: bool,
    /// When a refusal of it was logged last.
    pub(super) refusal_logged: Option<Instant>,
    /// The generations that it was handed.
    pub(super) given: Given,
    /// When it was given a link to the resolver.
    pub(super) resolver: Joined,
    /// Whether it is not to serve yet.
    pub(super) held_back: bool,
    /// Whether it has mapped its board, so that it can be told to serve or be handed sessions.
    pub(super) has_board: bool,
    /// The numbers of listeners that it was told, by name.
    pub(super) numbers: BTreeMap<String, ListenerNumber>,
    /// The version in which the records of its sessions are, as it has said last.
    pub(super) records: u16,
}

/// The generations that a worker was handed.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The generation that it makes ready.
    pub(super) staged: Option<Arc<Generation>>,
    /// The generation that it was told to serve and has not confirmed.
    pub(super) unconfirmed: Option<Arc<Generation>>,
    /// The generation that it confirmed last.
    pub(super) confirmed: Option<Arc<Generation>>,
}

/// When a worker was given a link to the resolver last.
#[derive(Debug, Default)]
pub(super) struct Joined(pub(super) Option<Instant>);

impl Joined {
    /// Whether the worker may have another link now.
    pub(super) fn may_have_another(&self, now: Instant) -> bool {
        self.0
            .is_none_or(|last| now.saturating_duration_since(last) >= BETWEEN_LINKS)
    }
}

impl Given {
    /// Returns the generation to which the next handover is a difference; `None` while it is not certain
    /// which one the worker has.
    pub(super) fn base(&self) -> Option<&Generation> {
        let certain = self.unconfirmed.is_none();
        self.confirmed.as_deref().filter(|_| certain)
    }
}

/// How often refusals of a worker are logged at most.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(1);

impl Process {
    /// Returns whether a refusal is to be logged now: a worker may refuse as often as it likes.
    pub(super) fn logs_refusal(&mut self, now: Instant) -> bool {
        let before = self.refusal_logged;
        let is_due = before.is_none_or(|before| now >= before + BETWEEN_REFUSALS);
        if is_due {
            self.refusal_logged = Some(now);
        }
        is_due
    }
}

impl Given {
    /// Returns the number of the newest generation that it was told to serve; 0 before the first.
    pub(super) fn newest(&self) -> u64 {
        let told = [&self.unconfirmed, &self.confirmed];
        let told = told.into_iter().flatten().map(|it| it.number);
        told.max().unwrap_or(0)
    }
}

impl Process {
    /// Makes the record of a worker that is being started for a slot, and may be held back from serving.
    pub(super) fn starting((slot, held_back): (usize, bool), origin: u64) -> Self {
        Self {
            slot,
            origin,
            child: children::Process::starting(),
            denied_calls: 0,
            resident: None,
            counts: BTreeMap::new(),
            has_drained: false,
            refusal_logged: None,
            given: Given::default(),
            resolver: Joined::default(),
            held_back,
            has_board: false,
            numbers: BTreeMap::new(),
            records: record::VERSION,
        }
    }

    /// Makes the record of a worker that another supervisor has started: it is handed nothing that it does not ask for, and
    /// takes no sessions over.
    pub(super) fn adopted(slot: usize, origin: u64, child: children::Process<ToWorker>) -> Self {
        Self {
            child,
            ..Self::starting((slot, true), origin)
        }
    }

    /// Returns how many sessions it has open, by its last counts.
    pub(in crate::supervisor) fn open(&self) -> u64 {
        let counts = self.counts.values();
        counts.map(|counts| counts.connections.open).sum()
    }

    /// Returns its process id; `None` while it is being started.
    pub(in crate::supervisor) fn pid(&self) -> Option<u32> {
        self.child.pid()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        config::Config,
        facts::Trigger,
        link::Packs,
        tls::{material::Material, testing},
    };

    fn generation(number: u64) -> Arc<Generation> {
        let config: Config = testing::config(vec![]);
        Arc::new(Generation {
            number,
            loaded_at: Timestamp::UNIX_EPOCH,
            trigger: Trigger::Start,
            config: Arc::new(config),
            material: Material {
                identities: vec![],
                listeners: vec![],
                system_roots: vec![],
            },
            packs: Packs::default(),
        })
    }

    #[test]
    fn a_worker_that_says_without_end_that_it_needs_the_resolver_gets_a_link_now_and_then() {
        let (mut joined, now) = (Joined::default(), Instant::now());
        let mut links = 0;
        for millisecond in 0..1000 {
            let now = now + Duration::from_millis(millisecond);
            if joined.may_have_another(now) {
                joined = Joined(Some(now));
                links += 1;
            }
        }
        assert_eq!(links, 5);
    }

    #[test]
    fn a_difference_is_told_only_to_what_a_worker_surely_has() {
        let mut given = Given::default();
        assert!(given.base().is_none());
        given.confirmed = Some(generation(1));
        assert_eq!(given.base().unwrap().number, 1);
        given.unconfirmed = Some(generation(2));
        assert!(given.base().is_none());
    }
}
