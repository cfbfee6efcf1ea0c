//! Sessions that say nothing when their worker dies.

use super::{
    kind::{Kind, PLAIN, TLS12, TLS13},
    stage::Stage,
};

/// Opens sessions of these kinds, kills the worker, and sees that they go on.
#[track_caller]
fn outlive(kinds: &[Kind]) {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(kinds);
    for it in &mut talks {
        it.exchange();
    }
    stage.await_kept(talks.len());
    stage.kill();
    for it in &mut talks {
        it.exchange();
    }
    stage.await_taken_over(talks.len());
    for it in talks {
        it.finish();
    }
    stage.lost_none();
}

#[test]
fn idle_sessions_with_each_version_on_each_leg_outlive_the_only_worker() {
    outlive(&Kind::over_tcp());
}

#[test]
fn idle_sessions_in_every_suite_outlive_the_only_worker() {
    outlive(&Kind::every_suite());
}

#[test]
fn idle_sessions_over_unix_sockets_outlive_the_only_worker() {
    outlive(&Kind::over_unix());
}

#[test]
fn a_session_in_which_nothing_was_said_since_it_was_opened_outlives_its_worker() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&Kind::over_tcp());
    stage.await_kept(talks.len());
    stage.kill();
    for it in &mut talks {
        it.exchange();
    }
    for it in talks {
        it.finish();
    }
    stage.lost_none();
}

#[test]
fn one_worker_of_two_is_killed_and_the_sessions_of_both_go_on() {
    let mut stage = Stage::with(&[], |it| it.workers(2));
    let kinds = [Kind::of(TLS13, PLAIN); 8];
    let mut talks = stage.open_all(&kinds);
    stage.await_kept(talks.len());
    for slot in [0, 1, 0] {
        let worker = stage.daemon.workers()[slot];
        Stage::kill_one(worker);
        for it in &mut talks {
            it.exchange();
        }
    }
    for it in talks {
        it.finish();
    }
    stage.lost_none();
}

#[test]
fn keys_are_changed_before_a_death_after_it_and_without_a_word_in_between() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&[
        Kind::of(TLS13, PLAIN),
        Kind::of(PLAIN, TLS13),
        Kind::of(TLS13, TLS13),
        Kind::of(TLS12, TLS13),
    ]);
    for it in &mut talks {
        it.change_keys();
    }
    stage.await_kept(talks.len());
    for _ in 0..3 {
        stage.kill();
        for it in &mut talks {
            it.change_keys();
        }
        for it in &mut talks {
            it.change_keys();
        }
    }
    stage.kill();
    for it in &mut talks {
        it.exchange();
    }
    for it in talks {
        it.finish();
    }
    stage.lost_none();
}

#[test]
fn a_peer_that_leaves_while_no_worker_serves_has_left_when_one_does() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&Kind::mixed());
    for it in &mut talks {
        it.exchange();
    }
    stage.await_kept(talks.len());
    let worker = stage.stop_one();
    for talk in &mut talks {
        // The worker is stopped, so no process has read this end when the worker dies.
        talk.client.finish().unwrap();
    }
    Stage::kill_one(worker);
    for talk in &mut talks {
        talk.backend_hears_end();
        talk.down(1000);
        talk.backend_finishes();
    }
    stage.lost_none();
}

#[test]
fn words_that_come_while_no_worker_serves_are_carried_by_the_next() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&[Kind::over_tcp(), Kind::over_unix()].concat());
    for it in &mut talks {
        it.exchange();
    }
    stage.await_kept(talks.len());
    let worker = stage.stop_one();
    for talk in &mut talks {
        talk.client_says(5000);
        talk.backend_says(5000);
    }
    Stage::kill_one(worker);
    for talk in &mut talks {
        talk.backend_hears_all();
        talk.client_hears_all();
    }
    for it in talks {
        it.finish();
    }
    stage.lost_none();
}
