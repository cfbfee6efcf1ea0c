//! Workers that die in the middle of a conversation: the session goes on in the worker's successor, and every byte
//! arrives once.
//!
//! A worker is killed at the entry and at the exit of any system call, or dies at a point between the steps of its
//! sessions. Each death takes a conversation of its own, until conversations end before they come to it. A daemon serves
//! many: its sessions are opened before, and each death hands all that are left to the next worker.

mod conversation;
mod points;
mod service;
mod stage;

use self::{conversation::Kind, stage::Stage};
use crate::support::{is_root, skip, stepper::Stepper};

/// Sessions of one daemon. Each is for one death.
const SESSIONS: usize = 60;

/// After so many conversations in a row that ended before the stop there are no more stops.
const ENOUGH: usize = 3;

/// A conversation stops its worker at least so often; otherwise this tests nothing.
const FEWEST: usize = 15;

/// Kills workers at each stop that a conversation of this kind brings about.
fn at_every_stop(kind: Kind) {
    if !is_root() {
        return skip("only root may attach to a worker");
    }
    let (mut stop, mut unreached, mut last) = (0, 0, 0);
    let mut stage = Stage::new(kind, SESSIONS);
    while unreached < ENOUGH {
        if stage.is_used_up() {
            stage.assert_lost();
            stage = Stage::new(kind, SESSIONS);
        }
        stop += 1;
        let worker = stage.worker_after(last);
        let stepper = Stepper::attach(worker, Some(stop));
        let said = stage.converse();
        let outcome = stepper.finish();
        let died = outcome.killed.is_some();
        stage.judge(said, died, &format!("stop {stop}: {outcome:?}"));
        if died {
            (unreached, last) = (0, worker);
        } else {
            unreached += 1;
        }
    }
    stage.assert_lost();
    let stops = stop - ENOUGH;
    assert!(stops >= FEWEST, "{kind:?}: only {stops} stops");
}

#[test]
fn a_session_of_tls_13_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Tls13);
}

#[test]
fn a_session_of_tls_12_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Tls12);
}

#[test]
fn a_session_with_tls_on_both_sides_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::BothTls);
}

#[test]
fn a_session_in_plaintext_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Plain);
}

#[test]
fn a_session_over_unix_sockets_outlives_a_worker_that_is_killed_unless_it_was_writing() {
    at_every_stop(Kind::Unix);
}

#[test]
fn a_session_that_one_side_has_ended_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::HalfClosed);
}

#[test]
fn a_session_in_which_bytes_wait_outlives_a_worker_that_is_killed_at_any_system_call() {
    at_every_stop(Kind::Slow);
}
