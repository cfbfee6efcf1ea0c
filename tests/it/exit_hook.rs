//! The exit-failure command: where it is set, when and how it runs, and that nobody waits for it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, daemon::TestDaemon, eventually, process, program::spawn, scene::Scene, until,
};

/// Writes a shell script into the daemon's folder; returns its path.
fn script(daemon: &TestDaemon, name: &str, body: &str) -> PathBuf {
    let path = daemon.path(name);
    fs::write(
        &path,
        format!("#!/bin/sh\ncd '{}'\n{body}\n", daemon.folder().display()),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Sets a script as the command, with further arguments before it.
#[track_caller]
fn set(daemon: &TestDaemon, body: &str, options: &[&str]) -> PathBuf {
    let path = script(daemon, "hook", body);
    let command = [
        &["set-on-exit-failure"],
        options,
        &["--", path.to_str().unwrap()],
    ]
    .concat();
    daemon.ctl(&command).answer();
    path
}

/// Kills the first worker.
fn kill(daemon: &TestDaemon) -> u32 {
    let worker = daemon.workers()[0];
    process::send(worker, Signal::SIGKILL);
    worker
}

/// Waits until a run is over; returns how it ended.
#[track_caller]
fn last_run(daemon: &TestDaemon) -> Value {
    let status = daemon.await_status("the command has run", |status| {
        status["on_exit_failure"]["last_run"] != Value::Null
    });
    status["on_exit_failure"]["last_run"].clone()
}

/// Waits until a file is there and whole; returns its lines.
#[track_caller]
fn lines(daemon: &TestDaemon, name: &str) -> Vec<String> {
    eventually("the command has written its file", PATIENCE, || {
        let text = fs::read_to_string(daemon.path(name)).ok()?;
        text.ends_with("end\n")
            .then(|| text.lines().map(str::to_owned).collect())
    })
}

#[test]
fn it_is_set_shown_and_cleared() {
    let scene = Scene::new();
    let daemon = &scene.daemon;
    let hook = |status: Value| status["on_exit_failure"].clone();
    let unset = json!({"command": null, "timeout_s": null, "source": "unset", "last_run": null});
    assert_eq!(hook(daemon.status()), unset);

    let path = set(daemon, "exit 0", &["--timeout", "3s"]);
    let set = json!({
        "command": [path.to_str().unwrap()], "timeout_s": 3.0, "source": "runtime", "last_run": null
    });
    assert_eq!(hook(daemon.status()), set);
    assert_eq!(daemon.json(&["set-on-exit-failure", "--show"]), set);
    let text = daemon.ctl(&["set-on-exit-failure", "--show"]).answer();
    assert!(text.contains(path.to_str().unwrap()), "{text}");

    daemon.ctl(&["set-on-exit-failure", "--clear"]).answer();
    assert_eq!(hook(daemon.status()), unset);
}

#[test]
fn what_was_set_survives_a_restart_and_goes_before_the_configuration() {
    let mut scene = Scene::with(|builder| {
        builder.set(
            "on_exit_failure",
            "{ command = [\"/bin/true\"], timeout = \"2s\" }",
        )
    });
    let configured = json!({
        "command": ["/bin/true"], "timeout_s": 2.0, "source": "config", "last_run": null
    });
    let show = |daemon: &TestDaemon| daemon.json(&["set-on-exit-failure", "--show"]);
    assert_eq!(show(&scene.daemon), configured);
    let path = set(&scene.daemon, "exit 0", &[]);

    scene.daemon.signal(Signal::SIGKILL);
    scene.daemon.wait_exit(PATIENCE);
    scene.daemon.start();
    let shown = show(&scene.daemon);
    assert_eq!(shown["command"], json!([path.to_str().unwrap()]));
    assert_eq!(shown["source"], "runtime");
    assert_eq!(shown["timeout_s"], 10.0);

    scene
        .daemon
        .ctl(&["set-on-exit-failure", "--clear"])
        .answer();
    assert_eq!(show(&scene.daemon), configured);
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.wait_exit(PATIENCE);
    scene.daemon.start();
    assert_eq!(show(&scene.daemon), configured);
}

#[test]
fn it_changes_with_the_configuration() {
    let mut scene = Scene::new();
    scene
        .daemon
        .reconfigure(|it| it.set("on_exit_failure", "{ command = [\"/bin/true\"] }"));
    scene.daemon.ctl(&["reload"]).answer();
    kill(&scene.daemon);
    assert_eq!(last_run(&scene.daemon)["exit_code"], 0);
}

#[test]
fn it_is_told_what_happened() {
    let scene = Scene::new();
    set(&scene.daemon, "{ env; echo end; } >environment", &[]);
    scene.renew();
    scene.reload_tls();
    let worker = kill(&scene.daemon);
    let lines = lines(&scene.daemon, "environment");
    let is_of_the_service_manager =
        |line: &&String| line.starts_with("NOTIFY_SOCKET=") || line.starts_with("WATCHDOG_");
    // A command that has them could speak to the service manager in the daemon's name.
    assert_eq!(lines.iter().find(is_of_the_service_manager), None);
    let value = |name: &str| {
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name} is not in {lines:?}"))
    };
    assert_eq!(value("PROXYD_EXIT_KIND"), "signal");
    assert_eq!(value("PROXYD_EXIT_SIGNAL"), "9");
    assert_eq!(value("PROXYD_EXIT_CODE"), "");
    assert_eq!(value("PROXYD_WORKER_PID"), worker.to_string());
    assert!(
        value("PROXYD_WORKER_UPTIME_SECONDS")
            .parse::<f64>()
            .unwrap()
            > 0.0
    );
    assert!(value("PROXYD_RESTARTS").parse::<u64>().is_ok());
    assert_eq!(value("PROXYD_TLS_GENERATION"), "2");
    assert_eq!(
        value("PROXYD_CONTROL_SOCKET"),
        scene.daemon.socket().to_str().unwrap()
    );
}

#[test]
fn it_runs_for_a_worker_that_hangs() {
    let scene = Scene::with(|builder| builder.set("heartbeat_timeout", "\"1s\""));
    set(
        &scene.daemon,
        "{ echo $PROXYD_EXIT_KIND; echo end; } >kind",
        &[],
    );
    process::send(scene.daemon.workers()[0], Signal::SIGSTOP);
    assert_eq!(lines(&scene.daemon, "kind")[0], "watchdog");
}

#[test]
fn it_runs_for_a_worker_that_dies_before_it_serves() {
    let scene = Scene::with(|builder| builder.workers(2).set("heartbeat_timeout", "\"1m\""));
    set(
        &scene.daemon,
        "{ echo $PROXYD_EXIT_KIND; echo end; } >kind-$PROXYD_WORKER_PID",
        &[],
    );
    let supervisor = scene.daemon.pid();
    let other = scene.daemon.workers()[1];
    kill(&scene.daemon);
    // Whoever comes next is killed as soon as it can be seen, for which there are milliseconds: it
    // is looked for without a pause.
    let is_worker = |pid: u32| {
        let name = process::name(pid);
        pid != other && matches!(name.as_deref(), Some("exe" | "proxyd-worker"))
    };
    until("a worker died before it served", || {
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            let workers = process::children(supervisor).into_iter();
            for worker in workers.filter(|child| is_worker(*child)) {
                process::send(worker, Signal::SIGKILL);
            }
        }
        scene.daemon.log().contains("before it served")
    });
    until("the command ran for it", || {
        let entries = fs::read_dir(scene.daemon.folder()).unwrap();
        entries.filter_map(Result::ok).any(|entry| {
            let is_kind = entry.file_name().to_str().unwrap().starts_with("kind-");
            is_kind && fs::read_to_string(entry.path()).is_ok_and(|text| text == "start\nend\n")
        })
    });
}

