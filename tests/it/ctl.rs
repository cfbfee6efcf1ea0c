//! What `proxyctl` prints and exits with.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{PATIENCE, pki::overwrite, process, program::run, scene::Scene, until};

/// Checks that a value is of a kind: a letter of the contract's types, `?` after it for null.
#[track_caller]
fn is_a(document: &Value, pointer: &str, kind: &str) {
    let value = document.pointer(pointer);
    let value = value.unwrap_or_else(|| panic!("{pointer} is not there: {document:#}"));
    let fits = match kind.trim_end_matches('?') {
        "text" => value.is_string(),
        "time" => value
            .as_str()
            .is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        "count" => value.is_u64(),
        "whole" => value.is_i64(),
        "number" => value.is_f64(),
        "truth" => value.is_boolean(),
        "list" => value.is_array(),
        "table" => value.is_object(),
        other => panic!("{other} is no kind"),
    };
    let fits = fits || (kind.ends_with('?') && value.is_null());
    assert!(fits, "{pointer} is no {kind}: {value}");
}

#[test]
fn the_status_document_has_every_key_of_the_contract() {
    let scene = Scene::new();
    let hook = ["set-on-exit-failure", "--", "/bin/true"];
    scene.daemon.ctl(&hook).answer();
    process::send(scene.daemon.workers()[0], Signal::SIGKILL);
    scene.await_restarts(1);
    overwrite(&scene.daemon.files("default").cert, "nonsense");
    scene.daemon.ctl(&["reload-tls"]).complaint();
    let status = scene.daemon.await_status("all has happened", |status| {
        !status["on_exit_failure"]["last_run"].is_null() && !status["tls"]["last_error"].is_null()
    });
    for (pointer, kind) in [
        ("/schema", "count"),
        ("/supervisor/pid", "count"),
        ("/supervisor/version", "text"),
        ("/supervisor/started_at", "time"),
        ("/supervisor/uptime_s", "number"),
        ("/supervisor/state", "text"),
        ("/workers/0/pid", "count"),
        ("/workers/0/slot", "count"),
        ("/workers/0/state", "text"),
        ("/workers/0/started_at", "time"),
        ("/workers/0/generation", "count"),
        ("/workers/0/connections", "count"),
        ("/restarts/total", "count"),
        ("/restarts/consecutive", "count"),
        ("/restarts/last/at", "time"),
        ("/restarts/last/pid", "count"),
        ("/restarts/last/kind", "text"),
        ("/restarts/last/signal", "count?"),
        ("/restarts/last/code", "count?"),
        ("/restarts/last/uptime_s", "number"),
        ("/tls/generation", "count"),
        ("/tls/loaded_at", "time"),
        ("/tls/trigger", "text"),
        ("/tls/disk/state", "text"),
        ("/tls/disk/reason", "text?"),
        ("/tls/restart_safe", "truth"),
        ("/tls/last_error", "table?"),
        ("/tls/rollback", "table?"),
        ("/tls/expiries/0/kind", "text"),
        ("/tls/expiries/0/owner", "text"),
        ("/tls/expiries/0/name", "text"),
        ("/tls/expiries/0/file", "text?"),
        ("/tls/expiries/0/starts_at", "time"),
        ("/tls/expiries/0/ends_at", "time"),
        ("/tls/expiries/0/days_left", "whole"),
        ("/tls/expiries/0/effect", "text"),
        ("/tls/identities/0/name", "text"),
        ("/tls/identities/0/cert", "text"),
        ("/tls/identities/0/key", "text"),
        ("/tls/identities/0/subject", "text"),
        ("/tls/identities/0/issuer", "text"),
        ("/tls/identities/0/serial", "text"),
        ("/tls/identities/0/sha256", "text"),
        ("/tls/identities/0/not_before", "time"),
        ("/tls/identities/0/not_after", "time"),
        ("/tls/identities/0/path_not_after", "time"),
        ("/tls/identities/0/days_left", "whole"),
        ("/tls/identities/0/dns_names", "list"),
        ("/tls/identities/0/key_type", "text"),
        ("/on_exit_failure/command", "list"),
        ("/on_exit_failure/timeout_s", "number"),
        ("/on_exit_failure/source", "text"),
        ("/on_exit_failure/last_run/at", "time"),
        ("/on_exit_failure/last_run/exit_code", "whole?"),
        ("/on_exit_failure/last_run/timed_out", "truth"),
        ("/listeners/0/name", "text"),
        ("/listeners/0/bind", "text"),
        ("/listeners/0/protocol", "text"),
        ("/listeners/0/backend", "text"),
        ("/listeners/0/connections/open", "count"),
        ("/listeners/0/connections/total", "count"),
        ("/listeners/0/connections/failed_handshakes", "count"),
    ] {
        is_a(&status, pointer, kind);
    }
    assert_eq!(status["schema"], 1);
    assert_eq!(status["tls"]["identities"][0]["key_type"], "ecdsa-p256");
    assert_eq!(status["tls"]["identities"][0]["days_left"], 89);
    assert_eq!(
        status["tls"]["identities"][0]["dns_names"],
        json!(["localhost"])
    );
}

