//! Sockets that are passed to a daemon as systemd passes those of a socket unit (`sd_listen_fds(3)`).

use std::{
    fmt::Write as _,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// The lowest number that a socket has in the program that passes it on, out of the way of those that it is passed as.
const LOWEST: i32 = 100;

/// The number of the first descriptor that is passed.
const FIRST: usize = 3;

/// Sockets that are passed at each start, in this order and by these names.
#[derive(Debug, Default)]
pub(crate) struct Passing(Vec<(String, OwnedFd)>);

impl Passing {
    /// Passes this socket too; the caller's stays open, as systemd's does.
    pub(crate) fn add(&mut self, name: &str, socket: &impl AsFd) {
        let copy = fcntl_dupfd_cloexec(socket, LOWEST).unwrap();
        // A daemon that is not to have it closes what it has inherited.
        fcntl_setfd(&copy, FdFlags::empty()).unwrap();
        self.0.push((name.to_owned(), copy));
    }

    /// Returns the words before a program and its arguments with which it is passed the sockets; none if there are none.
    pub(super) fn words(&self) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut script = "exec".to_owned();
        for (number, (_, socket)) in (FIRST..).zip(&self.0) {
            let _ = write!(script, " {number}<&{}", socket.as_raw_fd());
        }
        let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
        let (count, names) = (self.0.len(), names.join(":"));
        let _ = write!(
            script,
            "\nexport LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}\nexec \"$@\""
        );
        // Other shells have no descriptors with numbers of several digits.
        ["bash", "-c", &script, "bash"].map(str::to_owned).to_vec()
    }
}
