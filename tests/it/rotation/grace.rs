//! Certificates and keys that come seconds apart, or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Rotation, let_pass, reported, watching};
use crate::support::{
    builder::Builder,
    client,
    daemon::TestDaemon,
    pki::{Ca, Leaf, overwrite, replace},
    process,
    scene::{NAME, Scene},
    until,
};

/// How long whoever replaces files takes from one to the other.
const APART: Duration = Duration::from_secs(3);

/// Asks `check` again and again while something is done; it must find nothing to complain of.
fn checked(daemon: &TestDaemon, what: impl FnOnce()) {
    let done = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        let told = Arc::clone(&done);
        let asker = scope.spawn(move || {
            let mut settled = 0;
            while !told.load(Ordering::Relaxed) {
                let outcome = daemon.ctl(&["check"]);
                assert_eq!(outcome.code(), 0, "{outcome:#?}");
                settled += usize::from(outcome.stdout.contains("may be being written"));
            }
            settled
        });
        what();
        done.store(true, Ordering::Relaxed);
        assert!(asker.join().unwrap() > 0, "it never saw anything");
    });
}

#[test]
fn the_key_first_and_the_chain_three_seconds_later() {
    let (ca, mut rotation) = Rotation::begin();
    let leaf = ca.leaf(NAME);
    rotation.turn(&leaf, |daemon| {
        let files = daemon.files("default");
        checked(daemon, || {
            replace(&files.key, &leaf.key);
            let_pass(APART);
            replace(&files.cert, &leaf.cert);
            let_pass(Duration::from_secs(1));
        });
    });
    rotation.end_in_peace();
}

#[test]
fn the_chain_first_and_the_key_three_seconds_later() {
    let (ca, mut rotation) = Rotation::begin();
    let leaf = ca.leaf(NAME);
    rotation.turn(&leaf, |daemon| {
        let files = daemon.files("default");
        overwrite(&files.cert, &leaf.cert);
        let_pass(APART);
        overwrite(&files.key, &leaf.key);
    });
    rotation.end_in_peace();
}

#[test]
fn status_tells_at_once_what_nobody_is_paged_for_yet() {
    let (ca, rotation) = Rotation::begin();
    let leaf = ca.leaf(NAME);
    let before = rotation.daemon.status()["tls"]["disk"]["since"].clone();
    let files = rotation.daemon.files("default");
    replace(&files.key, &leaf.key);
    let status = rotation.daemon.await_status("it is seen", |status| {
        status["tls"]["disk"]["state"] == "invalid"
    });
    let tls = &status["tls"];
    assert_eq!(tls["disk"]["settling"], true);
    assert_ne!(tls["disk"]["since"], before);
    assert_eq!(tls["restart_safe"], false);
    assert_eq!(tls["last_error"], Value::Null);
    let status = rotation.daemon.await_status("it was read", |status| {
        status["tls"]["identities"][0]["kept_since"].is_string()
    });
    assert_eq!(status["tls"]["last_error"], Value::Null);
    // Who asks is told at once.
    let complaint = rotation.daemon.ctl(&["reload-tls"]).complaint();
    assert!(complaint.contains("default.key"), "{complaint}");
    let status = rotation.daemon.status();
    assert_eq!(status["tls"]["last_error"]["trigger"], "reload-tls");
    assert_eq!(rotation.daemon.ctl(&["check"]).code(), 2);
    rotation.end();
}

#[test]
fn what_stays_broken_is_reported_once_when_its_time_is_over() {
    let (ca, mut rotation) = Rotation::with(|builder| builder.set("watch_grace", "\"2s\""));
    let leaf = ca.leaf(NAME);
    let files = rotation.daemon.files("default");
    replace(&files.key, &leaf.key);
    until("it is reported", || {
        reported(&rotation.daemon).contains(&"reload-failed".to_owned())
    });
    let status = rotation.daemon.status();
    let tls = &status["tls"];
    assert_eq!(tls["last_error"]["trigger"], "watch");
    let message = tls["last_error"]["message"].as_str().unwrap();
    assert!(message.contains("default.key"), "{message}");
    assert_eq!(tls["generation"], 1);
    let outcome = rotation.daemon.ctl(&["check"]);
    assert_eq!(outcome.code(), 2, "{outcome:#?}");
    assert!(outcome.stdout.contains(&message[..40]), "{outcome:#?}");
    // As it is read again and again, it is the same failure.
    let_pass(Duration::from_secs(3));
    rotation.turn(&leaf, |_| replace(&files.cert, &leaf.cert));
    assert_eq!(rotation.daemon.ctl(&["check"]).code(), 0);
    let daemon = rotation.end();
    let kinds = reported(&daemon);
    let failures = kinds.iter().filter(|kind| *kind == "reload-failed");
    assert_eq!(failures.count(), 1, "{kinds:?}");
    assert_eq!(daemon.log().matches("ERROR").count(), 1);
}

