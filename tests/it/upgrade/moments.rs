//! Moments at which other things are under way, or something is wrong: an upgrade waits for their end, is refused, or
//! is done all the same.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::upgrading::Upgrading;
use crate::{
    shortage::leave,
    stuck_disk::Disk,
    support::{
        PATIENCE, eventually, process,
        program::{self, End, as_nobody, run},
        skip, until,
    },
};

/// More descriptors than any daemon of the tests needs.
const ENOUGH: usize = 20_000;

#[test]
fn an_upgrade_while_a_reload_hangs_is_refused_and_the_reload_goes_on() {
    let Some(it) = Upgrading::with(|it| it.workers(2).set("heartbeat_timeout", "\"60s\"")) else {
        return;
    };
    let daemon = &it.scene.daemon;
    let stopped = daemon.workers()[1];
    process::send(stopped, Signal::SIGSTOP);
    it.scene.renew();
    let mut command = daemon.ctl_command(&["reload-tls"]);
    let mut reload = command.stdout(Stdio::null()).spawn().unwrap();
    // It has begun long before the trial is over.
    let outcome = it.upgrade(&it.next());
    process::send(stopped, Signal::SIGCONT);
    assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
    it.tells_last("refused", "a reload is under way");
    assert!(reload.wait().unwrap().success());
    it.scene.shows(&it.scene.new);
    it.is_done();
    it.scene.shows(&it.scene.new);
}

#[test]
fn an_upgrade_waits_until_the_sessions_of_a_worker_that_ended_are_taken_over() {
    let Some(it) = Upgrading::with(|it| it) else {
        return;
    };
    let mut session = it.scene.session();
    it.scene
        .daemon
        .await_status("the session is kept", |status| {
            status["sessions"]["kept"] == 1
        });
    let mut asked = it.begin();
    process::send(it.scene.daemon.workers()[0], Signal::SIGKILL);
    assert!(asked.wait().unwrap().success());
    session.echo("still here").unwrap();
    let status = it.scene.daemon.status();
    assert_eq!(status["sessions"]["lost_total"], 0, "{status}");
    assert_eq!(status["upgrades"]["last"]["result"], "done", "{status}");
}

#[test]
fn an_upgrade_while_a_worker_that_died_again_and_again_waits_to_be_started_is_done() {
    let Some(it) = Upgrading::with(|it| it.workers(2)) else {
        return;
    };
    let mut session = it.scene.session();
    let daemon = &it.scene.daemon;
    // The next worker of the slot that has it would be started at once, to take it over.
    let idle = eventually("the session is kept", PATIENCE, || {
        let status = daemon.status();
        let of = [0, 1].map(|slot| status["workers"][slot]["connections"].as_u64());
        let idle = of.iter().position(|it| *it == Some(0))?;
        (status["sessions"]["kept"] == 1 && of[1 - idle] == Some(1)).then_some(idle)
    });
    eventually("a worker waits to be started", PATIENCE, || {
        let status = daemon.status();
        let worker = &status["workers"][idle];
        if worker["pid"].is_null() && status["restarts"]["consecutive"].as_u64() >= Some(4) {
            return Some(());
        }
        let pid = worker["pid"].as_u64();
        if let Some(pid) = pid.and_then(|it| u32::try_from(it).ok()) {
            process::send(pid, Signal::SIGKILL);
        }
        None
    });
    it.is_done();
    let status = daemon.await_status("all serve", |status| {
        let workers = status["workers"].as_array().unwrap();
        workers.len() == 2 && workers.iter().all(|it| it["state"] == "serving")
    });
    session.echo("still here").unwrap();
    assert_eq!(status["sessions"]["lost_total"], 0, "{status}");
}

