//! Sessions that end with their worker: too young, told not to outlive it, or not established yet.

use super::{end::End, kind::Kind, stage::Stage, talk::Talk};
use crate::support::{client::connect, until};

/// Kills the only worker; sees that all sessions end and are counted as lost.
#[track_caller]
fn all_are_lost(stage: &Stage, talks: Vec<Talk>) {
    let number = talks.len();
    assert_eq!(stage.daemon.status()["sessions"]["kept"], 0);
    stage.kill();
    for mut talk in talks {
        for end in [&mut talk.client, &mut talk.backend] {
            // TLS that ends without `close_notify` is an error, as is a reset.
            let over = matches!(end, End::Plain(_));
            let heard = end.hear();
            assert!(
                heard.is_err() || over && heard.is_ok_and(|it| it.is_empty()),
                "{}",
                talk.name
            );
        }
    }
    stage.await_lost(number);
    let sessions = &stage.daemon.status()["sessions"];
    assert_eq!(
        (&sessions["open"], &sessions["taken_over_total"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn with_keep_after_off_sessions_end_with_their_worker_and_are_counted() {
    let mut stage = Stage::with(&[], |it| it.set("keep_after", "\"off\""));
    let mut talks = stage.open_all(&[Kind::mixed(), Kind::over_unix()].concat());
    talks.iter_mut().for_each(Talk::exchange);
    all_are_lost(&stage, talks);
}

#[test]
fn sessions_that_are_younger_than_keep_after_end_with_their_worker_and_are_counted() {
    let mut stage = Stage::with(&[], |it| it.set("keep_after", "\"1m\""));
    let mut talks = stage.open_all(&Kind::mixed());
    talks.iter_mut().for_each(Talk::exchange);
    all_are_lost(&stage, talks);
}

#[test]
fn a_client_that_was_not_let_in_yet_is_cut_and_does_not_count_as_lost() {
    let stage = Stage::new();
    let address = stage.daemon.address_of("tcp-tcp-plain");
    let silent = connect(address).unwrap();
    until("it is shown", || stage.list(&[]).len() == 1);
    stage.kill();
    let mut silent = End::Plain(silent);
    assert!(silent.hear().map_or(true, |it| it.is_empty()));
    until("it is gone", || stage.list(&[]).is_empty());
    assert_eq!(stage.daemon.status()["sessions"]["lost_total"], 0);
}

#[test]
fn a_session_that_is_over_is_kept_no_more_and_no_descriptor_of_it_stays() {
    let mut stage = Stage::new();
    let pid = stage.daemon.pid();
    let descriptors = || crate::support::process::descriptors(pid).len();
    stage.open(&Kind::mixed()[0]).finish();
    stage.await_kept(0);
    let before = descriptors();
    for _ in 0..3 {
        let talks = stage.open_all(&Kind::mixed());
        stage.await_kept(talks.len());
        talks.into_iter().for_each(Talk::finish);
        stage.await_kept(0);
    }
    until("as many descriptors are open as before", || {
        descriptors() <= before
    });
}

#[test]
fn a_session_that_ends_after_a_takeover_leaves_no_descriptor() {
    let mut stage = Stage::new();
    let pid = stage.daemon.pid();
    let descriptors = || crate::support::process::descriptors(pid).len();
    let before = descriptors();
    for _ in 0..3 {
        let mut talks = stage.open_all(&Kind::mixed());
        stage.await_kept(talks.len());
        stage.kill();
        talks.iter_mut().for_each(Talk::exchange);
        talks.into_iter().for_each(Talk::finish);
        stage.await_kept(0);
    }
    until("as many descriptors are open as before", || {
        descriptors() <= before
    });
    stage.lost_none();
}