/// Starts a daemon with two identities that watches.
fn with_two(ca: &Ca, one: &Leaf, other: &Leaf) -> Rotation {
    let daemon = watching(TestDaemon::builder())
        .identity("default", one)
        .identity("other", other)
        .start();
    Rotation::of(daemon, ca, one)
}

#[test]
fn a_neighbour_moves_on_meanwhile() {
    let ca = Ca::new("authority");
    let (one, other) = (ca.leaf(NAME), ca.leaf("other.test"));
    let mut rotation = with_two(&ca, &one, &other);
    let (new, new_other) = (ca.leaf(NAME), ca.leaf("other.test"));
    let files = rotation.daemon.files("default");
    replace(&files.key, &new.key);
    rotation.daemon.files("other").put(&new_other);
    let address = rotation.daemon.address();
    until("the neighbour is served", || {
        let shown = client::handshake(address, "other.test", &ca).unwrap();
        shown.sha256 == new_other.sha256
    });
    rotation.generation = 2;
    rotation.turn(&new, |_| replace(&files.cert, &new.cert));
    rotation.end_in_peace();
}

#[test]
fn a_worker_that_dies_meanwhile_makes_it_no_failure() {
    let scene = Scene::with(watching);
    let files = scene.daemon.files("default");
    replace(&files.key, &scene.new.key);
    assert!(process::send(scene.daemon.workers()[0], Signal::SIGKILL));
    let status = scene.await_restarts(1);
    assert_eq!(status["tls"]["generation"], 1);
    assert_eq!(status["tls"]["last_error"], Value::Null);
    scene.shows(&scene.old);
    replace(&files.cert, &scene.new.cert);
    scene.daemon.await_status("both are served", |status| {
        let workers = status["workers"].as_array().unwrap();
        workers.iter().all(|worker| worker["generation"] == 2)
    });
    scene.shows(&scene.new);
    let kinds = reported(&scene.daemon);
    assert!(!kinds.contains(&"reload-failed".to_owned()), "{kinds:?}");
}

#[test]
fn without_a_grace_it_is_reported_at_once() {
    let scene = Scene::with(|builder| builder.watch().set("watch_grace", "\"0s\""));
    let files = scene.daemon.files("default");
    replace(&files.key, &scene.new.key);
    scene.daemon.await_status("it is reported", |status| {
        assert_eq!(status["tls"]["disk"]["settling"], false);
        status["tls"]["last_error"]["trigger"] == "watch"
    });
}

#[test]
fn how_it_watches_changes_by_a_reload() {
    let mut scene = Scene::with(Builder::watch);
    scene.daemon.reconfigure(|configuration| {
        configuration.set("watch_interval", "\"1s\"");
        configuration.set("watch_grace", "\"250ms\"");
    });
    scene.daemon.ctl(&["reload"]).answer();
    let watch = &scene.daemon.status()["tls"]["watch"];
    assert_eq!(watch["interval_s"], 1.0);
    assert_eq!(watch["grace_s"], 0.25);
    overwrite(&scene.daemon.files("default").cert, "nonsense");
    until("it is reported", || {
        reported(&scene.daemon).contains(&"reload-failed".to_owned())
    });
    scene
        .daemon
        .reconfigure(|configuration| configuration.set("watch", "false"));
    scene.daemon.files("default").put(&scene.new);
    let report = scene.daemon.json(&["reload"]);
    assert_eq!(report["problems"], json!([]));
    assert_eq!(scene.daemon.status()["tls"]["watch"]["state"], "off");
    scene
        .daemon
        .reconfigure(|configuration| configuration.set("watch", "true"));
    scene.daemon.ctl(&["reload"]).answer();
    let (ca, leaf) = (&scene.ca, scene.ca.leaf(NAME));
    scene.daemon.files("default").put(&leaf);
    let address = scene.daemon.address();
    until("it watches again", || {
        client::handshake(address, NAME, ca).unwrap().sha256 == leaf.sha256
    });
}
