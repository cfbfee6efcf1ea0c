//! Children that a process gets without having started them, because it is process 1.

use std::{
    collections::BTreeSet,
    io,
    ops::{Deref, DerefMut},
    process::{Child, Command},
    sync::{Mutex, PoisonError},
};

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};

/// The children that a thread of this process waits for by itself.
static AWAITED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A child that [`reap`] leaves to whoever holds this.
#[derive(Debug)]
pub struct Awaited(Child);

impl Awaited {
    /// Starts a child.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        // Held over the start, so that a child that ends at once is known before it is looked for.
        let mut awaited = AWAITED.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        awaited.insert(child.id());
        Ok(Self(child))
    }
}

impl Deref for Awaited {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Awaited {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut awaited = AWAITED.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.remove(&self.0.id());
    }
}

/// Waits for children that have ended and are not `ours`, so that none stays as a zombie.
///
/// One of ours that has ended hides those behind it until whoever started it has waited for it;
/// this is to be called again then.
pub fn reap(ours: impl Fn(u32) -> bool) {
    // Who is starting a child may have to wait for a disk, and is not waited for here.
    let Ok(awaited) = AWAITED.try_lock() else {
        return;
    };
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Some(pid) = waitid(Id::All, look)
        .ok()
        .as_ref()
        .and_then(WaitStatus::pid)
    {
        let id = pid.as_raw().unsigned_abs();
        if awaited.contains(&id) || ours(id) || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}
