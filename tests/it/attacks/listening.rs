//! The listening sockets, which a worker shares with the supervisor and other workers.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use nix::{
    libc::{self, c_int},
    sys::signal::Signal,
};
use serde_json::Value;

use super::{Attack, PROMPT};
use crate::support::{
    configuration::Listener,
    is_root,
    orders::{Obeying, bytes, call, number, space},
    process, skip, until,
};

/// A daemon with one worker and a Unix listener. Where a neighbour listens too, a client would not
/// notice.
fn alone() -> Option<Obeying> {
    Obeying::with(|builder| {
        let backend = builder.backend().address();
        let path = builder.folder().join("shared.sock");
        let shared = Listener::tcp("shared", &backend).bind(&format!("unix:{}", path.display()));
        builder
            .set("heartbeat_timeout", "\"2s\"")
            .listener(shared.line("tls = { mode = \"preferred\" }"))
    })
}

fn echoes(obeying: &Obeying) -> bool {
    let Ok(mut stream) = UnixStream::connect(obeying.scene.daemon.path("shared.sock")) else {
        return false;
    };
    stream.set_read_timeout(Some(PROMPT)).unwrap();
    let mut answer = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut answer).is_ok()
}

/// Waits until both listeners serve again, at the addresses that they had.
#[track_caller]
fn serves_again(obeying: &Obeying, address: std::net::SocketAddr) {
    let scene = &obeying.scene;
    until("the port is served", || {
        crate::support::client::handshake(address, "localhost", &scene.ca).is_ok()
    });
    until("the Unix socket is served", || echoes(obeying));
    assert_eq!(scene.daemon.address(), address);
    scene.shows(&scene.old);
}

/// Has the worker do something to each of its listening sockets that makes it listen no more.
#[track_caller]
fn is_healed(close: impl Fn(c_int) -> Value) {
    are_healed(|fd| vec![close(fd)]);
}

/// Has the worker do things to each of its listening sockets that make it listen no more.
#[track_caller]
fn are_healed(close: impl Fn(c_int) -> Vec<Value>) {
    let Some(obeying) = alone() else { return };
    let address = obeying.scene.daemon.address();
    let attack = Attack::on(obeying);
    let calls: Vec<Value> = attack.listening().into_iter().flat_map(close).collect();
    // The worker may die of it, or be ended for it.
    let _ = attack
        .hostile
        .begin(&calls, std::time::Duration::ZERO)
        .finish();
    serves_again(&attack.obeying, address);
    attack.is_prompt();
    for worker in attack.daemon().workers() {
        process::send(worker, Signal::SIGKILL);
    }
    serves_again(&attack.obeying, address);
}

fn shutdown(fd: c_int, how: c_int) -> Value {
    call(libc::SYS_shutdown, [number(fd), number(how)])
}

#[test]
fn a_listening_socket_that_a_worker_has_shut_down_is_bound_again() {
    is_healed(|fd| shutdown(fd, libc::SHUT_RDWR));
}

#[test]
fn a_listening_socket_that_a_worker_has_shut_down_for_reading_is_bound_again() {
    is_healed(|fd| shutdown(fd, libc::SHUT_RD));
}

#[test]
fn a_listening_socket_that_a_worker_has_disconnected_is_bound_again() {
    // AF_UNSPEC disconnects (connect(2)).
    is_healed(|fd| call(libc::SYS_connect, [number(fd), space(16), number(16)]));
}

