//! The plan against its promises, over arbitrary sequences of what can happen.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const HEARTBEAT: Duration = Duration::from_secs(5);

/// What the outside may do next; numbers choose among what is possible then.
#[derive(Debug, Clone)]
enum Move {
    Pass(u64),
    Ready(usize),
    Confirm(usize),
    Die(usize),
    Hang(usize),
    EndLoad(bool),
    Ask(bool),
    Signal,
    Drain,
    Stop,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (0..4000_u64).prop_map(Move::Pass),
        8 => any::<usize>().prop_map(Move::Ready),
        6 => any::<usize>().prop_map(Move::Confirm),
        6 => any::<usize>().prop_map(Move::Die),
        1 => any::<usize>().prop_map(Move::Hang),
        8 => any::<bool>().prop_map(Move::EndLoad),
        4 => any::<bool>().prop_map(Move::Ask),
        2 => Just(Move::Signal),
        1 => Just(Move::Drain),
        1 => Just(Move::Stop),
    ];
    proptest::collection::vec(one, 1..120)
}

/// The outside world as the plan's actions make it.
struct World {
    plan: Plan,
    now: Duration,
    alive: BTreeMap<WorkerId, usize>,
    hung: BTreeSet<WorkerId>,
    confirmed: BTreeMap<WorkerId, u64>,
    handed: BTreeMap<WorkerId, u64>,
    covers: BTreeMap<usize, WorkerId>,
    loading: Option<u64>,
    loads_begun: u64,
    needs_load: BTreeMap<usize, u64>,
    asked: BTreeMap<AskId, u64>,
    brought: BTreeMap<u64, u64>,
    asks: u64,
    over: bool,
}

impl World {
    fn new(slots: usize) -> Self {
        let (plan, actions) = Plan::new(slots, HEARTBEAT);
        let mut world = Self {
            plan,
            now: Duration::ZERO,
            alive: BTreeMap::new(),
            hung: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            handed: BTreeMap::new(),
            covers: BTreeMap::new(),
            loading: None,
            loads_begun: 0,
            needs_load: BTreeMap::new(),
            asked: BTreeMap::new(),
            brought: BTreeMap::new(),
            asks: 0,
            over: false,
        };
        world.act(actions);
        world
    }

