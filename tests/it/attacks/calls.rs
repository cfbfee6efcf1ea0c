//! System calls by which a process gets more than it has.

use nix::libc;
use serde_json::Value;

use super::{Attack, denied_calls};
use crate::support::orders::{bytes, call, number, space, text};

/// Calls that act on this process, and have no use for a worker.
fn on_itself() -> Vec<(&'static str, Value)> {
    let zero = || number(0);
    vec![
        (
            "unshare",
            call(libc::SYS_unshare, [number(libc::CLONE_NEWUSER)]),
        ),
        ("setns", call(libc::SYS_setns, [zero(), zero()])),
        (
            "io_uring_setup",
            call(libc::SYS_io_uring_setup, [number(8), space(120)]),
        ),
        (
            "io_uring_enter",
            call(libc::SYS_io_uring_enter, [zero(), number(1)]),
        ),
        (
            "io_uring_register",
            call(libc::SYS_io_uring_register, [zero()]),
        ),
        ("userfaultfd", call(libc::SYS_userfaultfd, [number(1)])),
        (
            "bpf",
            call(libc::SYS_bpf, [zero(), space(120), number(120)]),
        ),
        (
            "perf_event_open",
            call(
                libc::SYS_perf_event_open,
                [space(128), zero(), number(-1), number(-1)],
            ),
        ),
        ("keyctl", call(libc::SYS_keyctl, [zero(), number(-3)])),
        (
            "add_key",
            call(
                libc::SYS_add_key,
                [text("user"), text("x"), bytes("x"), number(1), number(-3)],
            ),
        ),
        (
            "mount",
            call(
                libc::SYS_mount,
                [text("none"), text("/"), text("tmpfs"), zero(), zero()],
            ),
        ),
        ("umount2", call(libc::SYS_umount2, [text("/proc")])),
        ("chroot", call(libc::SYS_chroot, [text("/")])),
        (
            "pivot_root",
            call(libc::SYS_pivot_root, [text("/"), text("/")]),
        ),
        (
            "open_by_handle_at",
            call(libc::SYS_open_by_handle_at, [number(-100), space(128)]),
        ),
        (
            "init_module",
            call(libc::SYS_init_module, [space(1), number(1), text("")]),
        ),
        ("setuid", call(libc::SYS_setuid, [zero()])),
        (
            "setresuid",
            call(libc::SYS_setresuid, [zero(), zero(), zero()]),
        ),
        ("setgid", call(libc::SYS_setgid, [zero()])),
        ("capset", call(libc::SYS_capset, [space(8), space(24)])),
        (
            "personality",
            call(libc::SYS_personality, [number(0x40000)]),
        ),
        (
            "prctl(PR_SET_DUMPABLE)",
            call(libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), number(1)]),
        ),
        ("setsid", call(libc::SYS_setsid, [])),
        ("memfd_secret", call(libc::SYS_memfd_secret, [zero()])),
    ]
}

/// Calls that act on another process.
fn on_another(pid: u32) -> Vec<(&'static str, Value)> {
    let zero = || number(0);
    let it = || number(pid);
    // Few enough descriptors for it to take no client any more.
    let limit = bytes([3_u64.to_ne_bytes(), 3_u64.to_ne_bytes()].concat());
    vec![
        (
            "ptrace(PTRACE_SEIZE)",
            call(libc::SYS_ptrace, [number(0x4206), it()]),
        ),
        (
            "process_vm_readv",
            call(
                libc::SYS_process_vm_readv,
                [it(), space(16), number(1), space(16), number(1), zero()],
            ),
        ),
        (
            "process_vm_writev",
            call(
                libc::SYS_process_vm_writev,
                [it(), space(16), number(1), space(16), number(1), zero()],
            ),
        ),
        ("pidfd_open", call(libc::SYS_pidfd_open, [it(), zero()])),
        (
            "kcmp",
            call(libc::SYS_kcmp, [it(), it(), zero(), zero(), zero()]),
        ),
        (
            "prlimit64",
            call(
                libc::SYS_prlimit64,
                [it(), number(i64::from(libc::RLIMIT_NOFILE)), limit],
            ),
        ),
        (
            "sched_setaffinity",
            call(
                libc::SYS_sched_setaffinity,
                [it(), number(8), bytes(1_u64.to_ne_bytes())],
            ),
        ),
        (
            "sched_setscheduler",
            call(
                libc::SYS_sched_setscheduler,
                [it(), number(libc::SCHED_IDLE), space(4)],
            ),
        ),
        (
            "setpriority",
            call(libc::SYS_setpriority, [zero(), it(), number(19)]),
        ),
        (
            "ioprio_set",
            call(libc::SYS_ioprio_set, [number(1), it(), number(3 << 13)]),
        ),
        ("setpgid", call(libc::SYS_setpgid, [it(), it()])),
    ]
}

#[test]
fn a_worker_can_make_no_call_that_gives_it_more_than_it_has() {
    let Some(attack) = Attack::new() else { return };
    attack.is_refused(&on_itself());
}

#[test]
fn a_worker_cannot_reach_into_the_supervisor_or_its_neighbour() {
    for attack in [Attack::new(), Attack::unprivileged()] {
        let Some(attack) = attack else { continue };
        attack.is_refused(&on_another(attack.daemon().pid()));
        attack.is_refused(&on_another(attack.neighbour));
    }
}

#[test]
fn calls_that_were_denied_are_counted_and_do_not_end_the_worker() {
    let Some(attack) = Attack::new() else { return };
    let status = attack.daemon().status();
    let before = denied_calls(&status, attack.hostile.pid);
    let denied = call(libc::SYS_unshare, [number(libc::CLONE_NEWUSER)]);
    attack.hostile.make(&vec![denied; 5]);
    let counted = |status: &Value| {
        let after = denied_calls(status, attack.hostile.pid);
        before.zip(after).is_some_and(|it| it.1 >= it.0 + 5)
    };
    attack
        .daemon()
        .await_status("the denied calls are counted", counted);
    attack.changed_nothing();
}
