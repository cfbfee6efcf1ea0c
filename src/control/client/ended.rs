//! Waiting until a daemon has ended.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// The process that listens at the other end of a connection.
#[derive(Debug)]
pub(super) struct Listening(OwnedFd);

impl Listening {
    /// Asks the kernel for the process (`SO_PEERCRED` in unix(7)); `None` if it cannot be seen from here, as from
    /// another container, or is this one.
    pub(super) fn at(stream: &UnixStream) -> Option<Self> {
        let pid = getsockopt(&stream.as_fd(), PeerCredentials).ok()?.pid();
        let is_other = u32::try_from(pid).ok()? != std::process::id();
        let pid = Pid::from_raw(pid).filter(|_| is_other)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Self)
    }

    /// Waits until the process has ended; returns whether that happened within `patience`.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        // Longer than any daemon takes.
        let patience = Timespec::try_from(patience).unwrap_or(Timespec {
            tv_sec: i64::from(i32::MAX),
            tv_nsec: 0,
        });
        let mut ended = [PollFd::new(&self.0, PollFlags::IN)];
        // If it cannot be waited for, its connection has told all there is.
        poll(&mut ended, Some(&patience)).is_ok_and(|events| events > 0)
    }
}
