//! Ways in which a worker dies other than by being killed.

use nix::sys::signal::Signal;

use super::{busy::Busy, kind::Kind, stage::Stage};
use crate::support::process;

/// Lets the only worker die in this way under sessions at work, and sees that none is lost.
#[track_caller]
fn lose_nothing(stage: &mut Stage, die: impl Fn(&Stage)) {
    let talks = stage.open_all(&Kind::mixed());
    let number = talks.len();
    stage.await_kept(number);
    let busy = Busy::start(talks);
    busy.go_on();
    die(stage);
    busy.go_on();
    stage.await_taken_over(number);
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn a_fault_of_memory_loses_no_session() {
    lose_nothing(&mut Stage::new(), |it| drop(it.strike(Signal::SIGSEGV)));
}

#[test]
fn an_abort_loses_no_session() {
    lose_nothing(&mut Stage::new(), |it| drop(it.strike(Signal::SIGABRT)));
}

#[test]
fn an_exit_as_after_a_panic_loses_no_session() {
    // A debugger may hold a worker for longer than others may be silent.
    let mut stage = Stage::with(&[], |it| it.set("heartbeat_timeout", "\"60s\""));
    lose_nothing(&mut stage, |it| {
        process::make_exit(it.daemon.workers()[0], 101);
    });
}

#[test]
fn a_worker_that_hangs_is_killed_and_loses_no_session() {
    let mut stage = Stage::with(&[], |it| it.set("heartbeat_timeout", "\"1s\""));
    lose_nothing(&mut stage, |it| {
        it.strike(Signal::SIGSTOP);
    });
    let last = &stage.daemon.status()["restarts"]["last"];
    assert_eq!(last["kind"], "watchdog");
}

#[test]
fn a_worker_that_only_pauses_keeps_its_sessions() {
    let mut stage = Stage::with(&[], |it| it.set("heartbeat_timeout", "\"30s\""));
    let mut talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let worker = stage.stop_one();
    for it in &mut talks {
        it.client_says(1000);
    }
    process::send(worker, Signal::SIGCONT);
    for it in &mut talks {
        it.backend_hears_all();
    }
    for it in talks {
        it.finish();
    }
    let status = stage.daemon.status();
    assert_eq!(status["sessions"]["taken_over_total"], 0);
    assert_eq!(stage.daemon.workers(), [worker]);
}
