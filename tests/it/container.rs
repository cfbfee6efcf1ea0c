//! A daemon that is process 1, as in a container, and the image that `packaging/container` makes.

mod image;
mod kubernetes;
mod life;

use std::{fs, os::unix::fs::PermissionsExt as _};

use nix::sys::signal::Signal;

use crate::support::{
    PATIENCE, client,
    daemon::TestDaemon,
    eventually, is_root,
    openssl::{is_there, openssl},
    pki::{Ca, Leaf, replace},
    process,
    program::spawn,
    skip, until,
};

/// A command that leaves behind a child whose parent process 1 becomes.
const LEAVES_AN_ORPHAN: &str = "#!/bin/sh\n(sleep 0.2 &)\n";

/// The words before a program that make it process 1.
pub(crate) const AS_PROCESS_1: [&str; 5] =
    ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

#[test]
fn orphans_do_not_stay_as_zombies() {
    if !is_root() {
        return skip("only root may make a namespace for processes");
    }
    let mut daemon = TestDaemon::builder()
        .workers(1)
        .wrapped(&AS_PROCESS_1)
        .prepare();
    let hook = daemon.path("hook");
    fs::write(&hook, LEAVES_AN_ORPHAN).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    daemon.start();
    daemon
        .ctl(&["set-on-exit-failure", "--", hook.to_str().unwrap()])
        .answer();
    assert_eq!(daemon.status()["supervisor"]["pid"], 1);

    let outside = process::children(daemon.pid())[0];
    for died in 1..=3 {
        let worker = eventually("a worker is there", PATIENCE, || {
            process::children(outside)
                .into_iter()
                .find(|child| process::name(*child).as_deref() == Some("proxyd-worker"))
        });
        process::send(worker, Signal::SIGKILL);
        daemon.await_status("another worker serves", |status| {
            status["restarts"]["total"] == died && status["workers"][0]["state"] == "serving"
        });
    }
    until("only the worker and the resolver are left", || {
        let children = process::children(outside);
        let lives = |child: &u32| process::state(*child) != Some('Z');
        children.len() == 2 && children.iter().all(lives)
    });
}

#[test]
fn a_termination_ends_process_1_before_it_serves() {
    if !is_root() {
        return skip("only root may make a namespace for processes");
    }
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let leaf = Ca::new("authority").leaf("localhost");
    fs::write(folder.path().join("k"), &leaf.key).unwrap();
    openssl(
        folder.path(),
        "pkcs8 -topk8 -in k -passout pass:word -out e",
    );
    let encrypted = fs::read_to_string(folder.path().join("e")).unwrap();
    let daemon = TestDaemon::builder()
        .workers(1)
        .wrapped(&AS_PROCESS_1)
        .table("[[identity]]\ncert = \"all.pem\"\npassphrase_command = [\"/bin/sleep\", \"600\"]")
        .file("all.pem", leaf.cert.clone() + &encrypted)
        .prepare();
    let mut child = spawn(&mut daemon.command());
    let outer = child.id();
    let inner = eventually("it asks for the passphrase", PATIENCE, || {
        let inner = *process::children(outer).first()?;
        let asks = process::children(inner);
        asks.iter()
            .any(|it| process::name(*it).as_deref() == Some("sleep"))
            .then_some(inner)
    });
    process::send(inner, Signal::SIGTERM);
    until("it ends", || child.try_wait().unwrap().is_some());
}

/// Process 1 waits for all children that end; this one's end is somebody else's to hear of.
#[test]
fn the_end_of_a_program_that_gives_a_passphrase_is_not_missed() {
    if !is_root() {
        return skip("only root may make a namespace for processes");
    }
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new("authority");
    let encrypted = |leaf: &Leaf| {
        fs::write(folder.path().join("k"), &leaf.key).unwrap();
        openssl(
            folder.path(),
            "pkcs8 -topk8 -in k -passout pass:word -out e",
        );
        leaf.cert.clone() + &fs::read_to_string(folder.path().join("e")).unwrap()
    };
    let daemon = TestDaemon::builder()
        .workers(1)
        .wrapped(&AS_PROCESS_1)
        .table("[[identity]]\ncert = \"all.pem\"\npassphrase_command = [\"/bin/echo\", \"word\"]")
        .file("all.pem", encrypted(&ca.leaf("localhost")))
        .start();
    for _ in 0..20 {
        let leaf = ca.leaf("localhost");
        replace(&daemon.path("all.pem"), encrypted(&leaf));
        daemon.ctl(&["reload-tls"]).answer();
        let shown = client::handshake(daemon.address(), "localhost", &ca).unwrap();
        assert_eq!(shown.sha256, leaf.sha256);
    }
}