    fn tell(&mut self, event: Event) {
        let actions = self.plan.on(event, self.now);
        self.act(actions);
        self.check();
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            assert!(!self.over, "{action:?} after the end");
            match action {
                Action::Load { load, .. } => {
                    assert_eq!(self.loading.replace(load), None, "two loads at a time");
                    self.loads_begun = load;
                }
                Action::Start { slot, worker, .. } => self.start(slot, worker),
                Action::Serve(worker) => {
                    self.handed.insert(worker, self.plan.generation());
                }
                Action::Cover { worker, slot } => {
                    assert!(self.confirmed.contains_key(&worker));
                    assert_eq!(self.covers.insert(slot, worker), None);
                }
                Action::Release { worker, slot } => {
                    assert_eq!(self.covers.remove(&slot), Some(worker));
                }
                Action::Answer { asks, answer } => self.answer(&asks, answer),
                Action::Report(failure) => assert!(!self.alive.contains_key(&failure.worker)),
                Action::Exit => {
                    assert!(self.alive.is_empty(), "ended before its workers");
                    self.over = true;
                }
                Action::Kill(worker) => {
                    assert!(self.alive.contains_key(&worker));
                    self.covers.retain(|_, by| *by != worker);
                }
                Action::Drain(_) | Action::Ready | Action::GiveUp => {}
            }
        }
    }

    fn start(&mut self, slot: usize, worker: WorkerId) {
        assert!(
            !self.alive.values().any(|other| *other == slot),
            "two workers in slot {slot}"
        );
        assert!(
            matches!(self.plan.phase(), Phase::Starting | Phase::Serving),
            "started while ending"
        );
        if let Some(since) = self.needs_load.remove(&slot) {
            let disk_hangs = self.loading.is_some() && self.plan.loads.deadline().is_none();
            assert!(
                self.loads_begun > since || disk_hangs,
                "started without a fresh load"
            );
        }
        self.alive.insert(worker, slot);
        self.handed.insert(worker, self.plan.generation());
    }

    fn answer(&mut self, asks: &[AskId], answer: Answer) {
        for ask in asks {
            let begun_before = self.asked.remove(ask).expect("answered twice");
            let Answer::Result { load, .. } = answer else {
                continue;
            };
            assert!(
                load > begun_before,
                "answered from a load begun before the question"
            );
            for worker in self.plan.wanted() {
                assert!(
                    worker.generation >= self.brought[&load],
                    "answered before {worker:?} served it"
                );
            }
        }
    }

    fn check(&self) {
        let serving: Vec<_> = self.plan.slots().iter().map(Slot::serving).collect();
        let ending = !matches!(self.plan.phase(), Phase::Starting | Phase::Serving);
        for (slot, worker) in self.plan.slots().iter().enumerate() {
            if ending {
                continue;
            }
            if serving.iter().any(Option::is_some) && serving[slot].is_none() {
                let by = self.covers.get(&slot);
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

    fn make(&mut self, step: &Move) {
        match step {
            Move::Pass(millis) => self.pass(Duration::from_millis(*millis)),
            Move::Ready(choice) | Move::Confirm(choice) => self.confirm(*choice),
            Move::Die(choice) => self.die(*choice),
            Move::Hang(choice) => {
                if let Some(worker) = self.pick(*choice) {
                    self.hung.insert(worker);
                }
            }
            Move::EndLoad(new) => self.end_load(*new),
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
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && !self.over {
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

    fn confirm(&mut self, choice: usize) {
        let Some(worker) = self.pick(choice) else {
            return;
        };
        if self.hung.contains(&worker) {
            return;
        }
        let generation = self.handed[&worker];
        self.confirmed.insert(worker, generation);
        self.tell(Event::Serving { worker, generation });
    }

    fn die(&mut self, choice: usize) {
        let Some(worker) = self.pick(choice) else {
            return;
        };
        self.remove(worker);
        self.tell(Event::Exited(worker));
    }

    fn remove(&mut self, worker: WorkerId) {
        if let Some(slot) = self.alive.remove(&worker) {
            self.needs_load.insert(slot, self.loads_begun);
        }
        self.confirmed.remove(&worker);
        self.covers.retain(|_, by| *by != worker);
    }

    fn end_load(&mut self, new: bool) {
        if let Some(load) = self.loading.take() {
            let loaded = if new { Loaded::New } else { Loaded::Same };
            let generation = self.plan.generation() + u64::from(new);
            self.brought.insert(load, generation);
            self.tell(Event::Loaded(loaded));
        }
    }

    /// Answers everything and lets everybody end: nothing may be left over.
    fn finish(&mut self) {
        for _ in 0..3 {
            self.end_load(false);
        }
        self.hung.clear();
        let alive: Vec<_> = self.alive.keys().copied().collect();
        for choice in 0..alive.len() {
            self.confirm(choice);
        }
        if !self.over {
            self.tell(Event::Stop);
        }
        while !self.over {
            self.die(0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_plan_keeps_its_promises(slots in 1..5_usize, moves in moves()) {
        let mut world = World::new(slots);
        for step in &moves {
            if world.over {
                break;
            }
            world.make(step);
        }
        if !world.over {
            world.finish();
        }
        prop_assert!(world.asked.is_empty());
    }
}

#[test]
fn others_accept_for_a_quiet_worker_before_it_is_given_up() {
    let mut world = World::new(2);
    world.confirm(0);
    world.confirm(1);
    assert!(world.covers.is_empty());
    world.make(&Move::Hang(0));
    world.pass(HEARTBEAT * 3 / 4);
    assert_eq!(world.covers.len(), 1);
    world.hung.clear();
    world.pass(HEARTBEAT / 4);
    assert!(world.covers.is_empty());
}

#[test]
fn a_hung_worker_is_killed_and_a_supervisor_that_was_asleep_kills_nobody() {
    let mut world = World::new(1);
    world.confirm(0);
    world.now += Duration::from_secs(3600);
    world.tell(Event::Tick);
    assert!(matches!(
        world.plan.slots()[0].worker().unwrap().doing,
        Doing::Serving { .. }
    ));
    world.make(&Move::Hang(0));
    world.pass(HEARTBEAT + Duration::from_secs(1));
    assert!(matches!(
        world.plan.slots()[0].worker().unwrap().doing,
        Doing::Condemned {
            why: Condemned::Silent,
            ..
        }
    ));
}
