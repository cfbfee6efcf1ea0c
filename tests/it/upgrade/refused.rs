//! Programs and moments that are refused: the daemon goes on as before.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::upgrading::Upgrading;
use crate::support::{
    PATIENCE, pause,
    program::{End, Outcome},
};

#[test]
fn a_program_that_does_not_start_does_not_answer_or_is_none_is_refused() {
    let Some(it) = Upgrading::new() else {
        return;
    };
    let folder = it.programs.folder();
    it.is_refused(&folder.join("missing"), "No such file");
    it.is_refused(folder, "it is a folder");
    let closed = it.programs.daemon("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o644)).unwrap();
    it.is_refused(&closed, "is not executable; give it that right");
    let script = folder.join("script");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    it.is_refused(&script, "is not executable");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    it.is_refused(&script, "is a script");
    let broken = it.programs.daemon("broken");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..whole.len() / 100]).unwrap();
    it.is_refused(&broken, "its end is missing");
    let other = it.programs.copy("/bin/true", "true");
    it.is_refused(&other, "exited with status 0");
    let failing = it.programs.copy("/bin/ls", "ls");
    it.is_refused(&failing, "its last line was");
}

#[test]
fn a_program_where_others_may_put_one_is_refused() {
    let Some(it) = Upgrading::new() else {
        return;
    };
    let folder = it.programs.folder().join("open");
    fs::create_dir(&folder).unwrap();
    let program = it.programs.daemon("open/proxyd");
    for mode in [0o777, 0o1777, 0o775] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        it.is_refused(&program, "may be written to by others");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o757)).unwrap();
    it.is_refused(&program, "may be written to by others");
    // Also on the way of a link to it.
    let linked = tempfile::tempdir().unwrap();
    let link = linked.path().join("proxyd");
    symlink(it.programs.daemon("safe"), &link).unwrap();
    it.is_refused(&link, "/tmp may be written to by others");
    // And where it leads to.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let link = it.programs.folder().join("link");
    symlink(&program, &link).unwrap();
    it.is_refused(&link, "may be written to by others");
}

#[test]
fn an_upgrade_with_a_broken_configuration_is_refused() {
    let Some(it) = Upgrading::new() else {
        return;
    };
    let program = it.programs.daemon("next");
    it.scene.daemon.write_configuration("listener = 1");
    it.is_refused(&program, "proxyd.toml");
}

#[test]
fn an_upgrade_while_the_daemon_drains_is_refused() {
    let Some(mut it) = Upgrading::new() else {
        return;
    };
    let mut session = it.scene.session();
    it.scene.daemon.signal(Signal::SIGTERM);
    it.scene.daemon.await_status("it drains", |status| {
        status["supervisor"]["state"] == "draining"
    });
    let outcome = it.upgrade(&it.programs.daemon("next"));
    assert_eq!(outcome.end, End::Exit(1), "{outcome:?}");
    assert!(outcome.stderr.contains("is ending"), "{outcome:?}");
    session.echo("still here").unwrap();
}

#[test]
fn of_two_upgrades_at_once_one_is_refused_and_the_other_done() {
    let Some(it) = Upgrading::new() else {
        return;
    };
    let program = it.programs.daemon("next");
    let mut session = it.scene.session();
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let asks: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| it.upgrade(&program)))
            .collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    let done = |it: &&Outcome| it.end == End::Exit(0);
    // The second may come when the first is over.
    assert!(outcomes.iter().filter(done).count() >= 1, "{outcomes:?}");
    for refused in outcomes.iter().filter(|it| !done(it)) {
        assert!(
            refused.stderr.contains("upgrade is under way"),
            "{refused:?}"
        );
    }
    session.echo("still here").unwrap();
}

#[test]
fn signals_in_the_middle_of_an_upgrade_are_not_lost() {
    let Some(mut it) = Upgrading::new() else {
        return;
    };
    let program = it.programs.daemon("next");
    let mut session = it.scene.session();
    for round in 0..5 {
        it.scene.renew();
        let mut command = it.scene.daemon.ctl_command(&["upgrade", "--binary"]);
        let mut asked = command.arg(&program).stdout(Stdio::null()).spawn().unwrap();
        pause(Duration::from_millis(60 * round));
        it.scene.daemon.signal(Signal::SIGHUP);
        assert!(asked.wait().unwrap().success(), "round {round}");
        it.scene
            .daemon
            .await_status("what is on disk is served", |status| {
                status["tls"]["disk"]["state"] == "same"
            });
    }
    session.echo("still here").unwrap();
    drop(session);
    let mut command = it.scene.daemon.ctl_command(&["upgrade", "--binary"]);
    let mut asked = command
        .arg(&program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    pause(Duration::from_millis(150));
    it.scene.daemon.signal(Signal::SIGTERM);
    assert!(it.scene.daemon.wait_exit(PATIENCE).success());
    asked.wait().unwrap();
}

#[test]
fn a_relative_path_is_that_of_the_clients_folder() {
    let Some(it) = Upgrading::new() else {
        return;
    };
    let told = it.upgrade(Path::new("missing-program")).stderr;
    let here = std::env::current_dir().unwrap();
    let path = here.join("missing-program");
    assert!(
        told.contains(path.to_str().unwrap()) || told.contains("others"),
        "{told}"
    );
}
