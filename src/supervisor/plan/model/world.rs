//! A model of what is outside the plan, as the plan's actions change it.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::*, Move};
use crate::children::restart::wait_after;

pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// A message that a worker was sent and has not taken yet.
#[derive(Debug, Clone, Copy)]
enum Sent {
    Offer(LoadId),
    Withdraw,
    Serve(u64),
    Sockets(usize),
    Release(usize),
}

/// A rollback, as the plan's actions tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rollback {
    None,
    InForce,
    /// Another generation is in force, and the end of the rollback is to be told.
    Replaced,
}

/// A worker process.
#[derive(Debug, Default)]
struct Living {
    slot: usize,
    /// Whether it may neither be told to serve nor be handed sockets.
    held_back: bool,
    /// Whether it is to take sessions over, and has not told that it did.
    takes_over: bool,
    sent: Vec<Sent>,
    accepts: BTreeSet<usize>,
    serves: u64,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) now: Duration,
    alive: BTreeMap<WorkerId, Living>,
    /// Workers in a row of a slot that ended before they had taken over what they were to.
    failed_heirs: BTreeMap<usize, u32>,
    /// From when on a worker may take over what was left in a slot.
    heir_at: BTreeMap<usize, Duration>,
    pub(super) hung: BTreeSet<WorkerId>,
    /// The workers that were killed and may not have ended yet.
    killed: BTreeSet<WorkerId>,
    /// Whether the next sockets that are handed over get lost.
    losing: bool,
    pub(super) loading: Option<LoadId>,
    /// The triggers of loads that were begun.
    triggers: BTreeMap<LoadId, Trigger>,
    pub(super) rollback: Rollback,
    loads_begun: LoadId,
    needs_load: BTreeMap<usize, LoadId>,
    /// The slots in which sessions were left, for each of which a worker is to be started before anything
    /// else happens.
    left: BTreeSet<usize>,
    /// Until when no worker may be started in a slot.
    back_off: BTreeMap<usize, Duration>,
    pub(super) staged: Option<LoadId>,
    in_force: u64,
    /// The generation in force after each load.
    brought: BTreeMap<LoadId, u64>,
    unsettled: BTreeSet<LoadId>,
    pub(super) asked: BTreeMap<AskId, LoadId>,
    asks: u64,
    pub(super) reports: Vec<Failure>,
    closed: bool,
    pub(super) exit: Option<Exit>,
}

impl World {
    pub(super) fn new(slots: usize) -> Self {
        Self::with(slots, HEARTBEAT)
    }

    /// Begins with a heartbeat timeout.
    pub(super) fn with(slots: usize, heartbeat: Duration) -> Self {
        let (plan, actions) = Plan::new(slots, heartbeat, After::NOTHING);
        let mut world = Self {
            plan,
            now: Duration::ZERO,
            alive: BTreeMap::new(),
            failed_heirs: BTreeMap::new(),
            heir_at: BTreeMap::new(),
            hung: BTreeSet::new(),
            killed: BTreeSet::new(),
            losing: false,
            loading: None,
            triggers: BTreeMap::new(),
            rollback: Rollback::None,
            loads_begun: LoadId::default(),
            needs_load: BTreeMap::new(),
            left: BTreeSet::new(),
            back_off: BTreeMap::new(),
            staged: None,
            in_force: 1,
            brought: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            asked: BTreeMap::new(),
            asks: 0,
            reports: Vec::new(),
            closed: false,
            exit: None,
        };
        world.act(actions);
        world
    }

    pub(super) fn is_over(&self) -> bool {
        self.exit.is_some()
    }

