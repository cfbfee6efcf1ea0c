//! What a daemon says at its end, and a supervisor that ends alone.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    PATIENCE,
    client::Session,
    daemon::TestDaemon,
    eventually, process,
    program::{Outcome, run},
    scene::Scene,
    until,
};

fn sessions(scene: &Scene, count: usize) -> Vec<Session> {
    (0..count).map(|_| scene.session()).collect()
}

/// Returns the line of the log that says what became of the sessions.
fn last_words(daemon: &TestDaemon) -> String {
    let log = || {
        let log = daemon.log();
        let line = log
            .lines()
            .find(|line| line.contains("The daemon has ended"));
        line.map(str::to_owned)
    };
    eventually("the log says what became of the sessions", PATIENCE, log)
}

#[test]
fn a_drain_says_how_many_sessions_ended_and_how_many_it_cut() {
    let mut scene = Scene::with(|builder| builder.workers(2).set("drain_timeout", "\"2s\""));
    let mut sessions = sessions(&scene, 5);
    let command = scene.daemon.ctl_command(&["--json", "drain"]);
    let asked = std::thread::spawn(move || run(command, PATIENCE * 2));
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    for mut session in sessions.drain(..3) {
        session.close().unwrap();
    }
    let told: Value = serde_json::from_str(&asked.join().unwrap().answer()).unwrap();
    assert_eq!(told["connections"], 5, "{told}");
    assert_eq!(told["sessions_ended"], 3, "{told}");
    assert_eq!(told["sessions_cut"], 2, "{told}");
    assert!(last_words(&scene.daemon).contains("3 sessions ended by themselves and 2 were cut"));
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_stop_says_how_many_sessions_it_cut() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    let _sessions = sessions(&scene, 3);
    let said = scene.daemon.ctl(&["stop"]).answer();
    let last = said.lines().last();
    assert_eq!(last, Some("proxyd has ended: 3 sessions were cut."));
    assert!(last_words(&scene.daemon).contains("3 sessions were cut"));
    scene.daemon.wait_exit(PATIENCE);
}

#[test]
fn a_termination_without_sessions_says_that_there_were_none() {
    let mut scene = Scene::new();
    scene.daemon.signal(Signal::SIGTERM);
    assert!(scene.daemon.wait_exit(PATIENCE).success());
    assert!(last_words(&scene.daemon).contains("no session was open"));
}

#[test]
fn sessions_that_were_lost_with_a_draining_worker_count_as_cut() {
    let mut scene = Scene::with(|builder| {
        builder
            .workers(1)
            .set("keep_after", "\"off\"")
            .set("drain_timeout", "\"1h\"")
    });
    let _sessions = sessions(&scene, 2);
    let worker = scene.daemon.workers()[0];
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    process::send(worker, Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    assert!(last_words(&scene.daemon).contains("2 sessions were cut"));
}

#[test]
fn a_daemon_has_ended_and_released_its_files_when_proxyctl_says_so() {
    let mut scene = Scene::new();
    for how in ["stop", "drain"] {
        scene.daemon.ctl(&[how]).answer();
        let status = scene.daemon.exit_status();
        assert!(status.is_some_and(|status| status.success()), "{how}");
        scene.daemon.start();
    }
}

#[test]
fn a_supervisor_ends_alone_for_a_restart() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    let mut session = scene.session();
    let workers = scene.daemon.workers();
    let told = scene.daemon.json(&["stop", "--for-restart"]);
    assert_eq!(told["left"], true, "{told}");
    assert_eq!(told["workers"], 2, "{told}");
    assert_eq!(told["connections"], 1, "{told}");
    let status = scene.daemon.exit_status();
    assert!(status.is_some_and(|status| status.success()));
    session.echo("still there").unwrap();
    assert!(workers.iter().any(|worker| process::is_alive(*worker)));
    assert!(scene.daemon.path("pid").exists());
    assert!(scene.daemon.socket().exists());
    let log = scene.daemon.log();
    assert!(log.contains("leaves 2 workers with 1 session"), "{log}");
    scene.daemon.start();
    session.echo("still there").unwrap();
}

#[test]
fn a_supervisor_that_ends_with_its_workers_does_not_leave_them() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    let complaint = scene.daemon.ctl(&["stop", "--for-restart"]).complaint();
    assert!(complaint.contains("ending already"), "{complaint}");
    session.close().unwrap();
    assert!(scene.daemon.wait_exit(PATIENCE).success());
}

/// Runs `stop --systemd` with a `systemctl` that runs this script.
fn stop_by(scene: &Scene, systemctl: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("systemctl");
    fs::write(&program, format!("#!/bin/sh\n{systemctl}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    run(stop_command(scene, folder.path()), PATIENCE * 2)
}

fn stop_command(scene: &Scene, folder: &Path) -> Command {
    let mut command = scene
        .daemon
        .ctl_command(&["stop", "--systemd", "proxyd.service"]);
    command.env("PATH", folder);
    command
}

#[test]
fn a_restart_by_systemd_leaves_the_workers() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    let outcome = stop_by(&scene, "echo 7 proxyd.service restart running");
    assert!(outcome.answer().contains("1 worker goes on with 1 session"));
    assert!(scene.daemon.wait_exit(PATIENCE).success());
    session.echo("still there").unwrap();
}

#[test]
fn a_stop_by_systemd_drains() {
    let mut scene = Scene::with(|builder| builder.set("drain_timeout", "\"300ms\""));
    let mut session = scene.session();
    let outcome = stop_by(&scene, "echo 7 proxyd.service stop running");
    assert!(outcome.answer().contains("1 session was cut"));
    assert!(scene.daemon.wait_exit(PATIENCE).success());
    assert!(session.echo("gone").is_err());
}

#[test]
fn a_systemd_that_does_not_answer_is_told_and_means_a_stop() {
    for (systemctl, reason) in [
        (
            "echo Failed to connect to bus >&2; exit 1",
            "Failed to connect to bus",
        ),
        ("exec /bin/sleep 60", "did not answer within 3 s"),
    ] {
        let mut scene = Scene::with(|builder| builder.set("drain_timeout", "\"300ms\""));
        let _session = scene.session();
        let outcome = stop_by(&scene, systemctl);
        assert_eq!(outcome.code(), 0, "{outcome:#?}");
        assert!(outcome.stderr.contains(reason), "{outcome:#?}");
        assert!(outcome.stdout.contains("1 session was cut"), "{outcome:#?}");
        assert!(scene.daemon.wait_exit(PATIENCE).success());
    }
}

#[test]
fn a_restart_by_systemd_of_a_daemon_that_drains_waits_for_its_end() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("systemctl");
    fs::write(
        &program,
        "#!/bin/sh\necho 7 proxyd.service restart running\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let command = stop_command(&scene, folder.path());
    let asked = std::thread::spawn(move || run(command, PATIENCE * 2));
    until("it asks for the end instead", || {
        scene.daemon.log().contains("request=\"drain\"")
    });
    session.echo("still there").unwrap();
    session.close().unwrap();
    let outcome = asked.join().unwrap();
    assert!(outcome.stderr.contains("ending already"), "{outcome:#?}");
    assert!(outcome.answer().contains("1 session ended by itself"));
    assert!(scene.daemon.wait_exit(PATIENCE).success());
}

#[test]
fn a_daemon_that_has_ended_is_no_failure_for_systemd() {
    let mut scene = Scene::new();
    scene.daemon.signal(Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    let outcome = stop_by(&scene, "true");
    assert_eq!(outcome.answer(), "proxyd had ended before.");
}
