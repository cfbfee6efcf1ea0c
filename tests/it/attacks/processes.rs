//! Other processes of the worker's own, which would outlive it with its keys and sockets.

use std::path::Path;

use nix::libc;
use serde_json::Value;

use super::Attack;
use crate::support::{
    orders::{bytes, call, number, result, space, text},
    process,
};

/// Calls by which a process begins another.
fn beginnings() -> Vec<(&'static str, Value)> {
    let signal = u64::from(libc::SIGCHLD.unsigned_abs());
    // The structure of clone3(2) with `exit_signal`, its fifth field, set.
    let how = [[0; 4].as_slice(), &[signal], &[0; 6]].concat();
    let how: Vec<u8> = how.into_iter().flat_map(u64::to_ne_bytes).collect();
    let thread = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_FS | libc::CLONE_SIGHAND;
    vec![
        ("clone", call(libc::SYS_clone, [number(libc::SIGCHLD)])),
        (
            "clone with a user namespace",
            call(
                libc::SYS_clone,
                [number(libc::SIGCHLD | libc::CLONE_NEWUSER)],
            ),
        ),
        (
            "clone of the memory alone",
            call(libc::SYS_clone, [number(libc::SIGCHLD | thread)]),
        ),
        ("clone3", call(libc::SYS_clone3, [bytes(how), number(88)])),
        #[cfg(target_arch = "x86_64")]
        ("fork", call(libc::SYS_fork, [])),
        #[cfg(target_arch = "x86_64")]
        ("vfork", call(libc::SYS_vfork, [])),
    ]
}

/// Calls by which a process becomes another program.
fn programs() -> Vec<(&'static str, Value)> {
    // The loader itself, which a worker may read that looks for the libraries of name resolution.
    let loader = if Path::new("/lib64/ld-linux-x86-64.so.2").exists() {
        "/lib64/ld-linux-x86-64.so.2"
    } else {
        "/lib/ld-linux-aarch64.so.1"
    };
    vec![
        (
            "execve",
            call(libc::SYS_execve, [text("/bin/true"), space(8), space(8)]),
        ),
        (
            "execve of a library",
            call(libc::SYS_execve, [text(loader), space(8), space(8)]),
        ),
        (
            "execveat",
            call(
                libc::SYS_execveat,
                [
                    number(-100),
                    text("/bin/true"),
                    space(8),
                    space(8),
                    number(0),
                ],
            ),
        ),
        (
            "execveat of a descriptor",
            call(
                libc::SYS_execveat,
                [
                    number(0),
                    text(""),
                    space(8),
                    space(8),
                    number(libc::AT_EMPTY_PATH),
                ],
            ),
        ),
    ]
}

#[test]
fn a_worker_cannot_begin_another_process() {
    let Some(attack) = Attack::new() else { return };
    attack.is_refused(&beginnings());
    assert_eq!(process::children(attack.hostile.pid), [0; 0]);
}

#[test]
fn a_worker_cannot_become_another_program() {
    let Some(attack) = Attack::new() else { return };
    attack.is_refused(&programs());
}

#[test]
fn a_worker_cannot_run_a_program_that_it_has_made_in_memory() {
    let Some(attack) = Attack::new() else { return };
    let empty = || space(8);
    let made = attack.hostile.make(&[
        call(libc::SYS_memfd_create, [text("program"), number(0)]),
        call(libc::SYS_write, [result(0), bytes("\x7fELF"), number(4)]),
        call(
            libc::SYS_execveat,
            [
                result(0),
                text(""),
                empty(),
                empty(),
                number(libc::AT_EMPTY_PATH),
            ],
        ),
    ]);
    assert!(made[2].is_refused(), "{made:#?}");
    attack.changed_nothing();
}
