//! Tests the plan against its promises, with arbitrary sequences of events.

mod heirs;
mod world;

use proptest::prelude::*;

use self::world::{HEARTBEAT, Rollback, World};
use super::*;

/// What may happen next; numbers choose among what is possible then.
#[derive(Debug, Clone)]
enum Move {
    Pass(u64),
    /// A worker takes a message that was sent to it and answers.
    Answer(usize),
    /// A worker takes a message that was sent to it, and cannot make the generation ready.
    Refuse(usize),
    /// The next sockets that are handed over do not arrive.
    LoseSockets,
    Die(usize, End),
    /// A worker dies and leaves sessions that another one can take over.
    Leave(usize, End),
    /// The sessions that were left in a slot are handed to the worker that is there for that.
    Inherit(usize),
    TakeOver(usize),
    Hang(usize),
    EndLoad(bool),
    /// The load finds something broken, and nothing new beside it.
    KeepLoad,
    Ask(bool),
    RollBack,
    /// Files have changed.
    Change,
    Signal,
    Drain,
    Stop,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let end = prop_oneof![
        Just(End::Code(0)),
        Just(End::Code(70)),
        Just(End::Signal(9)),
        Just(End::NotStarted),
    ];
    let leaving = prop_oneof![
        Just(End::Code(0)),
        Just(End::Code(70)),
        Just(End::Signal(9))
    ];
    let one = prop_oneof![
        6 => (0..4000_u64).prop_map(Move::Pass),
        12 => any::<usize>().prop_map(Move::Answer),
        2 => any::<usize>().prop_map(Move::Refuse),
        2 => Just(Move::LoseSockets),
        6 => (any::<usize>(), end).prop_map(|(choice, end)| Move::Die(choice, end)),
        6 => (any::<usize>(), leaving).prop_map(|(choice, end)| Move::Leave(choice, end)),
        2 => any::<usize>().prop_map(Move::Inherit),
        6 => any::<usize>().prop_map(Move::TakeOver),
        1 => any::<usize>().prop_map(Move::Hang),
        8 => any::<bool>().prop_map(Move::EndLoad),
        1 => Just(Move::KeepLoad),
        4 => any::<bool>().prop_map(Move::Ask),
        3 => Just(Move::RollBack),
        2 => Just(Move::Change),
        2 => Just(Move::Signal),
        1 => Just(Move::Drain),
        1 => Just(Move::Stop),
    ];
    proptest::collection::vec(one, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_plan_keeps_its_promises(slots in 1..5_usize, moves in moves()) {
        let mut world = World::new(slots);
        for step in &moves {
            if world.is_over() {
                break;
            }
            world.make(step);
        }
        if !world.is_over() {
            world.settle();
            world.finish();
        }
        prop_assert!(world.asked.is_empty());
    }
}

/// Returns a world of so many workers, all of which serve.
fn serving(slots: usize) -> World {
    let mut world = World::new(slots);
    (0..slots).for_each(|choice| world.make(&Move::Answer(choice)));
    world
}

fn doing(world: &World) -> Doing {
    world.plan.slots()[0].worker().unwrap().doing
}

#[test]
fn others_accept_for_a_quiet_worker_before_it_is_given_up() {
    let mut world = serving(2);
    assert!(world.plan.covers.is_empty());
    world.make(&Move::Hang(0));
    world.pass(HEARTBEAT * 3 / 4);
    assert_eq!(world.plan.covers.len(), 1);
    world.hung.clear();
    world.pass(HEARTBEAT / 4);
    assert!(world.plan.covers.is_empty());
}

#[test]
fn a_hung_worker_is_killed_and_a_supervisor_that_was_asleep_kills_none() {
    let mut world = serving(1);
    world.now += Duration::from_secs(3600);
    world.tell(Event::Tick);
    assert!(matches!(doing(&world), Doing::Serving { .. }));
    world.make(&Move::Hang(0));
    world.pass(HEARTBEAT + Duration::from_secs(1));
    let why = world.plan.slots()[0].worker().unwrap().condemned();
    assert_eq!(why, Some(Condemned::Silent));
}

#[test]
fn a_worker_that_hangs_while_it_drains_is_reported_before_the_exit() {
    let mut world = serving(1);
    world.make(&Move::Hang(0));
    world.tell(Event::Drain {
        within: Duration::from_secs(60),
    });
    world.pass(HEARTBEAT * 2);
    world.make(&Move::Die(0, End::Signal(9)));
    let failure = world.reports.last().unwrap();
    assert_eq!(failure.condemned, Some(Condemned::Silent));
    assert_eq!(failure.wait, None);
    let exit = Exit {
        success: true,
        after_hook: true,
    };
    assert_eq!(world.exit, Some(exit));
}

#[test]
fn a_worker_that_overstays_the_drain_is_killed_and_reported() {
    let mut world = serving(1);
    world.tell(Event::Drain {
        within: Duration::from_secs(1),
    });
    world.pass(Duration::from_secs(5));
    world.make(&Move::Die(0, End::Signal(9)));
    let failure = world.reports.last().unwrap();
    assert_eq!(failure.condemned, Some(Condemned::Overdue));
}

#[test]
fn a_worker_that_cannot_be_killed_does_not_keep_the_daemon() {
    let mut world = serving(1);
    world.make(&Move::Hang(0));
    world.tell(Event::Stop);
    world.pass(Duration::from_secs(11));
    assert!(world.is_over());
}

#[test]
fn a_worker_that_cannot_be_killed_does_not_keep_a_daemon_that_drains() {
    let mut world = serving(1);
    world.make(&Move::Hang(0));
    world.tell(Event::Drain {
        within: Duration::from_secs(1),
    });
    world.pass(Duration::from_secs(15));
    assert!(world.is_over());
}

#[test]
fn a_worker_that_refuses_what_is_in_force_already_is_told_again() {
    let mut world = serving(2);
    world.make(&Move::Signal);
    world.make(&Move::EndLoad(true));
    world.make(&Move::Answer(0));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.plan.generation(), 2);
    world.make(&Move::Refuse(1));
    world.pass(Duration::from_secs(2));
    (0..2).for_each(|choice| world.make(&Move::Answer(choice)));
    assert!(world.plan.wanted().all(|worker| worker.generation == 2));
}

