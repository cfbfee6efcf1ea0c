//! Finds the worker that holds a connection, from the kernel's tables (proc(5)).

use std::{fs, net::SocketAddr};

use crate::support::process;

/// Returns the child of `supervisor` that has the far end of a connection to one of its listeners.
///
/// Returns `None` if it cannot be found: the worker has ended, or the tests are not run by root.
pub(crate) fn holder(supervisor: u32, listener: SocketAddr, client: SocketAddr) -> Option<u32> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = inode(&table, listener, client)?;
    let socket = format!("socket:[{inode}]");
    let mut children = process::children(supervisor).into_iter();
    children.find(|pid| has(*pid, &socket))
}

/// Finds a connection in the table by its two addresses, the local one first.
fn inode(table: &str, own: SocketAddr, peer: SocketAddr) -> Option<String> {
    let (own, peer) = (written(own)?, written(peer)?);
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line.get(1) == Some(&&*own) && line.get(2) == Some(&&*peer))?;
    line.get(9).map(|inode| (*inode).to_owned())
}

/// Returns an address in the form of the table: the bytes of an IPv4 address in the machine's order.
fn written(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let ip = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{ip:08X}:{:04X}", address.port()))
}

fn has(pid: u32, descriptor: &str) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target.to_str() == Some(descriptor))
}

#[test]
#[cfg(target_endian = "little")]
fn a_connection_is_found_by_both_ends() {
    let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 4711 1\n";
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(inode(table, at(8080), at(54321)).as_deref(), Some("4711"));
    assert_eq!(inode(table, at(54321), at(8080)), None);
}