#[test]
fn a_listening_socket_that_a_worker_has_connected_elsewhere_is_bound_again() {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let family = u16::try_from(libc::AF_INET).unwrap().to_ne_bytes();
    let address = [&family[..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat();
    are_healed(|fd| {
        let to = |address| call(libc::SYS_connect, [number(fd), address, number(16)]);
        vec![to(space(16)), to(bytes(&address))]
    });
}

#[test]
fn a_socket_that_was_shut_down_and_whose_worker_died_at_once_is_bound_again() {
    let Some(obeying) = alone() else { return };
    let address = obeying.scene.daemon.address();
    let attack = Attack::on(obeying);
    let mut calls: Vec<Value> = attack
        .listening()
        .into_iter()
        .map(|fd| shutdown(fd, libc::SHUT_RDWR))
        .collect();
    calls.push(call(libc::SYS_exit_group, [number(0)]));
    let busy = attack.hostile.begin(&calls, std::time::Duration::ZERO);
    busy.finish().unwrap_err();
    serves_again(&attack.obeying, address);
}

#[test]
fn sockets_that_were_bound_again_arrive_at_a_worker_that_has_taken_all_its_descriptors() {
    if !is_root() {
        return skip("only root may limit a worker that protects its memory");
    }
    let Some(obeying) = alone() else { return };
    let address = obeying.scene.daemon.address();
    let attack = Attack::on(obeying);
    let all = attack.listening();
    let open = process::descriptors(attack.hostile.pid);
    let most = open.last().map_or(0, |it| it.0) as usize + 2;
    if !process::limit_descriptors(attack.hostile.pid, most) {
        return skip("the limit of a process that runs cannot be set");
    }
    let copy = [number(0), number(libc::F_DUPFD_CLOEXEC), number(0)];
    let mut calls = vec![call(libc::SYS_fcntl, copy); most];
    calls.extend(all.iter().map(|fd| shutdown(*fd, libc::SHUT_RDWR)));
    // Its connection, which stays open, has a descriptor too.
    let busy = attack.hostile.begin(&calls, std::time::Duration::ZERO);
    let again = "was bound again";
    until("all are bound again", || {
        attack.daemon().log().matches(again).count() >= all.len()
    });
    // The worker answers this after it was handed them.
    attack.is_prompt();
    assert!(process::limit_descriptors(attack.hostile.pid, 20_000));
    drop(busy);
    serves_again(&attack.obeying, address);
    let log = attack.daemon().log();
    assert!(!log.contains("did not arrive"), "{log}");
}

#[test]
fn a_worker_cannot_change_how_a_listening_socket_listens() {
    let Some(attack) = Attack::new() else { return };
    let all = attack.listening();
    let refused: Vec<(&str, Value)> = all
        .iter()
        .flat_map(|fd| options().into_iter().map(|option| of(*fd, option)))
        .chain(
            all.iter()
                .map(|fd| ("listen", call(libc::SYS_listen, [number(*fd), number(0)]))),
        )
        .collect();
    attack.is_refused(&refused);
}

/// What the kernel says of an option of a socket, as a number.
fn asked(attack: &Attack, fd: c_int, (level, option): (c_int, c_int)) -> String {
    let size = bytes(4_u32.to_ne_bytes());
    let arguments = [number(fd), number(level), number(option), space(8), size];
    let asked = attack
        .hostile
        .make_one(call(libc::SYS_getsockopt, arguments));
    assert_eq!(asked.result, 0, "{asked:?}");
    asked.spaces[0].clone()
}

#[test]
fn options_that_a_worker_sets_on_a_listening_socket_are_undone() {
    let Some(attack) = Attack::new() else { return };
    let tcp = (libc::SOL_SOCKET, libc::SO_PROTOCOL);
    let is_tcp = crate::support::pki::hex(&libc::IPPROTO_TCP.to_ne_bytes());
    let all = attack.listening().into_iter();
    let all: Vec<c_int> = all
        .filter(|fd| asked(&attack, *fd, tcp).starts_with(&is_tcp))
        .collect();
    assert!(!all.is_empty());
    let (off, on) = (0_u32.to_ne_bytes(), 1_u32.to_ne_bytes());
    let options = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, off.to_vec()),
        (libc::SOL_SOCKET, libc::SO_LINGER, [on, off].concat()),
        (libc::SOL_SOCKET, libc::SO_OOBINLINE, on.to_vec()),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, on.to_vec()),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, on.to_vec()),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY, off.to_vec()),
    ];
    let now = || -> Vec<String> {
        let each = all
            .iter()
            .flat_map(|fd| options.iter().map(move |it| (*fd, it)));
        each.map(|(fd, it)| asked(&attack, fd, (it.0, it.1)))
            .collect()
    };
    let before = now();
    for (level, option, value) in &options {
        let sets = all
            .iter()
            .map(|fd| of(*fd, ("an option", *level, *option, bytes(value))).1);
        let made = attack.hostile.make(&sets.collect::<Vec<_>>());
        assert!(made.iter().all(|it| it.result == 0), "{option}: {made:?}");
    }
    until("the options are undone", || now() == before);
    attack.changed_nothing();
}

