//! Files: a worker needs none.

use std::{fs, path::Path};

use nix::libc;
use serde_json::Value;

use super::Attack;
use crate::support::orders::{call, number, space, text};

/// The folder that paths are relative to: that of the process.
const HERE: i64 = libc::AT_FDCWD as i64;

fn open(path: &str, flags: libc::c_int) -> Value {
    call(
        libc::SYS_openat,
        [number(HERE), text(path), number(flags), number(0o644)],
    )
}

/// Returns all paths below a folder, and its own.
fn below(folder: &Path) -> Vec<String> {
    let mut all = vec![folder.to_str().unwrap().to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(below(&path));
        } else {
            all.push(path.to_str().unwrap().to_owned());
        }
    }
    all
}

/// Asserts that the worker can open nothing of the daemon and of the machine, and change nothing.
#[track_caller]
fn reaches_no_file(attack: &Attack) {
    let daemon = attack.daemon();
    daemon
        .ctl(&["set-on-exit-failure", "--", "/bin/true"])
        .answer();
    let supervisor = daemon.pid();
    let (hostile, neighbour) = (attack.hostile.pid, attack.neighbour);
    let mut paths = below(daemon.folder());
    let socket = daemon.socket();
    let notify = daemon.path("notify.sock");
    paths.retain(|it| ![&socket, &notify].contains(&&Path::new(it).to_owned()));
    assert!(paths.len() > 5, "{paths:?}");
    paths.extend(
        [
            "/",
            "/etc",
            "/etc/passwd",
            "/etc/resolv.conf",
            "/proc",
            "/dev/null",
        ]
        .map(str::to_owned),
    );
    paths.push("/proc/self/environ".to_owned());
    for pid in [supervisor, hostile, neighbour] {
        let names = ["environ", "maps", "mem", "fd", "root/etc/passwd", "cmdline"];
        paths.extend(names.map(|name| format!("/proc/{pid}/{name}")));
    }
    let calls: Vec<Value> = paths.iter().map(|it| open(it, libc::O_RDONLY)).collect();
    let made = attack.hostile.make(&calls);
    let opened: Vec<_> = paths
        .iter()
        .zip(&made)
        .filter(|(_, it)| !it.is_refused())
        .collect();
    assert!(opened.is_empty(), "{opened:#?}");
}

#[test]
fn a_worker_can_open_no_file() {
    let Some(attack) = Attack::new() else { return };
    reaches_no_file(&attack);
}

#[test]
fn a_worker_with_the_daemons_own_user_can_open_no_file() {
    let Some(attack) = Attack::unprivileged() else {
        return;
    };
    reaches_no_file(&attack);
}

#[test]
fn a_worker_with_the_daemons_own_user_can_make_and_change_no_file() {
    let Some(attack) = Attack::unprivileged() else {
        return;
    };
    let daemon = attack.daemon();
    let path = |name: &str| daemon.path(name).to_str().unwrap().to_owned();
    let key = daemon.files("default").key;
    let key = key.to_str().unwrap();
    let (there, socket) = (path("state"), path("control.sock"));
    let at = |number_of, path: &str, more: &[Value]| {
        let arguments = [number(HERE), text(path)];
        call(number_of, arguments.into_iter().chain(more.iter().cloned()))
    };
    let now = || number(0);
    let made = attack.hostile.make(&[
        open(&path("new"), libc::O_WRONLY | libc::O_CREAT),
        open(&there, libc::O_WRONLY | libc::O_TMPFILE),
        open(key, libc::O_WRONLY | libc::O_TRUNC),
        call(libc::SYS_truncate, [text(key), number(0)]),
        at(libc::SYS_mkdirat, &path("folder"), &[number(0o755)]),
        at(libc::SYS_unlinkat, key, &[now()]),
        at(libc::SYS_unlinkat, &socket, &[now()]),
        at(
            libc::SYS_renameat2,
            key,
            &[number(HERE), text(path("moved")), now()],
        ),
        at(
            libc::SYS_linkat,
            key,
            &[number(HERE), text(path("linked")), now()],
        ),
        call(
            libc::SYS_symlinkat,
            [text("/"), number(HERE), text(path("pointer"))],
        ),
        at(
            libc::SYS_mknodat,
            &path("fifo"),
            &[number(libc::S_IFIFO | 0o644)],
        ),
        at(libc::SYS_fchmodat, key, &[number(0o777)]),
        at(
            libc::SYS_fchownat,
            key,
            &[number(65534), number(65534), now()],
        ),
        at(libc::SYS_utimensat, key, &[space(32), now()]),
        call(
            libc::SYS_setxattr,
            [text(key), text("user.x"), text("x"), number(1), now()],
        ),
        call(libc::SYS_chdir, [text(&there)]),
        call(
            libc::SYS_inotify_add_watch,
            [number(0), text(&there), number(2)],
        ),
    ]);
    let done: Vec<_> = made
        .iter()
        .enumerate()
        .filter(|(_, it)| !it.is_refused())
        .collect();
    assert!(done.is_empty(), "{done:#?}");
    attack.changed_nothing();
}
