//! Death after death, under sessions that check every byte.

use super::{
    busy::Busy,
    kind::{Kind, PLAIN, TLS12, TLS13},
    stage::Stage,
};
use crate::support::{process, until};

/// How often every worker is killed.
const DEATHS: usize = 30;

#[test]
fn thirty_deaths_of_every_worker_lose_no_session_and_no_byte() {
    let mut stage = Stage::with(&[], |it| it.workers(2));
    let kinds = [Kind::mixed(), Kind::mixed()].concat();
    let talks = stage.open_all(&kinds);
    stage.await_kept(kinds.len());
    let busy = Busy::start(talks);
    // A worker that is killed before it has told what it took over is not counted.
    let await_counted = |deaths| {
        stage.daemon.await_status("all are counted", |status| {
            status["sessions"]["taken_over_total"] == deaths * kinds.len()
        })
    };
    for deaths in 0..DEATHS {
        busy.go_on();
        await_counted(deaths);
        stage.kill();
    }
    busy.go_on();
    let status = await_counted(DEATHS);
    let sessions = &status["sessions"];
    assert_eq!(
        (&sessions["open"], &sessions["kept"]),
        (&kinds.len().into(), &kinds.len().into())
    );
    for session in stage.list(&[]) {
        assert_eq!(session["takeovers"], DEATHS, "{session}");
    }
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn each_worker_in_turn_is_killed_and_the_sessions_of_all_go_on() {
    let mut stage = Stage::with(&[], |it| it.workers(3));
    let talks = stage.open_all(&[Kind::mixed(), Kind::mixed()].concat());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    for round in 0..12 {
        busy.go_on();
        let workers = process::workers(stage.daemon.pid());
        if let Some(worker) = workers.get(round % workers.len().max(1)) {
            Stage::kill_one(*worker);
        }
    }
    busy.go_on();
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn a_worker_that_dies_while_it_takes_sessions_over_loses_none() {
    let mut stage = Stage::new();
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    for _ in 0..3 {
        busy.go_on();
        stage.kill();
        // The worker is in the middle of its start, or of a takeover.
        stage.kill();
    }
    busy.go_on();
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn two_deaths_within_a_millisecond_lose_nothing() {
    let mut stage = Stage::with(&[], |it| it.workers(2));
    let talks = stage.open_all(&Kind::mixed());
    stage.await_kept(talks.len());
    let busy = Busy::start(talks);
    for _ in 0..5 {
        busy.go_on();
        until("both are there", || {
            process::workers(stage.daemon.pid()).len() == 2
        });
        stage.kill();
    }
    busy.go_on();
    busy.end_whole();
    stage.lost_none();
}

#[test]
fn keys_that_were_changed_many_times_are_the_right_ones_after_each_death() {
    let mut stage = Stage::new();
    let mut talks = stage.open_all(&[
        Kind::of(TLS13, PLAIN),
        Kind::of(TLS12, TLS13),
        Kind::of(TLS13, TLS13),
    ]);
    stage.await_kept(talks.len());
    for _ in 0..10 {
        for it in &mut talks {
            it.change_keys();
        }
        stage.kill();
        for it in &mut talks {
            it.exchange();
        }
    }
    for it in talks {
        it.finish();
    }
    stage.lost_none();
}