/// An option of sockets: what it is called, its level, its number and its value.
type Choice = (&'static str, c_int, c_int, Value);

fn of(fd: c_int, (name, level, option, value): Choice) -> (&'static str, Value) {
    let arguments = [number(fd), number(level), number(option)];
    let value = [value, crate::support::orders::length(3)];
    (
        name,
        call(libc::SYS_setsockopt, arguments.into_iter().chain(value)),
    )
}

/// Options by which a socket takes no more clients, or others than it did.
fn options() -> Vec<Choice> {
    let socket = libc::SOL_SOCKET;
    let yes = || bytes(1_u32.to_ne_bytes());
    // A program of one instruction that returns 0: it lets nothing pass.
    let nothing = [6_u16.to_ne_bytes(), [0; 2], [0; 2], [0; 2]].concat();
    let filter = || {
        serde_json::json!({"memory": {"fields": [
            {"bytes": "0100000000000000"},
            {"address": {"bytes": crate::support::pki::hex(&nothing)}},
        ]}})
    };
    vec![
        ("SO_ATTACH_FILTER", socket, libc::SO_ATTACH_FILTER, filter()),
        (
            "SO_ATTACH_REUSEPORT_CBPF",
            socket,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            filter(),
        ),
        ("SO_LOCK_FILTER", socket, libc::SO_LOCK_FILTER, yes()),
        ("SO_REUSEPORT", socket, libc::SO_REUSEPORT, bytes([0; 4])),
        (
            "SO_BINDTODEVICE",
            socket,
            libc::SO_BINDTODEVICE,
            bytes("lo"),
        ),
        ("SO_RCVBUF", socket, libc::SO_RCVBUF, yes()),
        ("SO_MARK", socket, libc::SO_MARK, yes()),
        ("IP_TTL", libc::IPPROTO_IP, libc::IP_TTL, yes()),
        (
            "IP_MINTTL",
            libc::IPPROTO_IP,
            libc::IP_MINTTL,
            bytes(255_u32.to_ne_bytes()),
        ),
        (
            "TCP_DEFER_ACCEPT",
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            bytes(60_u32.to_ne_bytes()),
        ),
        (
            "TCP_MAXSEG",
            libc::IPPROTO_TCP,
            libc::TCP_MAXSEG,
            bytes(88_u32.to_ne_bytes()),
        ),
        (
            "TCP_WINDOW_CLAMP",
            libc::IPPROTO_TCP,
            libc::TCP_WINDOW_CLAMP,
            yes(),
        ),
        (
            "TCP_CONGESTION",
            libc::IPPROTO_TCP,
            libc::TCP_CONGESTION,
            bytes("reno"),
        ),
        ("TCP_KEEPCNT", libc::IPPROTO_TCP, libc::TCP_KEEPCNT, yes()),
        (
            "TCP_USER_TIMEOUT",
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            yes(),
        ),
        ("TCP_REPAIR", libc::IPPROTO_TCP, libc::TCP_REPAIR, yes()),
        ("TCP_ULP", libc::IPPROTO_TCP, libc::TCP_ULP, bytes("tls")),
    ]
}
