//! A kernel that tells of no changes.

use super::{Rotation, reported, stamps};
use crate::support::{
    daemon::TestDaemon,
    pki::{Ca, overwrite},
    program::{clean_command, run},
    scene::{NAME, Scene},
    skip,
};

/// Returns the words before a program that run it where the kernel grants none of `what`.
///
/// A user namespace has limits of its own, and whoever is not its root cannot raise them. `None`
/// skips the test.
fn without(what: &str) -> Option<Vec<String>> {
    let script = format!(
        "echo 0 >/proc/sys/user/max_inotify_{what} && \
         exec unshare --user --map-user=1000 --map-group=1000 -- \"$@\""
    );
    let words = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    let mut probe = clean_command(words[0]);
    probe.args(&words[1..]).arg("true");
    if run(probe, crate::support::PATIENCE).is_success() {
        return Some(words.map(str::to_owned).to_vec());
    }
    skip("user namespaces, or their limits, are not to be had here");
    None
}

/// Starts a daemon that compares files once a second and hears of nothing.
fn deaf(what: &str) -> Option<(Ca, Rotation)> {
    let wrapper = without(what)?;
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    Some(Rotation::with(|builder| {
        builder.wrapped(&words).set("watch_interval", "\"1s\"")
    }))
}

/// Sees to it that the daemon says why it hears nothing, and how often it said so.
#[track_caller]
fn says_once(daemon: &TestDaemon, words: &str) {
    let watch = &daemon.status()["tls"]["watch"];
    assert_eq!(watch["state"], "interval");
    assert_eq!(watch["interval_s"], 1.0);
    assert!(watch["reason"].as_str().unwrap().contains(words), "{watch}");
    let log = daemon.log();
    assert_eq!(log.matches(words).count(), 1, "{log}");
    let text = daemon.ctl(&["status"]).answer();
    assert!(text.contains("watched: every 1s, because"), "{text}");
}

fn turns(what: &str, words: &str) {
    let Some((ca, mut rotation)) = deaf(what) else {
        return;
    };
    for _ in 0..3 {
        let leaf = ca.leaf(NAME);
        rotation.turn(&leaf, |daemon| daemon.files("default").put(&leaf));
    }
    says_once(&rotation.daemon, words);
    rotation.end_in_peace();
}

#[test]
fn no_watches_are_left() {
    turns("watches", "raise fs.inotify.max_user_watches");
}

#[test]
fn no_instances_are_left() {
    turns("instances", "raise fs.inotify.max_user_instances");
}

#[test]
fn times_and_lengths_that_are_the_same() {
    if let Some((ca, mut rotation)) = deaf("watches") {
        stamps::same_length_and_time(&ca, &mut rotation);
        rotation.end_in_peace();
    }
}

#[test]
fn a_daemon_that_hears_says_so() {
    let scene = Scene::with(crate::support::builder::Builder::watch);
    let status = scene.daemon.await_status("it listens", |status| {
        status["tls"]["watch"]["state"] == "events"
    });
    assert_eq!(status["tls"]["watch"]["reason"], serde_json::Value::Null);
    assert_eq!(status["tls"]["watch"]["interval_s"], 5.0);
    assert_eq!(status["tls"]["watch"]["grace_s"], 10.0);
    let scene = Scene::new();
    assert_eq!(scene.daemon.status()["tls"]["watch"]["state"], "off");
    // What is wrong is told at once when nobody looks again by himself.
    overwrite(&scene.daemon.files("default").cert, "nonsense");
    assert_eq!(scene.daemon.ctl(&["check"]).code(), 2);
    assert!(!reported(&scene.daemon).contains(&"reload-failed".to_owned()));
}
