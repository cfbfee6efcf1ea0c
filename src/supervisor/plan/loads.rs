//! Loads of the disk: one at a time, and for each request a load that begins after it.

use std::{collections::VecDeque, time::Duration};

use crate::facts::{Partial, Trigger};

/// A request that waits for the result of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A load of the disk, numbered from 1 in the order in which loads were first requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(pub u64);

/// How long a load of few files may take before the requests that wait for it are refused because the
/// disk does not answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A load that is going on or queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Load {
    /// Its number.
    pub id: LoadId,
    /// The trigger that reads the most, of all that were joined in it.
    pub trigger: Trigger,
    /// Whether a part of what changed may come into force.
    pub partial: Partial,
    /// The requests that wait for its result.
    pub asks: Vec<AskId>,
}

/// The load that is going on, and the queued ones.
#[derive(Debug)]
pub(super) struct Loads {
    last: LoadId,
    running: Option<Running>,
    /// Between two rollbacks at most one of each kind of [`Partial`] that reads the configuration, and one that
    /// does not.
    queued: VecDeque<Load>,
    patience: Duration,
}

impl Default for Loads {
    fn default() -> Self {
        Self {
            last: LoadId::default(),
            running: None,
            queued: VecDeque::new(),
            patience: PATIENCE,
        }
    }
}

#[derive(Debug)]
struct Running {
    load: Load,
    began: Duration,
    overdue: bool,
    /// Whether the disk has been read, so that what the load brought is being put in force.
    read: bool,
}

/// What became of a request for a load.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The load begins now.
    Begins(LoadId),
    /// The disk does not answer an earlier load.
    DiskStuck,
    /// The load will begin when the one that runs is over.
    Queued(LoadId),
}

impl Loads {
    /// Sets how long a load may take.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Asks for a load that begins at `now` or later.
    pub(super) fn wish(
        &mut self,
        trigger: Trigger,
        partial: Partial,
        ask: Option<AskId>,
        now: Duration,
    ) -> Wish {
        match &self.running {
            None => {
                let load = self.next(trigger, partial, ask);
                let id = load.id;
                self.run(load, now);
                Wish::Begins(id)
            }
            // The request does not wait for this load. It is queued all the same, because the disk may
            // hold newer files than the stuck load has read.
            Some(running) if running.overdue => {
                // A rollback that its operator does not wait for would come as a surprise.
                if trigger != Trigger::Rollback {
                    self.enqueue(trigger, partial, None);
                }
                Wish::DiskStuck
            }
            Some(_) => Wish::Queued(self.enqueue(trigger, partial, ask)),
        }
    }

    fn next(&mut self, trigger: Trigger, partial: Partial, ask: Option<AskId>) -> Load {
        self.last.0 += 1;
        Load {
            id: self.last,
            trigger,
            partial,
            asks: ask.into_iter().collect(),
        }
    }

    fn run(&mut self, load: Load, now: Duration) {
        self.running = Some(Running {
            load,
            began: now,
            overdue: false,
            read: false,
        });
    }

    /// Joins the queued load of the same kind, or queues one: requests that allow only a part of the
    /// changes to come into force cannot share a load with requests that do not, what was requested
    /// before a rollback does not come into force behind it, and a broken configuration file is no reason to
    /// refuse a request that does not read it.
    fn enqueue(&mut self, trigger: Trigger, partial: Partial, ask: Option<AskId>) -> LoadId {
        let is_rollback = trigger == Trigger::Rollback;
        let queued = self.queued.iter_mut().rev();
        let mut last = queued.take_while(|load| (load.trigger == Trigger::Rollback) == is_rollback);
        if let Some(load) = last.find(|it| it.partial == partial && are_alike(it.trigger, trigger))
        {
            load.trigger = stronger(load.trigger, trigger);
            load.asks.extend(ask);
            return load.id;
        }
        let load = self.next(trigger, partial, ask);
        let id = load.id;
        self.queued.push_back(load);
        id
    }

