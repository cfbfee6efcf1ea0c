//! Programs that fail in their trial.

use super::upgrading::Upgrading;
use crate::support::{process, until};

/// Checks that a program whose trial is told this is refused with a reason that holds `told`, and leaves nothing behind.
fn is_refused(orders: &[(&str, &str)]) {
    let Some(mut it) = Upgrading::obeying(|it| it) else {
        return;
    };
    it.scene.daemon.start();
    let descriptors = process::descriptors(it.scene.daemon.pid()).len();
    for (deed, told) in orders {
        it.programs.order(&[format!("Trying {deed}")]);
        it.is_refused(&it.next(), told);
        it.programs.carried_out_all();
        until("nothing is left of the trial", || {
            let now = process::descriptors(it.scene.daemon.pid()).len();
            process::children(it.scene.daemon.pid()).len() == 2 && now <= descriptors
        });
        it.leaves_no_process();
    }
    // It is the same program that was refused.
    it.is_done();
}

#[test]
fn a_program_that_dies_or_refuses_in_its_trial_or_whose_worker_crashes_is_refused() {
    is_refused(&[
        ("Fail", "told not to go on"),
        ("Abort", "signal 6"),
        ("Kill", "signal 9"),
        ("WorkersCrash", "before it was ready to serve"),
    ]);
}

#[test]
fn a_program_that_hangs_in_its_trial_is_refused() {
    is_refused(&[("Hang", "did not say within")]);
}

#[test]
fn a_program_whose_worker_hangs_in_its_trial_is_refused() {
    is_refused(&[("WorkersHang", "did not say within")]);
}