#[test]
fn the_command_may_ask_the_daemon_that_runs_it() {
    let scene = Scene::new();
    let ctl = env!("CARGO_BIN_EXE_proxyctl");
    let body = format!("'{ctl}' --socket \"$PROXYD_CONTROL_SOCKET\" status && echo end");
    set(&scene.daemon, &format!("({body}) > asked 2>&1"), &[]);
    kill(&scene.daemon);
    assert!(lines(&scene.daemon, "asked").len() > 1);
}

#[test]
fn a_slow_command_does_not_delay_the_restart() {
    let scene = Scene::new();
    set(&scene.daemon, "sleep 60", &["--timeout", "1m"]);
    let began = Instant::now();
    kill(&scene.daemon);
    scene.await_restarts(1);
    scene.shows(&scene.old);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(
        scene.daemon.status()["on_exit_failure"]["last_run"],
        Value::Null
    );
}

#[test]
fn two_runs_never_overlap() {
    let scene = Scene::with(|builder| builder.workers(3));
    let body = "mkdir lock || echo overlap >>seen; sleep 0.3; rmdir lock; echo run >>seen";
    set(&scene.daemon, body, &[]);
    for worker in scene.daemon.workers() {
        process::send(worker, Signal::SIGKILL);
    }
    let seen = eventually("the command has run three times", PATIENCE, || {
        let seen = fs::read_to_string(scene.daemon.path("seen")).ok()?;
        (seen.matches("run").count() == 3).then_some(seen)
    });
    assert!(!seen.contains("overlap"), "{seen}");
}

