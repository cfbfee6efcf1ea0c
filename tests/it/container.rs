//! A daemon that is process 1, as in a container.

use std::{fs, os::unix::fs::PermissionsExt as _};

use nix::sys::signal::Signal;

use crate::support::{PATIENCE, daemon::TestDaemon, eventually, is_root, process, skip, until};

/// A command that leaves behind a child whose parent process 1 becomes.
const LEAVES_AN_ORPHAN: &str = "#!/bin/sh\n(sleep 0.2 &)\n";

#[test]
fn orphans_do_not_stay_as_zombies() {
    if !is_root() {
        return skip("only root may make a namespace for processes");
    }
    let mut daemon = TestDaemon::builder()
        .workers(1)
        .wrapped(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
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
    until("only the worker is left", || {
        let children = process::children(outside);
        children.len() == 1 && process::state(children[0]) != Some('Z')
    });
}
