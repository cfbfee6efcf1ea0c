//! Programs that are good in their trial and fail when they have gone on.

use super::{traffic::Traffic, upgrading::Upgrading};
use crate::support::{
    PATIENCE,
    program::{End, Outcome},
};

/// Sessions that are open meanwhile.
const SESSIONS: usize = 4;

/// Upgrades a daemon to a program that is told this; `then` looks at what came of it.
fn upgraded(order: &str, then: impl FnOnce(&mut Upgrading, Outcome)) {
    let Some(mut it) = Upgrading::obeying(|it| it.workers(2)) else {
        return;
    };
    it.scene.daemon.start();
    let (traffic, knocker) = (Traffic::start(&it.scene, SESSIONS), it.scene.knock());
    traffic.flows(50);
    it.programs.order(&[order.to_owned()]);
    let outcome = it.upgrade(&it.next());
    assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
    then(&mut it, outcome);
    it.programs.carried_out_all();
    traffic.flows(50);
    knocker.was_never_refused();
    traffic.lost_nothing();
    assert_eq!(it.scene.daemon.status()["sessions"]["lost_total"], 0);
    it.leaves_no_process();
}

/// Checks that a program that was told this is gone back from, with a reason that holds `told`.
fn is_gone_back_from(order: &str, told: &str) {
    upgraded(order, |it, outcome| {
        assert!(outcome.stderr.contains(told), "{outcome:?}");
        it.tells_last("rolled-back", told);
        let status = it.scene.daemon.status();
        assert_eq!(status["program"]["replaced"], false, "{status}");
        assert_eq!(status["upgrades"]["total"], 0, "{status}");
    });
}

/// Checks that a program that was told this ends, and that the next start goes on.
fn ends(order: &str) {
    upgraded(order, |it, _| {
        it.scene.daemon.wait_exit(PATIENCE);
        it.scene.daemon.start();
    });
}

#[test]
fn a_program_that_cannot_start_after_all_goes_back_to_the_one_before() {
    is_gone_back_from("Read Fail", "told not to go on");
}

#[test]
fn a_program_whose_workers_crash_goes_back_to_the_one_before() {
    is_gone_back_from("Adopted WorkersCrash", "no worker could be started");
}

#[test]
fn a_program_whose_workers_hang_goes_back_to_the_one_before() {
    is_gone_back_from("Adopted WorkersHang", "in time");
}

#[test]
fn a_program_that_dies_leaves_everything_to_the_next_start() {
    ends("Read Abort");
}

#[test]
fn a_program_that_hangs_is_ended_and_leaves_everything_to_the_next_start() {
    ends("Begun Hang");
}
