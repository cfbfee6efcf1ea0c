//! Ports that a test names before anything listens there.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    ops::Range,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
};

/// Below those that the kernel gives to whoever asks for any, and below those of the servers that all tests share.
const PORTS: Range<u16> = 10_000..20_000;

/// Returns a port at which nothing listens, and which no other test is given while this one runs.
pub(crate) fn free_port() -> u16 {
    let count = u32::from(PORTS.end - PORTS.start);
    // Tests that run at one time begin at different ports.
    let first = process::id().wrapping_mul(7) % count;
    let mut candidates = PORTS.cycle().skip(first as usize).take(count as usize);
    let free = candidates.find(|port| reserve(*port) && is_free(*port));
    free.expect("a port is free")
}

/// Takes a name that only one process has, until that process ends; returns whether it was to be had.
fn reserve(port: u16) -> bool {
    // Abstract names are of one network namespace, as ports are.
    let name = SocketAddr::from_abstract_name(format!("proxyd-test-port-{port}")).unwrap();
    UnixDatagram::bind_addr(&name)
        .map(Box::new)
        .map(Box::leak)
        .is_ok()
}

fn is_free(port: u16) -> bool {
    let hosts: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    hosts
        .iter()
        .all(|host| match TcpListener::bind((*host, port)) {
            Ok(_) => true,
            // Without IPv6, nothing listens there either.
            Err(error) => error.kind() != ErrorKind::AddrInUse,
        })
}
