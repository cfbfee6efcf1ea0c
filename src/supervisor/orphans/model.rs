//! A model of the workers of an earlier supervisor, which do what they are told, or hang.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::course::{Action, Course, Doing, Event, Why};
use crate::supervisor::plan::WorkerId;

const PATIENCE: Duration = Duration::from_secs(2);

/// What happens in the world.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Milliseconds pass, in which all workers but those that hang send beats.
    Pass(u64),
    /// One hangs from now on.
    Hang(u64),
    /// Each slot has a worker.
    Covered,
    /// One that was told to says how many of its sessions stay.
    HandsOver(u64, u64),
    /// Another worker says that it has what one was ready to hand over.
    Held(u64),
    /// One ends that was killed, has handed over or drains.
    Ends(u64),
    /// The daemon drains.
    Drain(u64),
    /// The daemon stops.
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let worker = 0_u64..4;
    prop_oneof![
        8 => (0_u64..900).prop_map(Step::Pass),
        1 => worker.clone().prop_map(Step::Hang),
        2 => Just(Step::Covered),
        4 => (worker.clone(), 0_u64..3).prop_map(|(worker, stays)| Step::HandsOver(worker, stays)),
        4 => worker.clone().prop_map(Step::Held),
        4 => worker.prop_map(Step::Ends),
        1 => (0_u64..5000).prop_map(Step::Drain),
        1 => Just(Step::Stop),
    ]
}

#[derive(Debug, Default)]
struct World {
    now: Duration,
    covered: bool,
    living: BTreeSet<u64>,
    hanging: BTreeMap<u64, Duration>,
    told: BTreeSet<u64>,
    killed: BTreeSet<u64>,
    ready: BTreeSet<u64>,
    handed: BTreeSet<u64>,
    ending: Option<Duration>,
}

impl World {
    /// Carries out actions, and checks that each may be.
    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::HandOver(WorkerId(id)) => {
                    assert!(self.covered, "no slot is left without a worker");
                    assert!(self.told.insert(id), "once");
                    assert!(self.living.contains(&id) && self.ending.is_none());
                }
                Action::Offer(WorkerId(id)) => assert!(self.ready.contains(&id)),
                Action::Leave(WorkerId(id)) => {
                    assert!(self.ready.contains(&id), "another worker can go on");
                    assert!(self.handed.insert(id), "once");
                }
                Action::Drain(WorkerId(id)) => {
                    assert!(self.ending.is_some() && !self.handed.contains(&id));
                }
                Action::Kill(WorkerId(id), why) => {
                    assert!(self.living.contains(&id));
                    let again = !self.killed.insert(id);
                    assert!(!again || why == Why::Ending, "once, but for the end");
                    if why == Why::Silent {
                        let since = self.hanging[&id];
                        assert!(self.now + PATIENCE / 4 >= since + PATIENCE);
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn workers_hand_over_when_they_may_and_none_hangs_for_ever(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut course = Course::new(PATIENCE);
        let mut world = World::default();
        for id in 0..4 {
            course.add(WorkerId(id));
            world.living.insert(id);
        }
        for step in steps {
            let actions = match step {
                Step::Pass(milliseconds) => {
                    pass(&mut course, &mut world, milliseconds);
                    vec![]
                }
                Step::Hang(id) => {
                    world.hanging.entry(id).or_insert(world.now);
                    vec![]
                }
                Step::Covered => {
                    world.covered = true;
                    course.on(Event::Covered, world.now)
                }
                Step::HandsOver(id, stays) if world.told.contains(&id) && !world.hanging.contains_key(&id) => {
                    if stays == 0 {
                        world.ready.insert(id);
                    }
                    let worker = WorkerId(id);
                    course.on(Event::HandedOver { worker, stays }, world.now)
                }
                Step::HandsOver(..) => vec![],
                Step::Held(id) => course.on(Event::Held(WorkerId(id)), world.now),
                Step::Ends(id) => {
                    let ends = world.killed.contains(&id) || world.handed.contains(&id);
                    if ends && world.living.remove(&id) {
                        let doing = course.remove(WorkerId(id));
                        let killed = world.killed.contains(&id);
                        let has_handed = matches!(doing, Some(Doing::HandedOver { .. }));
                        prop_assert!(killed || has_handed);
                    }
                    vec![]
                }
                Step::Drain(within) => {
                    world.ending.get_or_insert(world.now);
                    let within = Duration::from_millis(within);
                    course.on(Event::Drain { within }, world.now)
                }
                Step::Stop => {
                    world.ending.get_or_insert(world.now);
                    course.on(Event::Stop, world.now)
                }
            };
            world.act(actions);
        }
        // Those that hang are killed in the end, and so are those that say that they end and do not.
        pass(&mut course, &mut world, 60_000);
        for id in world.living.clone() {
            let is_stuck = world.hanging.contains_key(&id) || world.handed.contains(&id);
            prop_assert!(!is_stuck || world.killed.contains(&id), "{id}");
            if world.ending.is_some() {
                prop_assert_eq!(course.doing(WorkerId(id)), None, "the end waits for none");
            }
        }
    }
}

/// Lets time pass; workers that do not hang send beats.
fn pass(course: &mut Course, world: &mut World, milliseconds: u64) {
    let end = world.now + Duration::from_millis(milliseconds);
    while world.now < end {
        world.now = (world.now + Duration::from_millis(50)).min(end);
        for id in 0..4 {
            if !world.hanging.contains_key(&id) {
                let actions = course.on(Event::Heard(WorkerId(id)), world.now);
                world.act(actions);
            }
        }
        if course.due().is_some_and(|due| due <= world.now) {
            let actions = course.on(Event::Tick, world.now);
            world.act(actions);
            assert!(
                course.due().is_none_or(|due| due > world.now),
                "no loop spins"
            );
        }
    }
}