#[test]
fn a_generation_that_one_worker_refuses_is_served_by_none_and_tried_again() {
    let mut world = serving(2);
    world.plan.expect(1, false, true);
    world.make(&Move::Ask(false));
    world.make(&Move::EndLoad(true));
    world.make(&Move::Answer(0));
    world.make(&Move::Refuse(1));
    assert_eq!(world.plan.generation(), 1);
    assert!(world.asked.is_empty(), "the request was answered");
    assert!(world.staged.is_none());
    assert!(world.loading.is_none());
    world.pass(Duration::from_secs(2));
    assert!(world.loading.is_some(), "the disk is read again");
}

fn is_rolled_back(world: &World) -> bool {
    world.rollback == Rollback::InForce
}

/// Returns a world of so many workers, which serve a rollback.
fn rolled_back(slots: usize) -> World {
    let mut world = serving(slots);
    world.make(&Move::RollBack);
    world.make(&Move::EndLoad(true));
    (0..slots).for_each(|choice| world.make(&Move::Answer(choice)));
    world.make(&Move::Pass(1));
    (0..slots).for_each(|choice| world.make(&Move::Answer(choice)));
    assert!(is_rolled_back(&world) && world.asked.is_empty());
    world
}

#[test]
fn a_rollback_holds_off_changes_and_a_worker_starts_without_the_disk() {
    let mut world = rolled_back(2);
    world.make(&Move::Change);
    assert!(world.loading.is_none());
    world.make(&Move::Die(0, End::Signal(9)));
    world.make(&Move::Pass(1000));
    assert!(world.loading.is_none());
    assert!(world.plan.slots()[0].worker().is_some());
    assert!(is_rolled_back(&world));
}

#[test]
fn a_reload_that_is_asked_for_ends_a_rollback_unless_it_takes_nothing_because_of_a_fault() {
    for (end, still) in [
        (Move::EndLoad(true), false),
        (Move::EndLoad(false), false),
        (Move::KeepLoad, true),
    ] {
        let mut world = rolled_back(1);
        world.make(&Move::Ask(false));
        world.make(&end);
        world.make(&Move::Answer(0));
        world.make(&Move::Pass(1));
        assert_eq!(is_rolled_back(&world), still, "{end:?}");
    }
}

#[test]
fn a_reload_that_a_worker_refuses_leaves_a_rollback_in_force() {
    let mut world = rolled_back(1);
    world.plan.expect(1, false, true);
    world.make(&Move::Ask(false));
    world.make(&Move::EndLoad(true));
    world.make(&Move::Refuse(0));
    world.pass(Duration::from_secs(5));
    assert!(is_rolled_back(&world) && world.loading.is_none());
    assert!(world.asked.is_empty());
}