#[test]
fn it_is_killed_with_its_children_at_its_timeout() {
    let scene = Scene::new();
    let body = "sleep 600 & echo $! >child; echo $$ >self; wait";
    set(&scene.daemon, body, &["--timeout", "1s"]);
    kill(&scene.daemon);
    let run = last_run(&scene.daemon);
    assert_eq!(run["timed_out"], true);
    assert_eq!(run["exit_code"], Value::Null);
    for name in ["child", "self"] {
        let pid = fs::read_to_string(scene.daemon.path(name)).unwrap();
        let pid = pid.trim().parse().unwrap();
        until("it is dead", || !process::is_alive(pid));
    }
}

#[test]
fn a_run_that_was_killed_makes_way_for_the_next() {
    let scene = Scene::new();
    set(
        &scene.daemon,
        "test -e second && exit 7; touch second; sleep 600",
        &["--timeout", "500ms"],
    );
    kill(&scene.daemon);
    assert_eq!(last_run(&scene.daemon)["timed_out"], true);
    scene.await_restarts(1);
    kill(&scene.daemon);
    scene.daemon.await_status("it has run again", |status| {
        status["on_exit_failure"]["last_run"]["exit_code"] == 7
    });
}

#[test]
fn a_command_that_fails_is_told_of_and_changes_nothing() {
    let scene = Scene::new();
    set(&scene.daemon, "exit 3", &[]);
    kill(&scene.daemon);
    let run = last_run(&scene.daemon);
    assert_eq!(run["exit_code"], 3);
    assert_eq!(run["timed_out"], false);
    assert!(run["at"].is_string());
    scene.await_restarts(1);
    let events = scene.daemon.events();
    assert!(
        events.iter().any(|event| event["kind"] == "exit-hook"),
        "{events:?}"
    );
}

#[test]
fn a_program_that_has_gone_is_told_of_and_changes_nothing() {
    let scene = Scene::new();
    let path = set(&scene.daemon, "exit 0", &[]);
    fs::remove_file(path).unwrap();
    kill(&scene.daemon);
    let run = last_run(&scene.daemon);
    assert_eq!(run["exit_code"], Value::Null);
    scene.await_restarts(1);
    scene.shows(&scene.old);
}

#[test]
fn a_program_that_cannot_be_one_is_refused() {
    let scene = Scene::new();
    for program in ["no-such-program-anywhere", "/tmp", "/etc/passwd"] {
        let complaint = scene
            .daemon
            .ctl(&["set-on-exit-failure", "--", program])
            .complaint();
        assert!(complaint.contains(program), "{complaint}");
    }
    assert_eq!(scene.daemon.status()["on_exit_failure"]["source"], "unset");
}

#[test]
fn a_program_that_is_not_there_yet_is_set_and_told_of() {
    let scene = Scene::new();
    let program = scene.daemon.path("later");
    let program = program.to_str().unwrap();
    scene
        .daemon
        .ctl(&["set-on-exit-failure", "--", program])
        .answer();
    kill(&scene.daemon);
    let run = last_run(&scene.daemon);
    assert_eq!(run["exit_code"], Value::Null);
    assert!(run["error"].as_str().unwrap().contains(program), "{run}");
    scene.await_restarts(1);
}

#[test]
fn a_child_with_a_session_of_its_own_is_killed_with_it() {
    let scene = Scene::new();
    let body = "setsid sh -c 'echo $$ > child; echo end >> child; exec sleep 600' & wait";
    set(&scene.daemon, body, &["--timeout", "1s"]);
    kill(&scene.daemon);
    let child = lines(&scene.daemon, "child")[0].parse().unwrap();
    assert_eq!(last_run(&scene.daemon)["timed_out"], true);
    until("the child is gone", || !process::is_alive(child));
}

