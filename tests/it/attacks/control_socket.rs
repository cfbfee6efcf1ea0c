//! The control socket, which the daemon's own user may use, and so a worker of a daemon that is not root.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    thread,
};

use nix::libc;
use serde_json::{Value, json};

use super::Attack;
use crate::support::{
    daemon::TestDaemon,
    orders::{Outcome, bytes, call, length, number, result, space},
};

/// Runs `proxyctl`, which succeeds; returns all that it has sent.
fn record(daemon: &TestDaemon, arguments: &[&str]) -> Vec<u8> {
    let (socket, real) = (daemon.socket(), daemon.path("real.sock"));
    fs::rename(&socket, &real).unwrap();
    let between = UnixListener::bind(&socket).unwrap();
    let recording = thread::spawn(move || listen_in(&between, &real));
    daemon.ctl(arguments).answer();
    let sent = recording.join().unwrap();
    fs::rename(daemon.path("real.sock"), daemon.socket()).unwrap();
    sent
}

/// Passes one client on; returns what it has sent.
fn listen_in(between: &UnixListener, real: &PathBuf) -> Vec<u8> {
    let (mut client, _) = between.accept().unwrap();
    let mut daemon = UnixStream::connect(real).unwrap();
    let (mut answers, mut to_client) = (daemon.try_clone().unwrap(), client.try_clone().unwrap());
    let back = thread::spawn(move || {
        // The client may be gone before the answer's last byte.
        let _ = std::io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let (mut sent, mut space) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = client.read(&mut space) {
        sent.extend_from_slice(&space[..read]);
        if daemon.write_all(&space[..read]).is_err() {
            break;
        }
    }
    let _ = daemon.shutdown(Shutdown::Write);
    back.join().unwrap();
    sent
}

/// Has the worker connect to the control socket, say this, and read the answer.
fn ask(attack: &Attack, said: &[u8]) -> Vec<Outcome> {
    let path = attack.daemon().socket();
    let family = u16::try_from(libc::AF_UNIX).unwrap().to_ne_bytes();
    let path = path.to_str().unwrap().as_bytes();
    let address = bytes([&family[..], path, b"\0"].concat());
    let stream = number(libc::SOCK_STREAM);
    // A wait for the answer must end.
    let patience = bytes([5_u64.to_ne_bytes(), [0; 8]].concat());
    let timeout = [
        number(libc::SOL_SOCKET),
        number(libc::SO_RCVTIMEO),
        patience,
        number(16),
    ];
    attack.hostile.make(&[
        call(libc::SYS_socket, [number(libc::AF_UNIX), stream, number(0)]),
        call(libc::SYS_connect, [result(0), address, length(1)]),
        call(libc::SYS_setsockopt, [result(0)].into_iter().chain(timeout)),
        call(libc::SYS_write, [result(0), bytes(said), length(1)]),
        call(libc::SYS_read, [result(0), space(4096), number(4096)]),
        call(libc::SYS_read, [result(0), space(4096), number(4096)]),
    ])
}

fn command(daemon: &TestDaemon) -> Value {
    daemon.status()["on_exit_failure"]["command"].clone()
}

#[track_caller]
fn cannot_set_the_command(attack: &Attack) {
    let daemon = attack.daemon();
    let said = record(
        daemon,
        &["set-on-exit-failure", "--", "/bin/true", "of-the-worker"],
    );
    assert_eq!(command(daemon), json!(["/bin/true", "of-the-worker"]));
    daemon
        .ctl(&["set-on-exit-failure", "--", "/bin/true", "as-it-was"])
        .answer();
    let made = ask(attack, &said);
    assert_eq!(
        command(daemon),
        json!(["/bin/true", "as-it-was"]),
        "{made:#?}"
    );
    attack.changed_nothing();
}

#[test]
fn a_worker_cannot_set_the_exit_failure_command() {
    let Some(attack) = Attack::new() else { return };
    cannot_set_the_command(&attack);
}

#[test]
fn a_worker_with_the_daemons_own_user_cannot_set_the_exit_failure_command() {
    let Some(attack) = Attack::unprivileged() else {
        return;
    };
    cannot_set_the_command(&attack);
}

#[test]
fn a_worker_with_the_daemons_own_user_cannot_connect_to_the_control_socket() {
    let Some(attack) = Attack::unprivileged() else {
        return;
    };
    let made = ask(&attack, b"");
    assert!(made[..2].iter().any(Outcome::is_refused), "{made:#?}");
    attack.changed_nothing();
}

#[test]
fn a_worker_with_the_daemons_own_user_cannot_end_the_daemon() {
    let Some(attack) = Attack::unprivileged() else {
        return;
    };
    // It is recorded with another command, so that the daemon goes on: both are one short message.
    let said = record(attack.daemon(), &["reload"]);
    let before = attack.daemon().events().len();
    ask(&attack, &said);
    let events = attack.daemon().events();
    assert_eq!(events.len(), before, "{events:#?}");
    attack.changed_nothing();
}
