//! Memory that workers share.

use std::fs;

use nix::libc;
use serde_json::Value;

use super::Attack;
use crate::support::{
    is_root,
    orders::{bytes, call, number, text},
};

/// Calls that change what a descriptor of memory leads to.
fn changes(fd: i64) -> Vec<Value> {
    let it = || number(fd);
    let zero = || number(0);
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let mmap = [
        zero(),
        number(4096),
        number(writable),
        number(libc::MAP_SHARED),
        it(),
        zero(),
    ];
    // A file that may have no length would else end the worker by a signal.
    let ignore = bytes([1_u64, 0, 0, 0].map(u64::to_ne_bytes).concat());
    vec![
        call(
            libc::SYS_rt_sigaction,
            [number(libc::SIGXFSZ), ignore, zero(), number(8)],
        ),
        call(
            libc::SYS_pwrite64,
            [it(), bytes([0xff; 64]), number(64), zero()],
        ),
        call(libc::SYS_write, [it(), bytes([0xff; 64]), number(64)]),
        call(libc::SYS_ftruncate, [it(), zero()]),
        call(libc::SYS_ftruncate, [it(), number(1 << 30)]),
        call(
            libc::SYS_fallocate,
            [it(), number(punch), zero(), number(4096)],
        ),
        call(libc::SYS_mmap, mmap),
    ]
}

#[test]
fn a_worker_cannot_change_the_identities_that_workers_share() {
    let Some(attack) = Attack::new() else { return };
    let all = attack.leading_to("/memfd:proxyd-identities");
    if !is_root() {
        return;
    }
    assert!(!all.is_empty(), "no worker shares any memory");
    for fd in all {
        let made = attack.hostile.make(&changes(fd));
        let done: Vec<_> = made[1..].iter().filter(|it| it.result >= 0).collect();
        assert!(done.is_empty(), "{made:#?}");
        // A file of /proc would be a descriptor of its own, with other rights.
        let path = text(format!("/proc/self/fd/{fd}"));
        let opened = attack.hostile.make_one(call(
            libc::SYS_openat,
            [number(libc::AT_FDCWD), path, number(libc::O_RDWR)],
        ));
        if !opened.is_refused() && opened.result >= 0 {
            let made = attack.hostile.make(&changes(opened.result));
            assert!(made[1..].iter().all(|it| it.result < 0), "{made:#?}");
        }
    }
    attack.changed_nothing();
    attack.ends_with_its_death();
    let scene = &attack.obeying.scene;
    scene.shows(&scene.old);
}

/// Returns where a process has mapped memory that it shares and may write to, and how long that is.
pub(super) fn shared(pid: u32) -> Vec<(i64, i64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let shared = maps.lines().filter(|line| line.contains(" rw-s "));
    let range = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let from = i64::from_str_radix(from, 16).ok()?;
        Some((from, i64::from_str_radix(to, 16).ok()? - from))
    };
    shared.filter_map(range).collect()
}
