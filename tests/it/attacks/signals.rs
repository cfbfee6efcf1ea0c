//! Signals, from a worker and to it.

use nix::{libc, sys::signal::Signal};
use serde_json::Value;

use super::Attack;
use crate::support::{
    orders::{call, number, space},
    process, until,
};

/// Calls that send a process a signal, or only ask whether that could be done.
fn signals(pid: u32) -> Vec<(&'static str, Value)> {
    let it = || number(pid);
    let usr2 = || number(libc::SIGUSR2);
    vec![
        ("kill with 0", call(libc::SYS_kill, [it(), number(0)])),
        ("kill", call(libc::SYS_kill, [it(), usr2()])),
        ("tkill", call(libc::SYS_tkill, [it(), usr2()])),
        ("tgkill", call(libc::SYS_tgkill, [it(), it(), usr2()])),
        (
            "rt_sigqueueinfo",
            call(libc::SYS_rt_sigqueueinfo, [it(), usr2(), space(128)]),
        ),
        (
            "rt_tgsigqueueinfo",
            call(
                libc::SYS_rt_tgsigqueueinfo,
                [it(), it(), usr2(), space(128)],
            ),
        ),
    ]
}

#[test]
fn a_worker_cannot_send_signals_to_the_supervisor_or_its_neighbour() {
    for attack in [Attack::new(), Attack::unprivileged()] {
        let Some(attack) = attack else { continue };
        attack.is_refused(&signals(attack.daemon().pid()));
        attack.is_refused(&signals(attack.neighbour));
    }
}

#[test]
fn a_worker_cannot_have_the_kernel_send_signals_for_it() {
    let Some(attack) = Attack::unprivileged() else {
        return;
    };
    let supervisor = i64::from(attack.daemon().pid());
    // The kernel would send the owner of a socket a signal with each byte that comes (fcntl(2)).
    let link = || number(0);
    attack.is_refused(&[
        (
            "F_SETOWN",
            call(
                libc::SYS_fcntl,
                [link(), number(libc::F_SETOWN), number(supervisor)],
            ),
        ),
        (
            "FIOSETOWN",
            call(
                libc::SYS_ioctl,
                [
                    link(),
                    number(0x8901),
                    crate::support::orders::bytes(attack.daemon().pid().to_ne_bytes()),
                ],
            ),
        ),
    ]);
}

#[test]
fn signals_for_the_supervisor_change_nothing_when_workers_get_them() {
    let Some(attack) = Attack::new() else { return };
    let mut session = attack.session().unwrap();
    session.echo("before").unwrap();
    let signals = [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ];
    for signal in signals {
        for worker in [attack.hostile.pid, attack.neighbour] {
            assert!(process::send(worker, signal));
        }
    }
    until("the signals have arrived", || {
        [attack.hostile.pid, attack.neighbour].iter().all(|it| {
            process::status_line(*it, "SigPnd").is_some_and(|it| it.trim_matches('0').is_empty())
        })
    });
    session.echo("after").unwrap();
    attack.changed_nothing();
}
