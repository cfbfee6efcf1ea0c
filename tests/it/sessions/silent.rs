//! Workers that do not answer, and operators who go on looking.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::Front;
use crate::support::{
    PATIENCE,
    backend::Backend,
    configuration::Listener,
    process,
    program::{self, run},
    skip,
};

#[test]
fn a_worker_that_does_not_answer_is_named_and_the_others_are_shown() {
    let backend = Backend::tcp();
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &[], |it| {
        it.workers(2).set("heartbeat_timeout", "\"60s\"")
    });
    let sessions: Vec<_> = (0..20).map(|_| front.session()).collect();
    let all = front.ids(&[]);
    let stopped = front.daemon.workers()[0];
    assert!(process::send(stopped, Signal::SIGSTOP));
    let complaint = format!("worker {stopped} has not answered");
    let shown = front.daemon.ctl(&["--json", "sessions"]);
    assert_eq!(shown.code(), 1, "{shown:#?}");
    assert!(shown.stderr.contains(&complaint), "{shown:#?}");
    let shown: Vec<serde_json::Value> = serde_json::from_str(&shown.stdout).unwrap();
    assert!(shown.len() < sessions.len(), "{shown:?}");
    let ended = front.daemon.ctl(&["end", "--listener", "main"]);
    assert_eq!(ended.code(), 1, "{ended:#?}");
    assert!(ended.stderr.contains(&complaint), "{ended:#?}");
    // It does what it was told as soon as it can.
    assert!(process::send(stopped, Signal::SIGCONT));
    front
        .daemon
        .await_status("all sessions have ended", |status| {
            let counts = &status["listeners"][0]["connections"];
            counts["ended"]["ended_by_operator"] == all.len()
        });
}

#[test]
fn sessions_are_watched_until_an_interrupt() {
    let backend = Backend::tcp();
    let front = Front::new(&backend.address(), &[]);
    let _session = front.session();
    let mut command = front.daemon.ctl_command(&["--json", "sessions", "--watch"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let list: serde_json::Value =
            serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(list.as_array().unwrap().len(), 1);
    }
    assert!(process::send(child.id(), Signal::SIGINT));
    child.wait().unwrap();
    front.session();
}

#[test]
fn a_member_of_the_control_group_may_end_sessions_and_is_named() {
    let Ok(Some(group)) = nix::unistd::Group::from_name("daemon") else {
        return skip("there is no group `daemon`");
    };
    let program = env!("CARGO_BIN_EXE_proxyctl");
    let Some(words) = program::as_nobody(program, group.gid.as_raw()) else {
        return;
    };
    let backend = Backend::tcp();
    let listener = Listener::tcp("main", &backend.address());
    let front = Front::with(listener, &[], |it| it.set("control_group", "\"daemon\""));
    fs::set_permissions(front.daemon.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut session = front.session();
    let mut command = Command::new(&words[0]);
    command.env_clear().args(&words[1..]).arg(program);
    command.arg("--socket").arg(front.daemon.socket());
    command.args(["end", "--client", "127.0.0.1"]);
    let outcome = run(command, PATIENCE);
    assert_eq!(outcome.answer(), "Ended 1 session.");
    session.rest().unwrap();
    let user = nix::unistd::User::from_uid(program::NOBODY.into()).unwrap();
    let name = user.map_or_else(|| format!("uid {}", program::NOBODY), |it| it.name);
    assert_eq!(front.end("ended_by_operator")["by"], name);
}
