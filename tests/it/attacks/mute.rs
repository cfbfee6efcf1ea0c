//! Workers that say that they are alive, and do nothing else that the supervisor asks for.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use super::Attack;
use crate::support::{
    PATIENCE,
    orders::{Busy, say},
    process,
    program::run,
};

/// Longer than any deadline for a worker's answer.
const LONG: Duration = Duration::from_secs(60);

fn attack() -> Option<Attack> {
    Attack::with(|builder| builder.set("heartbeat_timeout", "\"1s\""))
}

/// Has the worker beat as one does that serves, and neither read its link nor confirm anything.
#[track_caller]
fn only_beats(attack: &Attack) -> Busy {
    beats_and_says(attack, Vec::new())
}

/// Has it say besides that it has made ready whatever it may be offered, which it then does not serve.
#[track_caller]
fn only_stages(attack: &Attack) -> Busy {
    let staged = (1..30).map(|offer| say(&json!({"Staged": {"offer": offer}})));
    beats_and_says(attack, staged.collect())
}

/// Has it say besides that it serves what it served before, again and again.
#[track_caller]
fn only_repeats(attack: &Attack) -> Busy {
    beats_and_says(attack, vec![say(&json!({"Serving": {"generation": 1}}))])
}

#[track_caller]
fn beats_and_says(attack: &Attack, said: Vec<Value>) -> Busy {
    let mut calls = vec![
        say(&json!("Beat")),
        say(&json!({"Accepts": {"slots": [0]}})),
    ];
    calls.extend(said);
    attack
        .hostile
        .begin_slowly(&calls, LONG, Duration::from_millis(100))
}

#[track_caller]
fn is_replaced_after_a_reload(mute: impl Fn(&Attack) -> Busy) {
    let Some(attack) = attack() else { return };
    let scene = &attack.obeying.scene;
    let _busy = mute(&attack);
    scene.renew();
    let outcome = attack.daemon().ctl(&["reload-tls"]);
    if outcome.is_success() {
        // Then it is replaced already, by one that serves what is in force.
        assert_ne!(attack.daemon().workers()[0], attack.hostile.pid);
    }
    attack.is_replaced();
    scene.shows(&scene.new);
}

/// Asserts that `check` never succeeds while a worker does not serve the generation in force.
#[track_caller]
fn is_never_called_ok(mute: impl Fn(&Attack) -> Busy) {
    let Some(attack) = attack() else { return };
    let scene = &attack.obeying.scene;
    let _busy = mute(&attack);
    scene.renew();
    let reload = attack.daemon().ctl_command(&["reload-tls"]);
    let reloading = thread::spawn(move || run(reload, PATIENCE * 2));
    let lags = |status: &Value| {
        let is_hostile = status["workers"][0]["pid"] == attack.hostile.pid;
        is_hostile && status["tls"]["generation"] == 2
    };
    let mut is_over = false;
    while !is_over {
        is_over = reloading.is_finished();
        let before = attack.daemon().status();
        let check = attack.daemon().ctl(&["check"]);
        let after = attack.daemon().status();
        if lags(&before) && lags(&after) {
            assert_ne!(check.code(), 0, "{check:#?}\n{after:#}");
        }
    }
    reloading.join().unwrap();
}

#[test]
fn a_worker_that_beats_but_never_answers_a_reload_is_replaced() {
    is_replaced_after_a_reload(only_beats);
}

#[test]
fn a_worker_that_stages_a_generation_but_never_confirms_it_is_replaced() {
    is_replaced_after_a_reload(only_stages);
}

#[test]
fn a_worker_that_confirms_only_what_it_served_before_is_replaced() {
    is_replaced_after_a_reload(only_repeats);
}

#[test]
fn a_generation_that_a_worker_does_not_answer_is_never_called_ok() {
    is_never_called_ok(only_beats);
}

#[test]
fn a_generation_that_a_worker_has_staged_but_does_not_serve_is_never_called_ok() {
    is_never_called_ok(only_stages);
}

#[test]
fn a_worker_that_does_not_beat_is_replaced() {
    let Some(attack) = attack() else { return };
    let _busy = attack
        .hostile
        .begin_slowly(&[], LONG, Duration::from_millis(100));
    let status = attack.is_replaced();
    assert_eq!(status["restarts"]["last"]["kind"], "watchdog", "{status:#}");
    attack.serves();
}

#[test]
fn a_worker_that_does_not_read_its_link_costs_the_supervisor_neither_time_nor_memory() {
    let Some(attack) = attack() else { return };
    let _busy = only_beats(&attack);
    for _ in 0..20 {
        attack.is_prompt();
    }
    let scene = &attack.obeying.scene;
    for _ in 0..2 {
        scene
            .daemon
            .files("default")
            .put(&scene.ca.leaf("localhost"));
        attack.daemon().ctl(&["reload-tls"]);
        attack.is_prompt();
    }
    attack.is_replaced();
    attack.is_small();
    attack.serves();
}

#[test]
fn a_worker_that_does_not_drain_is_ended_with_the_daemon() {
    let attack = Attack::with(|builder| builder.set("drain_timeout", "\"1s\""));
    let Some(mut attack) = attack else { return };
    let busy = only_beats(&attack);
    let daemon = &mut attack.obeying.scene.daemon;
    daemon.ctl(&["drain"]);
    daemon.wait_exit(PATIENCE);
    assert!(!process::is_alive(attack.hostile.pid));
    busy.finish().unwrap_err();
}
