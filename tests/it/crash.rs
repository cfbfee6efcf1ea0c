//! Every way a worker can die, with every state the disk can be in then.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, client,
    pki::{overwrite, replace},
    process,
    program::run,
    scene::{NAME, Scene},
};

/// How a worker dies.
#[derive(Clone, Copy)]
enum Death {
    /// It exits with this status.
    Exit(i32),
    /// It stands still, and the supervisor kills it.
    Hang,
    /// Somebody sends it this signal.
    Signal(Signal),
}

/// The status with which Rust's runtime ends a process whose main thread has panicked.
const PANIC: i32 = 101;

impl Death {
    /// Returns what the status must tell of it: kind, signal and exit status.
    fn told(self) -> (&'static str, Value, Value) {
        match self {
            Self::Exit(status) => ("code", Value::Null, json!(status)),
            Self::Hang => ("watchdog", json!(Signal::SIGKILL as i32), Value::Null),
            Self::Signal(signal) => ("signal", json!(signal as i32), Value::Null),
        }
    }

    /// Strikes a worker; `false` if this machine has no means to.
    fn strike(self, victim: u32) -> bool {
        match self {
            Self::Exit(status) => process::make_exit(victim, status),
            Self::Hang => process::send(victim, Signal::SIGSTOP),
            Self::Signal(signal) => process::send(victim, signal),
        }
    }
}

/// What is wrong on disk.
#[derive(Clone, Copy)]
enum Broken {
    Certificate,
    Key,
    Missing,
}

impl Broken {
    /// Breaks the files; returns the path that complaints must name.
    fn apply(self, scene: &Scene) -> String {
        let files = scene.daemon.files("default");
        let named = match self {
            Self::Certificate => {
                let half = &scene.new.cert[..scene.new.cert.len() / 2];
                overwrite(&files.cert, half);
                files.cert
            }
            Self::Key => {
                replace(&files.key, &scene.new.key);
                files.key
            }
            Self::Missing => {
                fs::remove_file(&files.cert).unwrap();
                files.cert
            }
        };
        named.to_str().unwrap().to_owned()
    }
}

/// Starts a daemon with two workers.
fn scene() -> Scene {
    Scene::with(|builder| builder.workers(2))
}

/// Starts a daemon with two workers that are to die in this way.
///
/// A debugger may hold a worker for longer than others may be silent.
fn scene_of(death: Death) -> Scene {
    let silence = match death {
        Death::Hang => "\"1s\"",
        Death::Exit(_) | Death::Signal(_) => "\"60s\"",
    };
    Scene::with(|builder| builder.workers(2).set("heartbeat_timeout", silence))
}

/// Lets the first worker die, and waits until another serves in its place; returns the status.
///
/// `None` if this machine has no means to let it die in that way.
#[track_caller]
fn die(scene: &Scene, death: Death) -> Option<Value> {
    let status = scene.await_restarts(0);
    let total = status["restarts"]["total"].as_u64().unwrap();
    let victim = u32::try_from(status["workers"][0]["pid"].as_u64().unwrap()).unwrap();
    if !death.strike(victim) {
        return None;
    }
    let status = scene.await_restarts(total + 1);
    let last = &status["restarts"]["last"];
    assert_eq!(last["pid"], victim);
    let (kind, signal, code) = death.told();
    assert_eq!(last["kind"], kind);
    assert_eq!((&last["signal"], &last["code"]), (&signal, &code));
    assert!(last["uptime_s"].as_f64().unwrap() > 0.0);
    assert!(!process::is_alive(victim));
    Some(status)
}

#[track_caller]
fn new_on_disk(death: Death) {
    let scene = scene_of(death);
    let knocker = scene.knock();
    scene.renew();
    let Some(status) = die(&scene, death) else {
        return;
    };
    scene.shows(&scene.new);
    let tls = &status["tls"];
    assert_eq!(tls["generation"], 2);
    assert_eq!(tls["trigger"], "crash");
    assert_eq!(tls["last_error"], Value::Null);
    assert_eq!(tls["disk"]["state"], "same");
    assert_eq!(tls["restart_safe"], true);
    assert_eq!(tls["identities"][0]["sha256"], json!(scene.new.sha256));
    knocker.was_never_refused();
}

#[track_caller]
fn broken_on_disk(death: Death, broken: Broken) {
    let scene = scene_of(death);
    let knocker = scene.knock();
    let named = broken.apply(&scene);
    let Some(status) = die(&scene, death) else {
        return;
    };
    scene.shows(&scene.old);
    let tls = &status["tls"];
    assert_eq!(tls["generation"], 1);
    assert_eq!(tls["trigger"], "start");
    assert_eq!(tls["last_error"]["trigger"], "crash");
    let message = tls["last_error"]["message"].as_str().unwrap();
    assert!(message.contains(&named), "{message}");
    assert_eq!(tls["disk"]["state"], "invalid");
    let reason = tls["disk"]["reason"].as_str().unwrap();
    assert!(reason.contains(&named), "{reason}");
    assert_eq!(tls["restart_safe"], false);

    scene.renew();
    let status = die(&scene, Death::Signal(Signal::SIGKILL)).unwrap();
    scene.shows(&scene.new);
    assert_eq!(status["tls"]["generation"], 2);
    assert_eq!(status["tls"]["last_error"], Value::Null);
    assert_eq!(status["tls"]["restart_safe"], true);
    knocker.was_never_refused();
}