#[test]
fn status_counts_sessions() {
    let scene = Scene::with(|builder| builder.workers(2));
    let sessions = [scene.session(), scene.session(), scene.session()];
    let open = |status: &Value| status["listeners"][0]["connections"]["open"].clone();
    assert_eq!(open(&scene.daemon.status()), 3);
    drop(sessions);
    scene
        .daemon
        .await_status("they are gone", |status| open(status) == 0);
    assert_eq!(
        scene.daemon.status()["listeners"][0]["connections"]["total"],
        3
    );
}

#[test]
fn status_for_people_names_what_is_served() {
    let scene = Scene::new();
    let text = scene.daemon.ctl(&["status"]).answer();
    for part in [
        "default",
        "localhost",
        "main",
        &scene.daemon.backend.address(),
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_variable_names_the_socket_and_counts_as_unset_when_it_is_empty() {
    let scene = Scene::new();
    let by_variable = |value: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proxyctl"));
        command
            .env_clear()
            .env("PROXYD_SOCKET", value)
            .arg("status");
        run(command, PATIENCE)
    };
    by_variable(&scene.daemon.socket()).answer();
    let outcome = by_variable(Path::new(""));
    assert_eq!(outcome.code(), 3, "{outcome:#?}");
    assert!(outcome.stderr.contains("proxyd.sock"), "{outcome:#?}");

    let mut command = scene.daemon.ctl_command(&["status"]);
    command.env("PROXYD_SOCKET", "");
    run(command, PATIENCE).answer();
    let mut command = scene.daemon.command();
    command.envs([("PROXYD_CONFIG", ""), ("PROXYD_SOCKET", "")]);
    command.arg("--check-config");
    run(command, PATIENCE).answer();
    let help = scene.daemon.ctl(&["--help"]).answer();
    assert!(help.contains("[env: PROXYD_SOCKET]"), "{help}");
}

#[test]
fn an_answer_goes_to_the_output_and_a_complaint_to_the_error_output() {
    let scene = Scene::new();
    let outcome = scene.daemon.ctl(&["reload-tls"]);
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""));
    overwrite(&scene.daemon.files("default").cert, "nonsense");
    let outcome = scene.daemon.ctl(&["--json", "reload-tls"]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("default.pem"), "{outcome:#?}");
    serde_json::from_str::<Value>(&outcome.stdout).unwrap();
}

