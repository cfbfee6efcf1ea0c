//! What a supervisor leaves to the next one, though it is killed: what it knew, and what it served.

use std::{fs, fs::OpenOptions, io::Write as _};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{PATIENCE, daemon::TestDaemon, process, scene::Scene};

/// Kills the supervisor, has `change` done, and starts the next one.
fn succeed(daemon: &mut TestDaemon, change: impl FnOnce(&TestDaemon)) {
    daemon.signal(Signal::SIGKILL);
    daemon.wait_exit(PATIENCE);
    change(daemon);
    daemon.start();
}

/// Appends text that makes the configuration one that cannot be read.
fn break_configuration(daemon: &TestDaemon) {
    let file = OpenOptions::new()
        .append(true)
        .open(daemon.path("proxyd.toml"));
    file.unwrap().write_all(b"\nworkers = = 3\n").unwrap();
}

fn totals(status: &Value) -> u64 {
    let listener = &status["listeners"][0];
    listener["connections"]["total"].as_u64().unwrap()
}

fn sequence(events: &[Value]) -> Vec<u64> {
    let numbers = events.iter().map(|it| it["seq"].as_u64().unwrap());
    numbers.collect()
}

#[test]
fn numbers_events_totals_and_the_exit_failure_command_go_on() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    scene.renew();
    assert_eq!(scene.reload_tls()["generation"], 2);
    scene.session().echo("hello").unwrap();
    let daemon = &scene.daemon;
    daemon
        .ctl(&["set-on-exit-failure", "--", "/bin/true"])
        .answer();
    daemon.await_status("the session is counted", |status| totals(status) == 1);
    process::send(daemon.workers()[0], Signal::SIGKILL);
    daemon.await_status("the failure is known", |status| {
        let mut workers = status["workers"].as_array().unwrap().iter();
        status["restarts"]["total"] == 1
            && status["on_exit_failure"]["last_run"].is_object()
            && workers.all(|it| it["state"] == "serving")
    });
    for round in 1..=2 {
        let before = scene.daemon.status();
        let events = sequence(&scene.daemon.events());
        succeed(&mut scene.daemon, |_| {});
        let go_on = |status: &Value| totals(status) == totals(&before);
        let after = scene.daemon.await_status("totals go on", go_on);
        for key in ["generation", "loaded_at", "trigger"] {
            assert_eq!(after["tls"][key], before["tls"][key], "{key}, {round}");
        }
        // New workers have failed at nothing yet.
        for key in ["total", "last"] {
            assert_eq!(after["restarts"][key], before["restarts"][key], "{round}");
        }
        assert_eq!(after["on_exit_failure"], before["on_exit_failure"]);
        let later = sequence(&scene.daemon.events());
        assert!(later.starts_with(&events), "{later:?} after {events:?}");
        let next = later[0]..=later[0] + later.len() as u64 - 1;
        assert!(next.eq(later.iter().copied()), "{later:?}");
        scene.shows(&scene.new);
    }
}

#[test]
fn a_certificate_that_is_gone_is_served_on_and_told() {
    let mut scene = Scene::new();
    succeed(&mut scene.daemon, |daemon| {
        fs::remove_file(daemon.files("default").cert).unwrap();
    });
    scene.shows(&scene.old);
    let tls = &scene.daemon.status()["tls"];
    assert_eq!(tls["generation"], 1);
    let told = tls["last_error"]["message"].as_str().unwrap();
    assert!(told.contains("identity \"default\""), "{told}");
    assert!(told.contains("still served, as generation 1"), "{told}");
    let failed = scene.daemon.events();
    assert!(failed.iter().any(|it| it["kind"] == "reload-failed"));
}

#[test]
fn a_configuration_that_is_broken_leaves_that_of_before_in_force_and_is_told() {
    let mut scene = Scene::new();
    succeed(&mut scene.daemon, break_configuration);
    scene.shows(&scene.old);
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["generation"], 1);
    assert_eq!(status["tls"]["last_error"]["trigger"], "start");
    let told = status["tls"]["last_error"]["message"].as_str().unwrap();
    assert!(told.contains("configuration"), "{told}");
    assert_eq!(status["tls"]["restart_safe"], json!(false));
}

#[test]
fn a_rollback_holds() {
    let mut scene = Scene::new();
    scene.renew();
    scene.reload_tls();
    scene.daemon.ctl(&["tls-rollback"]).answer();
    let before = scene.daemon.status();
    succeed(&mut scene.daemon, |_| {});
    scene.shows(&scene.old);
    let after = scene.daemon.status();
    assert_eq!(after["tls"]["rollback"], before["tls"]["rollback"]);
    assert_eq!(after["tls"]["generation"], 3);
    assert_eq!(scene.reload_tls()["generation"], 4);
    scene.shows(&scene.new);
    assert_eq!(scene.daemon.status()["tls"]["rollback"], Value::Null);
}