#[track_caller]
fn nothing_new_on_disk(death: Death) {
    let scene = scene_of(death);
    let knocker = scene.knock();
    let Some(status) = die(&scene, death) else {
        return;
    };
    scene.shows(&scene.old);
    let tls = &status["tls"];
    assert_eq!(tls["generation"], 1);
    assert_eq!(tls["trigger"], "start");
    assert_eq!(tls["last_error"], Value::Null);
    assert_eq!(tls["disk"]["state"], "same");
    assert_eq!(tls["restart_safe"], true);
    knocker.was_never_refused();
}

macro_rules! matrix {
    ($($name:ident: $death:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn serves_the_new_certificate_on_disk() {
                new_on_disk($death);
            }

            #[test]
            fn serves_the_last_good_certificate_while_the_one_on_disk_is_broken() {
                broken_on_disk($death, Broken::Certificate);
            }

            #[test]
            fn serves_the_last_good_certificate_while_the_key_on_disk_does_not_match() {
                broken_on_disk($death, Broken::Key);
            }

            #[test]
            fn serves_the_last_good_certificate_while_a_file_is_missing() {
                broken_on_disk($death, Broken::Missing);
            }

            #[test]
            fn serves_the_same_certificate_while_the_disk_is_unchanged() {
                nothing_new_on_disk($death);
            }
        }
    )*};
}

matrix! {
    a_worker_after_sigkill: Death::Signal(Signal::SIGKILL);
    a_worker_after_sigsegv: Death::Signal(Signal::SIGSEGV);
    a_worker_after_sigabrt: Death::Signal(Signal::SIGABRT);
    a_worker_after_sigbus: Death::Signal(Signal::SIGBUS);
    a_worker_after_sigill: Death::Signal(Signal::SIGILL);
    a_worker_after_sigquit: Death::Signal(Signal::SIGQUIT);
    a_worker_after_a_hang: Death::Hang;
    a_worker_after_exit_status_1: Death::Exit(1);
    a_worker_after_a_panic: Death::Exit(PANIC);
}

#[test]
fn a_repaired_disk_heals_at_the_next_reload() {
    let scene = scene();
    Broken::Key.apply(&scene);
    die(&scene, Death::Signal(Signal::SIGKILL));
    scene.renew();
    let report = scene.reload_tls();
    assert_eq!(report["identities"][0]["new"]["sha256"], scene.new.sha256);
    scene.shows(&scene.new);
    assert_eq!(scene.daemon.status()["tls"]["last_error"], Value::Null);
}

#[test]
fn no_worker_dies_of_a_death_beside_it() {
    let scene = scene();
    let beside = scene.daemon.workers()[1];
    die(&scene, Death::Signal(Signal::SIGKILL));
    assert_eq!(scene.daemon.workers()[1], beside);
}

#[test]
fn the_death_of_all_workers_at_once_refuses_nobody() {
    let scene = Scene::with(|builder| builder.workers(3));
    let knocker = scene.knock();
    scene.renew();
    for worker in scene.daemon.workers() {
        process::send(worker, Signal::SIGKILL);
    }
    // It waits in the queue of a socket that nobody accepts from yet.
    let address = scene.daemon.address();
    let shown = client::handshake(address, NAME, &scene.ca).unwrap();
    assert_eq!(shown.sha256, scene.new.sha256);
    scene.await_restarts(3);
    scene.shows(&scene.new);
    knocker.was_never_refused();
}

#[test]
fn a_death_in_the_middle_of_a_reload_leaves_its_answer_true() {
    let scene = scene();
    let knocker = scene.knock();
    for round in 0..4 {
        let leaf = scene.ca.leaf(NAME);
        scene.daemon.files("default").put(&leaf);
        let victim = scene.daemon.workers()[round % 2];
        let reload = scene.daemon.ctl_command(&["--json", "reload-tls"]);
        let asked = std::thread::spawn(move || run(reload, PATIENCE));
        process::send(victim, Signal::SIGKILL);
        let report: Value = serde_json::from_str(&asked.join().unwrap().answer()).unwrap();
        assert_eq!(report["identities"][0]["new"]["sha256"], leaf.sha256);
        scene.shows(&leaf);
        scene.await_restarts(round as u64 + 1);
        scene.shows(&leaf);
    }
    knocker.was_never_refused();
}

#[test]
fn the_death_of_all_workers_in_the_middle_of_a_reload_leaves_its_answer_true() {
    let scene = scene();
    scene.renew();
    let reload = scene.daemon.ctl_command(&["--json", "reload-tls"]);
    let workers = scene.daemon.workers();
    let asked = std::thread::spawn(move || run(reload, PATIENCE));
    for worker in workers {
        process::send(worker, Signal::SIGKILL);
    }
    let report: Value = serde_json::from_str(&asked.join().unwrap().answer()).unwrap();
    assert_eq!(report["identities"][0]["new"]["sha256"], scene.new.sha256);
    scene.shows(&scene.new);
}

#[test]
fn a_worker_that_lost_its_link_is_replaced() {
    let scene = scene();
    let victim = scene.daemon.workers()[0];
    let Some(link) = process::descriptor_of(victim, 0) else {
        return;
    };
    scene.renew();
    rustix::net::shutdown(&link, rustix::net::Shutdown::Both).unwrap();
    // For the worker the supervisor is gone, so that it goes on serving, and for the supervisor the worker is silent.
    let status = scene.await_restarts(1);
    let last = &status["restarts"]["last"];
    assert_eq!(
        (&last["pid"], &last["kind"]),
        (&json!(victim), &json!("watchdog"))
    );
    scene.shows(&scene.new);
}