    /// Marks `load` as read; it stays the running load until [`Self::next_begins`]. Returns it, or
    /// `None` if another load or none runs.
    pub(super) fn end(&mut self, load: LoadId) -> Option<Load> {
        let running = self
            .running
            .as_mut()
            .filter(|running| running.load.id == load)?;
        running.read = true;
        running.overdue = false;
        Some(Load {
            asks: std::mem::take(&mut running.load.asks),
            ..running.load.clone()
        })
    }

    /// Begins the next queued load at `now`, in the place of the one that has been read; returns it.
    pub(super) fn next_begins(&mut self, now: Duration) -> Option<Load> {
        if self.running.as_ref().is_some_and(|running| !running.read) {
            return None;
        }
        self.running = None;
        let load = self.queued.pop_front()?;
        self.run(load.clone(), now);
        Some(load)
    }

    /// Stops the waiting of requests if the running load has taken too long at `now`.
    ///
    /// Returns the load and the queued ones, with the requests to refuse. All loads but queued rollbacks
    /// stay; what they bring is used when it comes.
    pub(super) fn give_up(&mut self, now: Duration) -> Option<Vec<Load>> {
        let running = self.running.as_mut()?;
        if running.overdue || running.read || now < running.began + self.patience {
            return None;
        }
        running.overdue = true;
        let waiting = Load {
            asks: std::mem::take(&mut running.load.asks),
            ..running.load.clone()
        };
        let queued = self.queued.iter_mut().map(|queued| Load {
            asks: std::mem::take(&mut queued.asks),
            ..queued.clone()
        });
        let given_up = std::iter::once(waiting).chain(queued).collect();
        self.queued.retain(|load| load.trigger != Trigger::Rollback);
        Some(given_up)
    }

    /// Returns whether no load is going on.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// Returns when [`Self::give_up`] is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let running = self.running.as_ref()?;
        (!running.overdue && !running.read).then_some(running.began + self.patience)
    }

    /// Returns whether a load is going on or queued.
    #[cfg(test)]
    pub(super) fn is_pending(&self, id: LoadId) -> bool {
        let running = self.running.as_ref().map(|running| running.load.id);
        running == Some(id) || self.queued.iter().any(|load| load.id == id)
    }

    /// Removes and returns all requests that wait, because the daemon is ending.
    pub(super) fn abandon(&mut self) -> Vec<AskId> {
        let mut asks = Vec::new();
        if let Some(running) = &mut self.running {
            asks.append(&mut running.load.asks);
        }
        asks.extend(self.queued.drain(..).flat_map(|load| load.asks));
        asks
    }
}

/// Returns whether two requests get the same answer from one load. Where an operator asked for only one of
/// them, the other waits for no answer.
fn are_alike(one: Trigger, other: Trigger) -> bool {
    !one.is_asked() || !other.is_asked() || one.reads_config() == other.reads_config()
}

