//! Deaths while operators drain and reload.

use std::{fs, thread};

use nix::sys::signal::Signal;

use super::{busy::Busy, kind::Kind, stage::Stage, talk::Talk};
use crate::support::{PATIENCE, pki::overwrite, program::run};

#[test]
fn a_drain_waits_for_sessions_that_were_taken_over() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    stage.kill();
    talks.iter_mut().for_each(Talk::exchange);
    stage.await_taken_over(talks.len());
    stage.daemon.signal(Signal::SIGTERM);
    stage.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    talks.iter_mut().for_each(Talk::exchange);
    assert_eq!(stage.daemon.exit_status(), None);
    talks.into_iter().for_each(Talk::finish);
    assert!(stage.daemon.wait_exit(PATIENCE).success());
}

#[test]
fn sessions_go_on_to_the_end_of_a_drain_in_which_their_worker_dies() {
    let mut stage = Stage::with(&[], |it| it.workers(2));
    let mut talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    stage.daemon.signal(Signal::SIGTERM);
    stage.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    for _ in 0..3 {
        stage.kill();
        talks.iter_mut().for_each(Talk::exchange);
    }
    assert_eq!(stage.daemon.status()["sessions"]["lost_total"], 0);
    talks.into_iter().for_each(Talk::finish);
    assert!(stage.daemon.wait_exit(PATIENCE).success());
}

#[test]
fn one_worker_of_two_dies_in_a_drain_and_its_sessions_go_on() {
    let mut stage = Stage::with(&[], |it| it.workers(2));
    let mut talks = stage.open_all(&[Kind::mixed(), Kind::mixed()].concat());
    stage.await_kept(talks.len());
    let workers = stage.daemon.workers();
    stage.daemon.signal(Signal::SIGTERM);
    stage.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    Stage::kill_one(workers[0]);
    talks.iter_mut().for_each(Talk::exchange);
    talks.into_iter().for_each(Talk::finish);
    assert!(stage.daemon.wait_exit(PATIENCE).success());
}

#[test]
fn a_drain_ends_sessions_that_were_taken_over_when_its_time_is_up() {
    let mut stage = Stage::with(&[], |it| it.set("drain_timeout", "\"1s\""));
    let mut talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    stage.kill();
    talks.iter_mut().for_each(Talk::exchange);
    stage.daemon.signal(Signal::SIGTERM);
    assert!(stage.daemon.wait_exit(PATIENCE).success());
    for talk in &mut talks {
        assert!(
            talk.client.hear().map_or(true, |it| it.is_empty()),
            "{}",
            talk.name
        );
    }
}

#[test]
fn a_reload_does_not_touch_sessions_that_were_taken_over() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    stage.kill();
    talks.iter_mut().for_each(Talk::exchange);
    stage
        .daemon
        .files("default")
        .put(&stage.ca.leaf("localhost"));
    stage.daemon.ctl(&["reload-tls"]).answer();
    talks.iter_mut().for_each(Talk::exchange);
    stage.daemon.reconfigure(|it| {
        for listener in &mut it.listeners {
            listener
                .lines
                .push("limits = { max_connections = 100 }".to_owned());
        }
    });
    stage.daemon.ctl(&["reload"]).answer();
    talks.iter_mut().for_each(Talk::exchange);
    for session in stage.list(&[]) {
        assert_eq!(
            (&session["generation"], &session["takeovers"]),
            (&1.into(), &1.into())
        );
    }
    talks.into_iter().for_each(Talk::finish);
    stage.lost_none();
}

#[test]
fn sessions_of_a_listener_that_a_reload_has_taken_away_outlive_their_worker() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    stage.daemon.reconfigure(|it| it.listeners.truncate(1));
    stage.daemon.ctl(&["reload"]).answer();
    for _ in 0..2 {
        stage.kill();
        talks.iter_mut().for_each(Talk::exchange);
    }
    talks.into_iter().for_each(Talk::finish);
    stage.lost_none();
}

#[test]
fn deaths_in_the_middle_of_reloads_lose_nothing_and_leave_their_answers_true() {
    let mut stage = Stage::with(&[], |it| it.workers(2));
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    for _ in 0..5 {
        busy.go_on();
        let leaf = stage.ca.leaf("localhost");
        stage.daemon.files("default").put(&leaf);
        let reload = stage.daemon.ctl_command(&["--json", "reload-tls"]);
        let asked = thread::spawn(move || run(reload, PATIENCE));
        stage.kill();
        let answer = asked.join().unwrap().answer();
        assert!(answer.contains(&leaf.sha256), "{answer}");
    }
    busy.go_on();
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn certificates_that_are_broken_on_disk_hold_no_session_up() {
    let mut stage = Stage::new();
    let talks = stage.open_all(&Kind::mixed());
    let number = talks.len();
    stage.await_kept(number);
    let busy = Busy::start(talks);
    let files = stage.daemon.files("default");
    let good = fs::read(&files.cert).unwrap();
    for (deaths, broken) in [&b""[..], b"no certificate\n"].into_iter().enumerate() {
        overwrite(&files.cert, broken);
        stage.kill();
        busy.go_on();
        stage.await_taken_over((deaths + 1) * number);
    }
    overwrite(&files.cert, &good);
    // A client that comes now is served, with what was served before.
    stage.daemon.ctl(&["reload-tls"]).answer();
    stage.open(&Kind::mixed()[1]).finish();
    busy.end_whole();
    stage.lost_none();
}
