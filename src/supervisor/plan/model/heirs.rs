//! Tests of workers that take sessions over, in cases that the model finds only now and then.

use super::*;

fn worker(world: &World, slot: usize) -> &Worker {
    world.plan.slots()[slot].worker().unwrap()
}

fn is_held_back(world: &World, slot: usize) -> bool {
    matches!(worker(world, slot).doing, Doing::HeldBack(_))
}

const KILLED: End = End::Signal(9);

fn drain(world: &mut World) {
    let within = Duration::from_secs(60);
    world.tell(Event::Drain { within });
}

#[test]
fn sessions_are_taken_over_at_once_and_the_heir_serves_after_the_load() {
    let mut world = serving(1);
    world.make(&Move::Leave(0, KILLED));
    assert!(is_held_back(&world, 0) && world.loading.is_some());
    assert_eq!(
        world.plan.successor(0, false),
        Successor::Worker(worker(&world, 0).id)
    );
    world.make(&Move::TakeOver(0));
    assert!(is_held_back(&world, 0));
    world.make(&Move::EndLoad(false));
    assert_eq!(worker(&world, 0).doing, Doing::Starting);
    world.make(&Move::Answer(0));
    assert!(world.plan.accepts_everywhere());
}

#[test]
fn a_disk_that_is_stuck_delays_no_session_and_serving_only_for_its_patience() {
    let mut world = serving(1);
    world.make(&Move::Leave(0, KILLED));
    world.pass(Duration::from_secs(4));
    assert!(is_held_back(&world, 0));
    world.pass(Duration::from_secs(2));
    assert_eq!(worker(&world, 0).doing, Doing::Starting);
}

#[test]
fn a_worker_that_was_let_serve_has_as_long_for_it_as_one_that_was_just_started() {
    let mut world = serving(1);
    world.make(&Move::Leave(0, KILLED));
    world.pass(Duration::from_secs(4));
    world.make(&Move::EndLoad(false));
    world.pass(Duration::from_secs(8));
    assert_eq!(worker(&world, 0).doing, Doing::Starting);
    world.pass(Duration::from_secs(4));
    assert_eq!(worker(&world, 0).condemned(), Some(Condemned::NeverReady));
}

#[test]
fn a_back_off_holds_an_heir_back_from_serving_and_not_from_sessions() {
    let mut world = serving(1);
    for _ in 0..4 {
        world.make(&Move::Leave(0, KILLED));
        world.make(&Move::TakeOver(0));
        world.make(&Move::EndLoad(false));
    }
    assert_eq!(
        world.reports.last().unwrap().wait,
        Some(Duration::from_millis(400))
    );
    assert!(is_held_back(&world, 0) && world.loading.is_none());
    world.pass(Duration::from_millis(500));
    assert!(is_held_back(&world, 0) && world.loading.is_some());
    world.make(&Move::EndLoad(false));
    assert_eq!(worker(&world, 0).doing, Doing::Starting);
}

#[test]
fn workers_that_die_before_they_took_sessions_over_are_replaced_later_and_later() {
    let mut world = serving(2);
    world.make(&Move::Leave(0, KILLED));
    let heir = worker(&world, 0).id;
    world.make(&Move::Leave(1, KILLED));
    let second = worker(&world, 0).id;
    assert!(second != heir && is_held_back(&world, 0));
    world.make(&Move::Leave(1, KILLED));
    assert!(world.plan.slots()[0].worker().is_none());
    let other = worker(&world, 1).id;
    assert_eq!(world.plan.successor(0, true), Successor::Worker(other));
    assert_eq!(world.plan.successor(0, false), Successor::Later);
    world.pass(Duration::from_millis(100));
    assert!(is_held_back(&world, 0), "long before it may serve");
}

#[test]
fn a_rollback_holds_back_no_heir() {
    let mut world = rolled_back(1);
    world.make(&Move::Leave(0, KILLED));
    assert_eq!(worker(&world, 0).doing, Doing::Starting);
    assert_eq!(worker(&world, 0).heir, Heir::TakesOver);
}

#[test]
fn a_reload_does_not_wait_for_a_worker_that_is_held_back() {
    let mut world = serving(2);
    world.make(&Move::Signal);
    world.make(&Move::EndLoad(true));
    world.make(&Move::Leave(0, KILLED));
    world.make(&Move::Answer(0));
    assert_eq!(world.plan.generation(), 2);
    assert!(is_held_back(&world, 0));
    world.make(&Move::EndLoad(false));
    assert_eq!(worker(&world, 0).doing, Doing::Starting);
}

#[test]
fn an_heir_that_is_silent_is_killed() {
    let mut world = serving(1);
    world.make(&Move::Leave(0, KILLED));
    world.make(&Move::Hang(0));
    world.pass(HEARTBEAT * 2);
    assert_eq!(worker(&world, 0).condemned(), Some(Condemned::Silent));
}

#[test]
fn sessions_that_are_left_during_a_drain_are_taken_over_and_drained() {
    let mut world = serving(1);
    drain(&mut world);
    world.make(&Move::Leave(0, End::Signal(11)));
    assert_eq!(worker(&world, 0).doing, Doing::Draining);
    world.make(&Move::TakeOver(0));
    assert_eq!(worker(&world, 0).heir, Heir::TookOver);
    world.make(&Move::Die(0, End::Code(0)));
    assert!(world.is_over());
    assert_eq!(world.reports.len(), 1);
}

#[test]
fn a_drain_that_begins_while_sessions_are_taken_over_goes_on_with_them() {
    let mut world = serving(1);
    world.make(&Move::Leave(0, KILLED));
    drain(&mut world);
    assert_eq!(worker(&world, 0).doing, Doing::Draining);
    assert!(!world.is_over());
    world.make(&Move::TakeOver(0));
    world.make(&Move::Die(0, End::Code(0)));
    assert!(world.is_over());
}

#[test]
fn a_worker_that_has_taken_sessions_over_and_does_not_serve_yet_drains_them() {
    let mut world = serving(1);
    world.make(&Move::Leave(0, KILLED));
    world.make(&Move::TakeOver(0));
    drain(&mut world);
    assert_eq!(worker(&world, 0).doing, Doing::Draining);
}

#[test]
fn a_drain_goes_on_without_sessions_that_three_heirs_in_a_row_could_not_take_over() {
    let mut world = serving(1);
    drain(&mut world);
    for _ in 0..3 {
        world.make(&Move::Leave(0, KILLED));
        assert!(!world.is_over());
    }
    world.make(&Move::Leave(0, KILLED));
    assert!(world.is_over());
}

#[test]
fn a_stop_takes_over_nothing() {
    let mut world = serving(1);
    world.make(&Move::Leave(0, KILLED));
    world.tell(Event::Stop);
    assert_eq!(world.plan.successor(0, true), Successor::Never);
    world.make(&Move::Leave(0, KILLED));
    assert!(world.is_over());
}

#[test]
fn an_heir_that_does_not_know_the_heartbeat_yet_has_time_for_its_first_beats() {
    let mut world = World::with(1, Duration::from_millis(100));
    world.make(&Move::Answer(0));
    world.make(&Move::Leave(0, KILLED));
    world.make(&Move::Hang(0));
    world.pass(Duration::from_secs(2));
    assert!(is_held_back(&world, 0));
    world.pass(Duration::from_secs(2));
    assert_eq!(worker(&world, 0).condemned(), Some(Condemned::Silent));
}
