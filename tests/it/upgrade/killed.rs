//! Supervisors that are killed in the middle of an upgrade.

use std::time::Duration;

use super::{traffic::Traffic, upgrading::Upgrading};
use crate::support::{PATIENCE, pause};

/// Sessions that are open meanwhile.
const SESSIONS: usize = 4;

/// Moments at which it is killed, counted from the request: an upgrade takes some hundred milliseconds.
const MOMENTS: u32 = 12;

/// The time between two moments.
const STEP: Duration = Duration::from_millis(40);

/// The points that the supervisor before the upgrade comes to.
const BEFORE: [&str; 5] = ["Asked", "Tried", "Quiet", "Leaving", "Executing"];

/// Those at the start of a supervisor that goes on, of either program.
const STARTING: [&str; 6] = ["Executed", "Read", "Found", "Begun", "Adopted", "Launched"];

/// Those of a supervisor whose workers serve.
const SERVING: [&str; 9] = [
    "HandingOver",
    "Serving",
    "Offered",
    "Held",
    "ToldToLeave",
    "HandedOver",
    "Confirming",
    "Confirmed",
    "Answered",
];

/// Has a supervisor killed behind these orders at each of these points, one upgrade after the other.
fn walk(orders: &[&str], points: &[&str]) {
    let Some(mut it) = Upgrading::obeying(|it| it.workers(2)) else {
        return;
    };
    it.scene.daemon.start();
    let (traffic, knocker) = (Traffic::start(&it.scene, SESSIONS), it.scene.knock());
    for point in points {
        traffic.flows(20);
        let last = format!("{point} Kill");
        let first = orders.iter().map(|it| (*it).to_owned());
        it.programs.order(&first.chain([last]).collect::<Vec<_>>());
        let mut asked = it.begin();
        it.scene.daemon.wait_exit(PATIENCE);
        it.programs.carried_out_all();
        let has_answer = asked.wait().unwrap().success();
        assert!(!has_answer || *point == "Answered", "{point}");
        traffic.flows(20);
        it.scene.daemon.start();
        it.leaves_no_process();
        let status = it.scene.daemon.status();
        assert_eq!(status["sessions"]["lost_total"], 0, "{point}: {status}");
    }
    knocker.was_never_refused();
    traffic.lost_nothing();
    it.is_done();
}

#[test]
fn a_supervisor_that_is_killed_at_a_step_before_it_goes_on_as_another_program_takes_no_session_along()
 {
    walk(&[], &BEFORE);
}

#[test]
fn a_supervisor_that_is_killed_at_a_step_of_its_start_as_another_program_takes_no_session_along() {
    walk(&[], &STARTING);
}

#[test]
fn a_supervisor_that_is_killed_while_it_is_handed_sessions_takes_none_along() {
    walk(&[], &SERVING);
}

#[test]
fn a_supervisor_that_is_killed_while_it_starts_as_the_program_before_takes_no_session_along() {
    walk(&["Read Fail"], &[&["GoingBack"][..], &STARTING].concat());
}

#[test]
fn a_supervisor_that_is_killed_when_the_program_before_serves_again_takes_no_session_along() {
    walk(&["Read Fail"], &SERVING);
}

#[test]
fn a_supervisor_that_is_killed_at_any_moment_of_an_upgrade_takes_no_session_along() {
    let Some(mut it) = Upgrading::with(|it| it.workers(2)) else {
        return;
    };
    let (traffic, knocker) = (Traffic::start(&it.scene, SESSIONS), it.scene.knock());
    for moment in 0..MOMENTS {
        traffic.flows(20);
        let mut asked = it.begin();
        pause(STEP * moment);
        it.kill();
        asked.wait().unwrap();
        traffic.flows(20);
        it.scene.daemon.start();
    }
    knocker.was_never_refused();
    traffic.lost_nothing();
    assert_eq!(it.scene.daemon.status()["sessions"]["lost_total"], 0);
    it.leaves_no_process();
}
