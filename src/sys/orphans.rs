//! Children that a process gets without having started them, because it is process 1.

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};

/// Waits for children that have ended and are not `ours`, so that none stays as a zombie.
///
/// One of ours that has ended hides those behind it until whoever started it has waited for it;
/// this is to be called again then.
pub fn reap(ours: impl Fn(u32) -> bool) {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Some(pid) = waitid(Id::All, look)
        .ok()
        .as_ref()
        .and_then(WaitStatus::pid)
    {
        if ours(pid.as_raw().unsigned_abs()) || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}