#[test]
fn a_reader_that_goes_early_is_no_failure() {
    let scene = Scene::new();
    let mut command = scene.daemon.ctl_command(&["events", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    scene.renew();
    scene.reload_tls();
    assert!(child.wait().unwrap().success());
}

#[test]
fn events_tell_what_happened_in_order() {
    let scene = Scene::new();
    scene.renew();
    scene.reload_tls();
    scene.reload_tls();
    process::send(scene.daemon.workers()[0], Signal::SIGKILL);
    scene.await_restarts(1);
    let events = scene.daemon.events();
    let kinds: Vec<&str> = events
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    let place = |kind: &str| {
        let place = kinds.iter().position(|it| *it == kind);
        place.unwrap_or_else(|| panic!("{kind} is not in {kinds:?}"))
    };
    assert!(place("started") < place("reloaded"));
    assert!(place("reloaded") < place("unchanged"));
    assert!(place("unchanged") < place("worker-failed"));
    for (event, seq) in events.iter().zip(1..) {
        assert_eq!(event["seq"], seq);
        is_a(event, "/at", "time");
        is_a(event, "/message", "text");
    }
}

#[test]
fn events_are_followed_until_the_daemon_ends() {
    let scene = Scene::new();
    let mut command = scene.daemon.ctl_command(&["--json", "events", "--follow"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = |kind: &str| loop {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if event["kind"] == kind {
            return;
        }
    };
    next("started");
    scene.renew();
    scene.reload_tls();
    next("reloaded");
    scene.daemon.ctl(&["stop"]).answer();
    next("ending");
    child.wait().unwrap();
}

#[test]
fn check_is_ok_while_all_is_well() {
    let scene = Scene::new();
    let outcome = scene.daemon.ctl(&["check"]);
    assert_eq!(outcome.code(), 0, "{outcome:#?}");
    assert!(outcome.stdout.starts_with("PROXYD OK"), "{outcome:#?}");
}

#[test]
fn check_warns_of_an_end_that_is_near() {
    let scene = Scene::new();
    assert_eq!(scene.daemon.ctl(&["check", "--warn", "88d"]).code(), 0);
    assert_eq!(scene.daemon.ctl(&["check", "--warn", "100d"]).code(), 1);
    assert_eq!(scene.daemon.ctl(&["check", "--critical", "100d"]).code(), 2);
}

#[test]
fn check_warns_of_a_disk_that_is_not_served() {
    let scene = Scene::new();
    scene.renew();
    let outcome = scene.daemon.ctl(&["check"]);
    assert_eq!(outcome.code(), 1, "{outcome:#?}");
}

#[test]
fn check_is_critical_when_a_cold_start_would_fail() {
    let scene = Scene::new();
    fs::remove_file(scene.daemon.files("default").key).unwrap();
    let outcome = scene.daemon.ctl(&["check"]);
    assert_eq!(outcome.code(), 2, "{outcome:#?}");
    assert!(outcome.stdout.contains("default.key"), "{outcome:#?}");
}

#[test]
fn check_refuses_a_warning_that_would_come_too_late() {
    let scene = Scene::prepare(|builder| builder);
    for thresholds in [["7d", "30d"], ["10%", "33%"]] {
        let [warn, critical] = thresholds;
        let outcome = scene
            .daemon
            .ctl(&["check", "--warn", warn, "--critical", critical]);
        assert_eq!(outcome.code(), 2, "{outcome:#?}");
        assert!(outcome.stderr.contains("--warn is less"), "{outcome:#?}");
    }
    // These cannot be compared, so what is unknown is the daemon.
    let outcome = scene
        .daemon
        .ctl(&["check", "--warn", "7d", "--critical", "33%"]);
    assert_eq!(outcome.code(), 3, "{outcome:#?}");
}

#[test]
fn check_tells_the_days_left_to_those_who_draw_them() {
    let scene = Scene::new();
    let line = scene.daemon.ctl(&["check", "--warn", "30d"]).answer();
    let (_, numbers) = line.split_once(" | ").unwrap();
    assert!(numbers.starts_with("'default'=9"), "{line}");
    assert!(numbers.ends_with("d;30:;9.1:"), "{line}");
    let document = scene.daemon.json(&["check"]);
    assert_eq!(document["state"], "ok");
    assert_eq!(document["findings"], json!([]));
}

#[test]
fn check_without_a_daemon_is_unknown() {
    let scene = Scene::prepare(|builder| builder);
    assert_eq!(scene.daemon.ctl(&["check"]).code(), 3);
}

#[test]
fn verify_tells_what_a_reload_would_find_and_changes_nothing() {
    let scene = Scene::new();
    scene.renew();
    let report = scene.daemon.json(&["verify"]);
    assert_eq!(report["identities"][0]["disk"]["sha256"], scene.new.sha256);
    assert_eq!(
        report["identities"][0]["served"]["sha256"],
        scene.old.sha256
    );
    assert_eq!(scene.daemon.ctl(&["verify"]).code(), 0);

    let cert = scene.daemon.files("default").cert;
    overwrite(&cert, "nonsense");
    let complaint = scene.daemon.ctl(&["verify"]).complaint();
    assert!(complaint.contains(cert.to_str().unwrap()), "{complaint}");
    let status = scene.daemon.status();
    assert_eq!(status["tls"]["generation"], 1);
    assert_eq!(status["tls"]["last_error"], Value::Null);
    scene.shows(&scene.old);
}

#[test]
fn stop_returns_when_the_daemon_has_ended_and_cuts_sessions() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    assert_eq!(scene.daemon.ctl(&["stop"]).code(), 0);
    until("the supervisor has ended", || {
        scene.daemon.exit_status().is_some()
    });
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
    assert!(session.echo("gone").is_err());
}

#[test]
fn drain_returns_when_the_last_session_has_ended() {
    let mut scene = Scene::new();
    let mut session = scene.session();
    let command = scene.daemon.ctl_command(&["drain"]);
    let asked = std::thread::spawn(move || run(command, PATIENCE * 2));
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    session.echo("still there").unwrap();
    assert!(!asked.is_finished());
    session.close().unwrap();
    assert_eq!(asked.join().unwrap().code(), 0);
    assert_eq!(scene.daemon.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_reload_while_the_daemon_ends_is_refused() {
    let mut scene = Scene::new();
    let _session = scene.session();
    scene.daemon.signal(Signal::SIGTERM);
    scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    let complaint = scene.daemon.ctl(&["reload-tls"]).complaint();
    assert!(complaint.contains("ending"), "{complaint}");
}

#[test]
fn the_demonstration_comes_to_a_good_end() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxyctl"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["--json", "--timeout", "30s", "demo"]);
    let outcome = run(command, PATIENCE * 4);
    let report: Value = serde_json::from_str(&outcome.clone().answer()).unwrap();
    assert_eq!(report["ok"], true, "{outcome:#?}");
}