#[test]
fn a_change_that_waits_behind_a_rollback_is_not_loaded_and_its_slot_is_filled() {
    let mut world = serving(2);
    world.make(&Move::RollBack);
    world.make(&Move::Change);
    world.make(&Move::Die(0, End::Signal(9)));
    world.make(&Move::EndLoad(true));
    (0..2).for_each(|choice| world.make(&Move::Answer(choice)));
    world.make(&Move::Pass(1));
    assert!(is_rolled_back(&world) && world.loading.is_none());
    assert!(world.plan.slots()[0].worker().is_some());
}

#[test]
fn a_rollback_that_is_refused_is_answered_at_once_and_changes_nothing() {
    let mut world = serving(1);
    world.make(&Move::Hang(0));
    world.make(&Move::RollBack);
    world.make(&Move::EndLoad(false));
    assert!(world.asked.is_empty());
    assert!(!is_rolled_back(&world));
    assert_eq!(world.plan.generation(), 1);
}

#[test]
fn a_worker_that_beats_and_never_confirms_is_killed() {
    let mut world = serving(1);
    world.make(&Move::Signal);
    world.make(&Move::EndLoad(true));
    world.pass(Duration::from_secs(13));
    let why = world.plan.slots()[0].worker().unwrap().condemned();
    assert_eq!(why, Some(Condemned::Unconfirmed));
    assert_eq!(world.plan.generation(), 2);
}

#[test]
fn a_worker_that_never_confirms_is_killed_however_often_others_do() {
    let mut world = serving(1);
    for _ in 0..4 {
        world.make(&Move::Signal);
        world.make(&Move::EndLoad(true));
        world.pass(Duration::from_secs(3));
    }
    let why = world.plan.slots()[0].worker().unwrap().condemned();
    assert_eq!(why, Some(Condemned::Unconfirmed));
}

#[test]
fn a_worker_that_repeats_what_it_served_before_gains_no_time_by_it() {
    let mut world = serving(1);
    world.make(&Move::Signal);
    world.make(&Move::EndLoad(true));
    let worker = world.plan.slots()[0].serving().unwrap();
    for _ in 0..8 {
        world.pass(Duration::from_secs(2));
        let generation = 1;
        world.tell(Event::Serving { worker, generation });
    }
    let why = world.plan.slots()[0].worker().unwrap().condemned();
    assert_eq!(why, Some(Condemned::Unconfirmed));
}

/// Lets the second of two workers refuse so many generations in a row that the first makes ready.
fn refused_in_a_row(times: u32) -> Option<Condemned> {
    let mut world = serving(2);
    for _ in 0..times {
        world.make(&Move::Signal);
        world.make(&Move::EndLoad(true));
        world.make(&Move::Answer(0));
        world.make(&Move::Refuse(1));
    }
    assert_eq!(world.plan.generation(), 1);
    world.plan.slots()[1].worker().unwrap().condemned()
}

#[test]
fn a_worker_that_refuses_again_and_again_what_another_can_serve_is_replaced() {
    assert_eq!(refused_in_a_row(7), None);
    assert_eq!(refused_in_a_row(8), Some(Condemned::Refusing));
}

#[test]
fn a_worker_that_was_not_offered_a_generation_cannot_refuse_it() {
    let mut world = serving(2);
    world.make(&Move::Die(1, End::Signal(9)));
    world.make(&Move::Signal);
    world.make(&Move::EndLoad(true));
    let load = world.staged.expect("it is staged for the other worker");
    world.tell(Event::Refused {
        worker: WorkerId(99),
        offer: Some(load),
        reason: String::new(),
    });
    world.make(&Move::Answer(0));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.plan.generation(), 2);
}

#[test]
fn sockets_that_do_not_arrive_are_handed_over_again_and_told_of_meanwhile() {
    let mut world = serving(2);
    world.make(&Move::LoseSockets);
    world.make(&Move::Die(0, End::Signal(9)));
    world.make(&Move::Answer(0));
    assert!(!world.plan.accepts_everywhere());
    assert_eq!(world.plan.unaccepted(world.now), 0);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.plan.unaccepted(world.now), 1);
    world.pass(Duration::from_secs(1));
    world.make(&Move::Answer(0));
    assert!(world.plan.accepts_everywhere());
}
