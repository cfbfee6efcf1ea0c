//! Workers that die at a point between the steps of their sessions, by the build that takes orders.

use super::{
    conversation::{Ended, Kind},
    stage::Stage,
};

/// Sessions of one daemon. More deaths in a row would have the next worker wait before it takes orders.
const SESSIONS: usize = 3;

/// How often a conversation passes a point at most before its worker is to die there.
const MOST: u64 = 4;

/// Has the worker die at a point that a conversation of this kind passes, at each of its first passings.
fn at_every_passing(kind: Kind, points: &[&str]) {
    let Some(mut stage) = Stage::obeying(kind, SESSIONS) else {
        return;
    };
    for point in points {
        for passing in 1..=MOST {
            if stage.is_used_up() {
                stage.assert_lost();
                stage = Stage::obeying(kind, SESSIONS).expect("there was one before");
            }
            let worker = stage.obeys().worker(0);
            worker.die_at(point, passing);
            let said = stage.converse();
            let died = !worker.live_on(point);
            let context = format!("{point}, passing {passing}, died: {died}");
            stage.judge(said, died, &context);
            assert!(died || passing > 1, "{kind:?} never passes {point}");
            if !died {
                break;
            }
        }
    }
    stage.assert_lost();
}

/// The points that every conversation passes.
const STEPS: [&str; 5] = [
    "AfterRead",
    "BeforeCommit",
    "BeforeFlip",
    "AfterCommit",
    "AfterWrite",
];

#[test]
fn a_session_in_plaintext_outlives_a_worker_that_dies_at_any_point() {
    at_every_passing(Kind::Plain, &STEPS);
}

#[test]
fn a_session_with_tls_on_both_sides_outlives_a_worker_that_dies_at_any_point() {
    at_every_passing(Kind::BothTls, &STEPS);
}

#[test]
fn a_session_of_tls_12_outlives_a_worker_that_dies_at_any_point() {
    at_every_passing(Kind::Tls12, &STEPS);
}

#[test]
fn a_session_over_unix_sockets_outlives_a_worker_that_dies_at_any_point_unless_it_was_writing() {
    at_every_passing(Kind::Unix, &[&STEPS[..], &["AfterConsume"]].concat());
}

#[test]
fn a_session_that_one_side_has_ended_outlives_a_worker_that_dies_at_any_point() {
    let points = [&STEPS[..], &["AfterClose", "AfterEnd"]].concat();
    at_every_passing(Kind::HalfClosed, &points);
}

#[test]
fn a_session_in_which_bytes_wait_outlives_a_worker_that_dies_at_any_point() {
    let points = [&STEPS[..], &["AfterSettle"]].concat();
    at_every_passing(Kind::Slow, &points);
}

#[test]
fn a_session_that_was_just_being_kept_ends_with_its_worker_and_no_other_does() {
    let Some(mut stage) = Stage::obeying(Kind::Tls13, SESSIONS) else {
        return;
    };
    let worker = stage.obeys().worker(0);
    worker.die_at("AfterRecord", 1);
    // One that is over before it has lasted for `keep_after` is not kept.
    let mut all = (0..100).map(|_| stage.converse_anew());
    let said = all.find(|said| *said != Ok(Ended::Well));
    drop(all);
    assert_eq!(said, Some(Ok(Ended::Early)));
    assert!(!worker.live_on("AfterRecord"), "it never passes the point");
    stage.assert_idle_one_lives("AfterRecord");
    let status = stage
        .daemon()
        .await_status("its loss is counted", |status| {
            status["sessions"]["lost_total"] == 1
        });
    assert_eq!(status["sessions"]["lost_by_reason"]["not_kept"], 1);
}