#[test]
fn a_worker_that_dies_while_it_drains_is_told_of() {
    let mut scene = Scene::with(|builder| builder.workers(1));
    set(
        &scene.daemon,
        "echo \"$PROXYD_EXIT_SIGNAL\" > told; echo end >> told",
        &[],
    );
    let _session = scene.session();
    let worker = scene.daemon.workers()[0];
    scene.daemon.signal(Signal::SIGTERM);
    until("it drains", || {
        scene.daemon.status()["workers"][0]["state"] == "draining"
    });
    process::send(worker, Signal::SIGKILL);
    assert!(scene.daemon.wait_exit(PATIENCE).success());
    assert_eq!(lines(&scene.daemon, "told")[0], "9");
    assert!(scene.daemon.log().contains("its sessions are cut"));
}

#[test]
fn a_worker_that_hangs_while_it_drains_is_told_of() {
    let mut scene = Scene::with(|builder| {
        builder
            .set("heartbeat_timeout", "\"1s\"")
            .set("drain_timeout", "\"10m\"")
    });
    let body = "echo \"$PROXYD_EXIT_KIND\" > told; echo end >> told";
    set(&scene.daemon, body, &[]);
    let _session = scene.session();
    let worker = scene.daemon.workers()[0];
    let mut follower = spawn(&mut scene.daemon.ctl_command(&["--json", "events", "--follow"]));
    let mut events = BufReader::new(follower.stdout.take().unwrap());
    let mut told = String::new();
    events.read_line(&mut told).unwrap();
    scene.daemon.signal(Signal::SIGTERM);
    until("it drains", || {
        scene.daemon.status()["workers"][0]["state"] == "draining"
    });
    process::send(worker, Signal::SIGSTOP);
    assert!(scene.daemon.wait_exit(PATIENCE).success());
    events.read_to_string(&mut told).unwrap();
    assert!(told.contains("\"worker-failed\""), "{told}");
    assert!(follower.wait().unwrap().success());
    assert_eq!(lines(&scene.daemon, "told")[0], "watchdog");
}

#[test]
fn an_end_at_once_is_no_failure_and_waits_for_no_command() {
    let mut scene = Scene::with(|builder| builder.workers(1));
    set(
        &scene.daemon,
        "echo end > told; sleep 600",
        &["--timeout", "10m"],
    );
    let _session = scene.session();
    scene.daemon.signal(Signal::SIGTERM);
    until("it drains", || {
        scene.daemon.status()["workers"][0]["state"] == "draining"
    });
    scene.daemon.signal(Signal::SIGTERM);
    assert!(scene.daemon.wait_exit(PATIENCE).success());
    assert!(!scene.daemon.path("told").exists());
    assert!(!scene.daemon.log().contains("its sessions are cut"));
}

#[test]
fn its_output_goes_to_the_log() {
    let scene = Scene::new();
    set(&scene.daemon, "echo to the one; echo to the other >&2", &[]);
    kill(&scene.daemon);
    until("its output is in the log", || {
        let log = scene.daemon.log();
        log.contains("to the one") && log.contains("to the other")
    });
}

#[test]
fn it_inherits_nothing_but_the_standard_descriptors() {
    let scene = Scene::with(|builder| {
        builder.wrapped(&["bash", "-c", "exec 9</etc/passwd; exec \"$@\"", "bash"])
    });
    let command = [
        "set-on-exit-failure",
        "--",
        "/bin/ls",
        "-l",
        "/proc/self/fd",
    ];
    scene.daemon.ctl(&command).answer();
    kill(&scene.daemon);
    last_run(&scene.daemon);
    let log = scene.daemon.log();
    let open: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(" -> ").map(|(_, target)| target.trim()))
        .collect();
    // The fourth is the folder that `ls` lists.
    assert_eq!(open.len(), 4, "{log}");
    assert!(open[0].starts_with("/dev/null"), "{open:?}");
    assert!(
        open[1].starts_with("pipe:") && open[2].starts_with("pipe:"),
        "{open:?}"
    );
    assert!(open[3].starts_with("/proc/"), "{open:?}");
}

#[test]
fn a_daemon_that_ends_runs_nothing() {
    let mut scene = Scene::with(|builder| builder.workers(2));
    set(&scene.daemon, "touch ran", &[]);
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.wait_exit(PATIENCE);
    assert!(!scene.daemon.path("ran").exists());
}
