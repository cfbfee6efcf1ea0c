//! Sockets of other kinds than a worker needs: TCP to backends and from clients.

use std::os::{
    linux::net::SocketAddrExt as _,
    unix::{
        fs::PermissionsExt as _,
        net::{SocketAddr, UnixListener},
    },
};

use nix::libc::{self, c_int};
use serde_json::Value;

use super::Attack;
use crate::support::orders::{Outcome, bytes, call, length, number, result};

fn socket(family: c_int, kind: c_int, protocol: c_int) -> Value {
    call(
        libc::SYS_socket,
        [number(family), number(kind), number(protocol)],
    )
}

/// Returns the calls that connect to the Unix socket of this name, as the kernel takes it.
fn connect(name: &[u8]) -> [Value; 2] {
    let family = u16::try_from(libc::AF_UNIX).unwrap().to_ne_bytes();
    let address = bytes([&family[..], name].concat());
    [
        socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
        call(libc::SYS_connect, [result(0), address, length(1)]),
    ]
}

#[track_caller]
fn one_is_refused(made: &[Outcome]) {
    assert!(made.iter().any(Outcome::is_refused), "{made:#?}");
}

#[test]
fn a_worker_can_make_no_socket_of_another_kind_than_tcp() {
    let Some(attack) = Attack::new() else { return };
    let (stream, datagram, raw) = (libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW);
    attack.is_refused(&[
        ("udp", socket(libc::AF_INET, datagram, 0)),
        ("udp over IPv6", socket(libc::AF_INET6, datagram, 0)),
        ("raw", socket(libc::AF_INET, raw, libc::IPPROTO_ICMP)),
        ("netlink", socket(libc::AF_NETLINK, raw, 0)),
        ("netlink of audit", socket(libc::AF_NETLINK, raw, 9)),
        ("packet", socket(libc::AF_PACKET, datagram, 0)),
        ("vsock", socket(libc::AF_VSOCK, stream, 0)),
        ("the kernel's cryptography", socket(libc::AF_ALG, 5, 0)),
        ("mptcp", socket(libc::AF_INET, stream, 262)),
        ("sctp", socket(libc::AF_INET, stream, 132)),
        ("smc", socket(libc::AF_INET, stream, 256)),
        ("sctp over IPv6", socket(libc::AF_INET6, stream, 132)),
        ("unix datagram", socket(libc::AF_UNIX, datagram, 0)),
    ]);
}

#[test]
fn a_worker_cannot_connect_to_unix_sockets_that_are_no_backends() {
    for attack in [Attack::new(), Attack::unprivileged()] {
        let Some(attack) = attack else { continue };
        let path = attack.daemon().path("other.sock");
        let _other = UnixListener::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let path = [path.to_str().unwrap().as_bytes(), b"\0"].concat();
        one_is_refused(&attack.hostile.make(&connect(&path)));

        let name = format!(
            "proxyd-test-{}-{}",
            std::process::id(),
            attack.daemon().pid()
        );
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let _abstract = UnixListener::bind_addr(&address).unwrap();
        let name = [b"\0", name.as_bytes()].concat();
        one_is_refused(&attack.hostile.make(&connect(&name)));
        attack.changed_nothing();
    }
}

#[test]
fn a_worker_cannot_listen_at_an_address_of_its_own() {
    let Some(attack) = Attack::new() else { return };
    let family = u16::try_from(libc::AF_INET).unwrap().to_ne_bytes();
    // Port 0 of 127.0.0.1.
    let address = [&family[..], &[0, 0, 127, 0, 0, 1], &[0; 8]].concat();
    let made = attack.hostile.make(&[
        socket(libc::AF_INET, libc::SOCK_STREAM, 0),
        call(libc::SYS_bind, [result(0), bytes(address), number(16)]),
        call(libc::SYS_listen, [result(0), number(9)]),
    ]);
    assert!(made[1..].iter().any(Outcome::is_refused), "{made:#?}");
    attack.changed_nothing();
}