    pub(super) fn tell(&mut self, event: Event) {
        let actions = self.plan.on(event, self.now);
        self.act(actions);
        assert_eq!(self.in_force, self.plan.generation());
        let is_rolled_back = self.plan.rolled_back;
        assert_eq!(self.rollback == Rollback::InForce, is_rolled_back);
        assert_ne!(self.rollback, Rollback::Replaced, "its end was not told");
        assert_eq!(self.left, BTreeSet::new(), "sessions were left");
        self.check();
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert!(
                self.exit.is_none() || matches!(action, Action::Exit(_)),
                "{action:?} after the end"
            );
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Load { load, trigger, .. } => {
                assert!(
                    self.rollback == Rollback::None || trigger.is_asked(),
                    "{trigger} during a rollback"
                );
                self.triggers.insert(load, trigger);
                assert_eq!(self.loading.replace(load), None, "two loads at a time");
                assert_eq!(self.staged, None, "a load while another is being staged");
                self.loads_begun = load;
                self.unsettled.insert(load);
            }
            Action::Stage { load, generation } => {
                assert_eq!(generation, self.in_force + 1);
                assert_eq!(self.staged.replace(load), None);
            }
            Action::Offer(worker) => {
                let load = self.staged.expect("something is staged");
                self.send(worker, Sent::Offer(load));
            }
            Action::Commit => {
                let load = self.staged.take().expect("something is staged");
                self.in_force += 1;
                self.brought.insert(load, self.in_force);
                self.rollback = match (self.triggers[&load], self.rollback) {
                    (Trigger::Rollback, _) => Rollback::InForce,
                    (_, Rollback::None) => Rollback::None,
                    _ => Rollback::Replaced,
                };
            }
            Action::EndRollback => {
                let was = std::mem::replace(&mut self.rollback, Rollback::None);
                assert_ne!(was, Rollback::None, "no rollback is in force");
            }
            Action::Discard => assert!(self.staged.take().is_some()),
            Action::Withdraw(worker) => self.send(worker, Sent::Withdraw),
            Action::Start {
                slot,
                worker,
                held_back,
                ..
            } => self.start((slot, held_back), worker),
            Action::Admit(worker) => self.admit(worker),
            Action::Serve(worker) => self.send(worker, Sent::Serve(self.in_force)),
            Action::Hand { worker, slot } => {
                assert!(!self.closed);
                if !std::mem::take(&mut self.losing) {
                    self.send(worker, Sent::Sockets(slot));
                }
            }
            Action::Release { worker, slot } => self.send(worker, Sent::Release(slot)),
            Action::Kill(worker) => {
                assert!(self.alive.contains_key(&worker));
                self.killed.insert(worker);
            }
            Action::Answer { asks, .. } => {
                for ask in asks {
                    self.asked.remove(&ask).expect("answered twice");
                }
            }
            Action::Settle {
                load,
                asks,
                outcome,
            } => self.settled(load, &asks, &outcome),
            Action::Report(failure) => {
                assert!(!self.alive.contains_key(&failure.worker));
                if failure.has_heir {
                    self.left.insert(failure.slot);
                } else {
                    let wait = failure.wait.unwrap_or_default();
                    self.back_off.insert(failure.slot, self.now + wait);
                }
                self.reports.push(failure);
            }
            Action::CloseSockets => {
                assert!(self.plan.is_ending());
                assert!(!std::mem::replace(&mut self.closed, true), "closed twice");
            }
            Action::Exit(exit) => self.note_exit(exit),
            Action::Drain(worker) => {
                let takes_over = self.alive.get(&worker).map(|it| it.takes_over);
                assert_eq!(takes_over, Some(false), "it would end without sessions");
            }
            Action::Ready => {}
        }
    }

    fn note_exit(&mut self, exit: Exit) {
        assert!(self.closed, "ended with sockets open");
        let told = self.reports.last().is_some_and(|it| it.wait.is_none());
        if exit.success && told && matches!(self.plan.phase(), Phase::Draining { .. }) {
            assert!(exit.after_hook, "the command is not told of {told:?}");
        }
        self.exit = Some(exit);
    }

    fn send(&mut self, worker: WorkerId, sent: Sent) {
        if let Some(living) = self.alive.get_mut(&worker) {
            assert!(!living.held_back, "{sent:?} to a worker that is held back");
            living.sent.push(sent);
        }
    }

    fn start(&mut self, (slot, held_back): (usize, bool), worker: WorkerId) {
        let mut others = self.alive.values();
        assert!(!others.any(|it| it.slot == slot), "two workers in {slot}");
        let is_due = self.heir_at.remove(&slot).is_some_and(|at| at <= self.now);
        let is_late = is_due && held_back;
        let takes_over = self.left.remove(&slot) || is_late;
        match self.plan.phase() {
            Phase::Draining { until } => {
                assert!(takes_over && held_back && self.now < until);
            }
            Phase::Stopping { .. } => panic!("started while stopping"),
            Phase::Starting | Phase::Serving => assert_eq!(takes_over, held_back),
        }
        // Who only takes sessions over does not wait for it.
        if !held_back {
            let back_off = self.back_off.remove(&slot).unwrap_or_default();
            assert!(back_off <= self.now, "started before the back-off was over");
        }
        let living = Living {
            slot,
            held_back,
            takes_over,
            ..Living::default()
        };
        self.alive.insert(worker, living);
        if !held_back {
            self.is_to_serve(worker);
        }
    }

    fn admit(&mut self, worker: WorkerId) {
        let living = self.alive.get_mut(&worker).expect("it lives");
        assert!(std::mem::take(&mut living.held_back), "admitted twice");
        self.is_to_serve(worker);
    }

    /// Checks that a worker may serve now, and sends it what it needs for that.
    fn is_to_serve(&mut self, worker: WorkerId) {
        let slot = self.alive[&worker].slot;
        if let Some(since) = self.needs_load.remove(&slot) {
            let disk_is_stuck = self.loading.is_some() && self.plan.loads.deadline().is_none();
            assert!(
                self.loads_begun > since || disk_is_stuck || self.rollback == Rollback::InForce,
                "serves without a fresh load"
            );
        }
        self.send(worker, Sent::Sockets(slot));
        self.send(worker, Sent::Serve(self.in_force));
    }

    fn settled(&mut self, load: LoadId, asks: &[AskId], outcome: &Outcome) {
        assert!(self.unsettled.remove(&load), "{load:?} was settled twice");
        for ask in asks {
            let begun_before = self.asked.remove(ask).expect("answered twice");
            assert!(load > begun_before, "a load begun before the question");
        }
        if matches!(outcome, Outcome::Served { .. }) {
            for worker in self.plan.wanted() {
                assert!(worker.generation >= self.brought[&load]);
            }
            assert!(self.plan.accepts_everywhere());
        }
    }

    fn check(&self) {
        if self.plan.is_ending() {
            return;
        }
        let slots = self.plan.slots();
        let serving: Vec<_> = slots.iter().map(Slot::serving).collect();
        for (slot, worker) in slots.iter().enumerate() {
            if serving.iter().any(Option::is_some) && serving[slot].is_none() {
                let by = self.plan.covers.get(&slot);
                assert!(
                    by.is_some_and(|by| serving.contains(&Some(*by))),
                    "slot {slot} is not accepted from"
                );
            }
            match worker.state {
                SlotState::Empty => panic!("slot {slot} was forgotten"),
                SlotState::Loading { load } => assert!(self.plan.loads.is_pending(load)),
                SlotState::Waiting { until } => {
                    assert!(self.plan.deadline().is_some_and(|due| due <= until));
                }
                SlotState::Worker(_) => {}
            }
        }
    }

    fn pick(&self, choice: usize) -> Option<WorkerId> {
        let ids: Vec<_> = self.alive.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[choice % ids.len()])
    }

    pub(super) fn make(&mut self, step: &Move) {
        match step {
            Move::Pass(millis) => self.pass(Duration::from_millis(*millis)),
            Move::Answer(choice) => self.answer(*choice, false),
            Move::Refuse(choice) => self.answer(*choice, true),
            Move::LoseSockets => self.losing = true,
            Move::Die(choice, end) => self.die(*choice, *end, false),
            Move::Leave(choice, end) => self.die(*choice, *end, true),
            Move::Inherit(choice) => self.inherit(*choice),
            Move::TakeOver(choice) => self.take_over(*choice),
            Move::Hang(choice) => self.hung.extend(self.pick(*choice)),
            Move::EndLoad(true) => self.end_load(Loaded::New { pieces: 1 }),
            Move::EndLoad(false) => self.end_load(Loaded::Same),
            Move::KeepLoad => self.end_load(Loaded::Kept),
            Move::Ask(whole) => {
                self.asks += 1;
                self.asked.insert(AskId(self.asks), self.loads_begun);
                self.tell(Event::Reload {
                    ask: Some(AskId(self.asks)),
                    trigger: Trigger::ReloadTls,
                    partial: if *whole {
                        Partial::Refuse
                    } else {
                        Partial::Allow
                    },
                });
            }
            Move::RollBack => {
                self.asks += 1;
                self.asked.insert(AskId(self.asks), self.loads_begun);
                self.tell(Event::Reload {
                    ask: Some(AskId(self.asks)),
                    trigger: Trigger::Rollback,
                    partial: Partial::Refuse,
                });
            }
            Move::Change => self.tell(Event::Reload {
                ask: None,
                trigger: Trigger::Watch,
                partial: Partial::Allow,
            }),
            Move::Signal => self.tell(Event::Reload {
                ask: None,
                trigger: Trigger::Sighup,
                partial: Partial::Allow,
            }),
            Move::Drain => self.tell(Event::Drain {
                within: Duration::from_secs(3),
            }),
            Move::Stop => self.tell(Event::Stop),
        }
    }

    /// Lets time pass in steps no longer than the plan asks for, with beats from living workers.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && !self.is_over() {
            let due = self.plan.deadline().map_or(end, |due| due.max(self.now));
            self.now = due.min(end).max(self.now + Duration::from_millis(1));
            let alive: Vec<_> = self.alive.keys().copied().collect();
            for worker in alive {
                if !self.hung.contains(&worker) {
                    self.tell(Event::Heard(worker));
                }
            }
            self.tell(Event::Tick);
        }
    }

    /// Lets a worker take a message that it was sent.
    fn answer(&mut self, choice: usize, refuses: bool) {
        let Some(worker) = self.pick(choice).filter(|it| !self.hung.contains(it)) else {
            return;
        };
        let living = self.alive.get_mut(&worker);
        let sent = living.map(|it| std::mem::take(&mut it.sent));
        for sent in sent.into_iter().flatten() {
            self.take_in(worker, sent, refuses);
        }
        if let Some(living) = self.alive.get(&worker) {
            let slots = living.accepts.clone();
            self.tell(Event::Accepts { worker, slots });
        }
    }

    fn take_in(&mut self, worker: WorkerId, sent: Sent, fails: bool) {
        let Some(living) = self.alive.get_mut(&worker) else {
            return;
        };
        let refused = |offer| Event::Refused {
            worker,
            offer,
            reason: "it has no descriptors".to_owned(),
        };
        match sent {
            Sent::Offer(load) if fails => self.tell(refused(Some(load))),
            Sent::Serve(_) if fails => self.tell(refused(None)),
            Sent::Offer(load) => self.tell(Event::Staged { worker, load }),
            Sent::Serve(generation) => {
                assert!(generation >= living.serves, "back to an older generation");
                living.serves = generation;
                self.tell(Event::Serving { worker, generation });
            }
            Sent::Sockets(slot) => drop(living.accepts.insert(slot)),
            Sent::Release(slot) => drop(living.accepts.remove(&slot)),
            Sent::Withdraw => {}
        }
    }

    fn die(&mut self, choice: usize, end: End, leaves: bool) {
        let Some(worker) = self.pick(choice) else {
            return;
        };
        let leaves = leaves && !self.plan.ended_as_told(worker, end);
        let (phase, reports) = (self.plan.phase(), self.reports.len());
        let Some(living) = self.alive.remove(&worker) else {
            return;
        };
        if !living.held_back {
            self.needs_load.insert(living.slot, self.loads_begun);
        }
        let event = Event::Exited {
            worker,
            end,
            leaves,
        };
        self.tell(event);
        let Some(failure) = self.reports.get(reports) else {
            return;
        };
        let wait = failure.wait.unwrap_or_default();
        let failed = self.failed_heirs.entry(living.slot).or_default();
        *failed = if living.takes_over { *failed + 1 } else { 0 };
        let at_once = wait.is_zero() || wait_after(*failed).is_zero();
        let expected = match phase {
            Phase::Starting => failure.has_heir,
            Phase::Serving => leaves && at_once,
            Phase::Draining { until } => leaves && *failed < 3 && self.now < until,
            Phase::Stopping { .. } => false,
        };
        assert_eq!(failure.has_heir, expected, "{failure:?}");
        if leaves && !expected {
            let heir_wait = wait_after(self.failed_heirs[&living.slot]).min(wait);
            let at = self.now + heir_wait;
            self.heir_at.insert(living.slot, at);
        }
    }

    /// Hands a worker that is no successor sessions to take over, as the supervisor does where none is
    /// started at once.
    fn inherit(&mut self, choice: usize) {
        let slot = choice % self.plan.slots().len();
        if let Successor::Worker(worker) = self.plan.successor(slot, true) {
            let living = self.alive.get_mut(&worker).expect("a successor lives");
            living.takes_over = true;
            self.tell(Event::Inherits(worker));
        }
    }

    /// Lets a worker tell that it has taken over what it was to.
    fn take_over(&mut self, choice: usize) {
        let Some(worker) = self.pick(choice).filter(|it| !self.hung.contains(it)) else {
            return;
        };
        if let Some(living) = self.alive.get_mut(&worker) {
            living.takes_over = false;
        }
        self.tell(Event::TookOver(worker));
    }

    fn end_load(&mut self, loaded: Loaded) {
        if let Some(load) = self.loading.take() {
            let is_rollback = self.triggers[&load] == Trigger::Rollback;
            let loaded = match loaded {
                Loaded::Same | Loaded::Kept if is_rollback => Loaded::Impossible,
                loaded => loaded,
            };
            self.brought.insert(load, self.in_force);
            self.tell(Event::Loaded { load, loaded });
        }
    }

    fn all_answer(&mut self) {
        for choice in 0..self.alive.len() {
            self.take_over(choice);
            self.answer(choice, false);
        }
    }

    /// Lets everything work for long enough, and checks that nothing is left to do.
    pub(super) fn settle(&mut self) {
        self.losing = false;
        for _ in 0..60 {
            self.end_load(Loaded::Same);
            let hung = std::mem::take(&mut self.hung);
            let ending = hung.union(&self.killed).copied();
            for worker in ending.collect::<Vec<_>>() {
                let position = self.alive.keys().position(|it| *it == worker);
                if let Some(choice) = position {
                    self.die(choice, End::Signal(9), false);
                }
            }
            self.all_answer();
            self.pass(Duration::from_millis(700));
            if self.is_over() || self.plan.is_ending() {
                return;
            }
        }
        assert!(self.asked.is_empty(), "unanswered: {:?}", self.asked);
        assert!(self.plan.accepts_everywhere());
        assert_eq!(self.unsettled, self.loading.into_iter().collect());
    }

    /// Ends the daemon.
    pub(super) fn finish(&mut self) {
        if matches!(self.plan.phase(), Phase::Draining { .. }) {
            self.pass(Duration::from_secs(20));
            assert!(self.is_over(), "it drains for ever");
        }
        if !self.is_over() {
            self.tell(Event::Stop);
        }
        while !self.is_over() {
            self.die(0, End::Signal(9), false);
        }
    }
}