/// Returns the trigger that makes a load read more; of equals, the first.
fn stronger(one: Trigger, other: Trigger) -> Trigger {
    let rank = |trigger| match trigger {
        Trigger::Crash | Trigger::Start => 0,
        Trigger::Watch => 1,
        Trigger::ReloadTls | Trigger::Rollback => 2,
        Trigger::Reload | Trigger::Sighup => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn requests_that_come_during_a_load_share_the_next() {
        let mut loads = Loads::default();
        assert_eq!(
            loads.wish(Trigger::ReloadTls, Partial::Allow, Some(AskId(1)), NOW),
            Wish::Begins(LoadId(1))
        );
        for ask in 2..5 {
            assert_eq!(
                loads.wish(Trigger::ReloadTls, Partial::Allow, Some(AskId(ask)), NOW),
                Wish::Queued(LoadId(2))
            );
        }
        loads.wish(Trigger::Watch, Partial::Allow, None, NOW);
        assert_eq!(loads.next_begins(NOW), None);
        assert_eq!(loads.end(LoadId(2)), None);
        assert_eq!(loads.end(LoadId(1)).unwrap().asks, [AskId(1)]);
        let begun = loads.next_begins(NOW).unwrap();
        assert_eq!(begun.asks, [AskId(2), AskId(3), AskId(4)]);
        assert_eq!(begun.trigger, Trigger::ReloadTls);
    }

    #[test]
    fn a_request_that_does_not_read_the_configuration_file_shares_no_load_with_one_that_does() {
        let mut loads = Loads::default();
        loads.wish(Trigger::Watch, Partial::Allow, None, NOW);
        let triggers = [
            Trigger::Watch,
            Trigger::Reload,
            Trigger::ReloadTls,
            Trigger::Sighup,
            Trigger::Crash,
        ];
        let queued = triggers.map(|trigger| loads.wish(trigger, Partial::Allow, None, NOW));
        assert_eq!(queued, [2, 2, 3, 2, 3].map(LoadId).map(Wish::Queued));
    }

    #[test]
    fn no_request_waits_for_a_disk_that_does_not_answer() {
        let mut loads = Loads::default();
        loads.wish(Trigger::ReloadTls, Partial::Allow, Some(AskId(1)), NOW);
        loads.wish(Trigger::ReloadTls, Partial::Allow, Some(AskId(2)), NOW);
        assert_eq!(loads.give_up(PATIENCE / 2), None);
        let told = loads.give_up(PATIENCE).unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!(
            loads.wish(Trigger::Crash, Partial::Allow, None, PATIENCE),
            Wish::DiskStuck
        );
        assert!(loads.end(LoadId(1)).unwrap().asks.is_empty());
        let begun = loads.next_begins(PATIENCE * 2);
        let begun = begun.expect("what was wished for meanwhile is read");
        assert!(begun.asks.is_empty());
    }

    #[test]
    fn all_or_nothing_is_a_load_of_its_own() {
        let mut loads = Loads::default();
        loads.wish(Trigger::Watch, Partial::Allow, None, NOW);
        let kinds = [Partial::Refuse, Partial::Allow, Partial::Refuse];
        let queued = kinds.map(|partial| loads.wish(Trigger::ReloadTls, partial, None, NOW));
        assert_eq!(queued, [2, 3, 2].map(LoadId).map(Wish::Queued));
        for (load, partial) in [(1, Partial::Refuse), (2, Partial::Allow)] {
            loads.end(LoadId(load)).unwrap();
            assert_eq!(loads.next_begins(NOW).unwrap().partial, partial);
        }
        loads.end(LoadId(3)).unwrap();
        assert_eq!(loads.next_begins(NOW), None);
    }

    #[test]
    fn a_rollback_keeps_its_place_among_reloads() {
        let mut loads = Loads::default();
        loads.wish(Trigger::Watch, Partial::Allow, None, NOW);
        let triggers = [
            Trigger::ReloadTls,
            Trigger::Rollback,
            Trigger::Rollback,
            Trigger::ReloadTls,
            Trigger::Sighup,
        ];
        let queued = triggers.map(|trigger| loads.wish(trigger, Partial::Allow, None, NOW));
        assert_eq!(queued, [2, 3, 3, 4, 5].map(LoadId).map(Wish::Queued));
    }

    #[test]
    fn a_rollback_does_not_wait_for_a_disk_and_comes_no_later_than_its_answer() {
        let mut loads = Loads::default();
        loads.wish(Trigger::ReloadTls, Partial::Allow, None, NOW);
        loads.wish(Trigger::Rollback, Partial::Allow, Some(AskId(1)), NOW);
        assert_eq!(loads.give_up(PATIENCE).unwrap()[1].asks, [AskId(1)]);
        let wish = loads.wish(Trigger::Rollback, Partial::Allow, Some(AskId(2)), PATIENCE);
        assert_eq!(wish, Wish::DiskStuck);
        loads.end(LoadId(1)).unwrap();
        assert_eq!(loads.next_begins(PATIENCE), None);
    }

    #[test]
    fn more_files_may_take_longer() {
        let mut loads = Loads::default();
        loads.set_patience(PATIENCE * 3);
        loads.wish(Trigger::ReloadTls, Partial::Allow, None, NOW);
        assert_eq!(loads.give_up(PATIENCE), None);
        assert_eq!(loads.deadline(), Some(PATIENCE * 3));
        assert!(loads.give_up(PATIENCE * 3).is_some());
    }
}
