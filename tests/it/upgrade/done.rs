//! Upgrades that are done.

use std::fs;

use nix::sys::signal::Signal;

use super::{programs::Programs, traffic::Traffic};
use crate::support::{process, scene::Scene, until};

/// Sessions that are open during an upgrade.
const SESSIONS: usize = 8;

#[test]
fn an_upgrade_loses_no_session_and_refuses_no_client() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let (old, new) = (programs.daemon("proxyd"), programs.daemon("proxyd-next"));
    let scene = Scene::with(|it| it.program(&old).workers(2));
    let daemon = &scene.daemon;
    let (traffic, knocker) = (Traffic::start(&scene, SESSIONS), scene.knock());
    traffic.flows(100);
    let before = daemon.workers();
    let path = new.to_str().unwrap();
    for _ in 0..3 {
        let answer = daemon.json(&["upgrade", "--binary", path]);
        assert_eq!(answer["upgraded"], true, "{answer}");
        traffic.flows(100);
    }
    let pid = daemon.pid();
    assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).unwrap(), new);
    assert_eq!(process::name(pid).as_deref(), Some("proxyd"));
    let status = daemon.await_status("only workers of the new program are left", |status| {
        let workers = status["workers"].as_array().unwrap();
        workers.len() == 2 && workers.iter().all(|it| it["state"] == "serving")
    });
    let pids = daemon.workers();
    assert!(
        before.iter().all(|it| !pids.contains(it)),
        "{before:?} {pids:?}"
    );
    until("no process of before is left", || {
        !before.iter().any(|it| process::is_alive(*it))
    });
    assert_eq!(status["upgrades"]["total"], 3, "{status}");
    assert_eq!(status["upgrades"]["last"]["result"], "done", "{status}");
    assert_eq!(status["program"]["path"], path, "{status}");
    knocker.was_never_refused();
    traffic.lost_nothing();
    assert_eq!(daemon.status()["sessions"]["lost_total"], 0);
}

#[test]
fn another_program_on_disk_is_told_and_usr2_runs_it() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let path = programs.daemon("proxyd");
    let mut scene = Scene::with(|it| it.program(&path));
    assert_eq!(scene.daemon.status()["program"]["replaced"], false);
    let mut session = scene.session();
    fs::rename(programs.daemon("next"), &path).unwrap();
    scene
        .daemon
        .await_status("the other program is told", |status| {
            status["program"]["replaced"] == true
        });
    let told = scene.daemon.ctl(&["check"]).stdout;
    assert!(told.contains("another program lies at"), "{told}");
    scene.daemon.signal(Signal::SIGUSR2);
    scene
        .daemon
        .await_status("the other program runs", |status| {
            status["program"]["replaced"] == false && status["upgrades"]["total"] == 1
        });
    session.echo("still here").unwrap();
    let events = scene.daemon.events();
    assert!(
        events.iter().any(|it| it["kind"] == "upgraded"),
        "{events:?}"
    );
}

#[test]
fn a_trial_changes_nothing() {
    let Some(programs) = Programs::new() else {
        return;
    };
    let (old, new) = (programs.daemon("proxyd"), programs.daemon("proxyd-next"));
    let scene = Scene::with(|it| it.program(&old));
    let daemon = &scene.daemon;
    let before = (daemon.workers(), process::descriptors(daemon.pid()).len());
    for _ in 0..3 {
        let answer = daemon.json(&["upgrade", "--check", "--binary", new.to_str().unwrap()]);
        assert_eq!(answer["upgraded"], false, "{answer}");
        assert_eq!(answer["path"], new.to_str().unwrap());
    }
    until("nothing is left of the trials", || {
        let children = process::children(daemon.pid()).len();
        let after = (daemon.workers(), process::descriptors(daemon.pid()).len());
        children == 2 && after.0 == before.0 && after.1 <= before.1
    });
    assert_eq!(daemon.status()["upgrades"]["last"], serde_json::Value::Null);
}
