//! Which process is to be waited for until a daemon has ended.

use std::os::{fd::AsFd as _, unix::net::UnixStream};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::sys::child::Handle;

/// Asks the kernel for the process that listens at the other end of a connection (`SO_PEERCRED` in unix(7)); `None` if it
/// cannot be seen from here, as from another container, or is this one.
pub(super) fn listening_at(stream: &UnixStream) -> Option<Handle> {
    let pid = getsockopt(&stream.as_fd(), PeerCredentials).ok()?.pid();
    let pid = u32::try_from(pid).ok()?;
    (pid != std::process::id()).then_some(())?;
    Handle::open(pid).ok()
}