#[test]
fn an_upgrade_for_which_descriptors_are_short_is_refused_or_rolled_back_or_done() {
    let Some(it) = Upgrading::with(|it| it.workers(2)) else {
        return;
    };
    let daemon = &it.scene.daemon;
    let (pid, mut session) = (daemon.pid(), it.scene.session());
    // With each number, the descriptor that cannot be opened is for another thing.
    for more in 1..10 {
        if !leave(pid, more) {
            return;
        }
        let before = daemon.status()["upgrades"]["total"].clone();
        let outcome = it.upgrade(&it.next());
        assert!(process::limit_descriptors(pid, ENOUGH));
        let status = daemon.await_status("all serve", |status| {
            let workers = status["workers"].as_array().unwrap();
            workers.len() == 2 && workers.iter().all(|it| it["state"] == "serving")
        });
        session.echo("still here").unwrap();
        assert_eq!(status["sessions"]["lost_total"], 0, "{more}: {status}");
        let upgrades = &status["upgrades"];
        if outcome.is_success() {
            assert_ne!(upgrades["total"], before, "{more}: {status}");
            break;
        }
        assert_eq!(outcome.end, End::Exit(1), "{more}: {outcome:?}");
        assert_eq!(upgrades["total"], before, "{more}: {outcome:?} {status}");
        assert_ne!(upgrades["last"]["result"], "done", "{more}: {status}");
    }
    it.is_done();
    session.echo("still here").unwrap();
}

#[test]
fn an_upgrade_whose_state_directory_is_broken_is_refused() {
    let Some(it) = Upgrading::with(|it| it) else {
        return;
    };
    let state = it.scene.daemon.path("state");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "no folder").unwrap();
    it.is_refused(&it.next(), state.to_str().unwrap());
    fs::remove_file(&state).unwrap();
    it.is_done();
}

#[test]
fn an_upgrade_whose_state_directory_does_not_answer_changes_nothing_that_clients_notice() {
    let Some(mut it) = Upgrading::prepare(|it| it) else {
        return;
    };
    let Some(disk) = Disk::mount(&it.scene.daemon, "state") else {
        return;
    };
    it.scene.daemon.start();
    let mut session = it.scene.session();
    disk.freeze();
    let outcome = it.upgrade(&it.next());
    let last = it.scene.daemon.status()["upgrades"]["last"]["result"].clone();
    assert_eq!(outcome.is_success(), last == "done", "{outcome:?} {last}");
    session.echo("still here").unwrap();
    it.scene.shows(&it.scene.old);
    assert!(disk.thaw());
    it.is_done();
    session.echo("still here").unwrap();
}

#[test]
fn an_upgrade_while_the_daemon_starts_is_refused() {
    let Some(mut it) = Upgrading::obeying(|it| it) else {
        return;
    };
    it.programs.order(&["Adopted WorkersHang".to_owned()]);
    let mut child = program::spawn(&mut it.scene.daemon.command());
    it.scene.daemon.adopt(child.id());
    until("it can be asked", || {
        it.scene
            .daemon
            .ctl(&["--json", "status"])
            .stdout
            .contains("starting")
    });
    let outcome = it.upgrade(&it.next());
    assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
    assert!(outcome.stderr.contains("is starting"), "{outcome:?}");
    let started = process::children(child.id());
    process::send(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    // They hang, so that they do not notice.
    for pid in started {
        process::send(pid, Signal::SIGKILL);
    }
    it.scene.daemon.start();
    it.leaves_no_process();
    it.is_done();
}

#[test]
fn a_member_of_the_control_group_may_upgrade_and_not_name_the_program() {
    let Ok(Some(group)) = nix::unistd::Group::from_name("daemon") else {
        return skip("there is no group `daemon`");
    };
    let ctl = env!("CARGO_BIN_EXE_proxyctl");
    let Some(words) = as_nobody(ctl, group.gid.as_raw()) else {
        return;
    };
    let Some(it) = Upgrading::with(|it| it.set("control_group", "\"daemon\"")) else {
        return;
    };
    let folder = it.scene.daemon.folder();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(&words[0]);
        command.env_clear().args(&words[1..]).arg(ctl);
        command.arg("--socket").arg(it.scene.daemon.socket());
        command.arg("upgrade").args(arguments);
        run(command, PATIENCE)
    };
    let (before, next) = (it.scene.daemon.workers(), it.next());
    let next = next.to_str().unwrap();
    for arguments in [&["--binary", next][..], &["--check", "--binary", next]] {
        let outcome = ask(arguments);
        assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
        assert!(outcome.stderr.contains("may name one"), "{outcome:?}");
    }
    assert_eq!(it.scene.daemon.workers(), before);
    let outcome = ask(&[]);
    assert!(outcome.is_success(), "{outcome:?}");
}
