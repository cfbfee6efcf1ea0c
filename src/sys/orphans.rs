//! Orphans: children that this program has not started, but gets because it is process 1, or because another program
//! ran in this process before.

#![expect(
    unsafe_code,
    reason = "what a child does before its program runs has no safe form"
)]

use std::{
    collections::BTreeSet,
    io,
    ops::{Deref, DerefMut},
    os::unix::process::CommandExt as _,
    process::{Child, Command},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nix::sys::{
    signal::SigSet,
    wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
};

/// The children that this process has started and waits for itself.
static AWAITED: Mutex<Children> = Mutex::new(Children {
    starting: 0,
    started: BTreeSet::new(),
});

/// Wakes those that wait until no child is being started.
static NONE_STARTS: Condvar = Condvar::new();

/// Whether another program ran in this process before, which may have left children.
static SUCCEEDS: AtomicBool = AtomicBool::new(false);

/// Children that this process waits for itself.
#[derive(Debug)]
struct Children {
    /// How many are being started, so that their ids are not known yet.
    starting: usize,
    started: BTreeSet<u32>,
}

fn awaited() -> MutexGuard<'static, Children> {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that [`reap`] leaves to the holder of this.
#[derive(Debug)]
pub struct Awaited(Child);

impl Awaited {
    /// Starts a child, in which no signal is blocked.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        block_none(command)?;
        // Nothing is locked during the start, because a start may wait for a disk.
        awaited().starting += 1;
        let child = command.spawn();
        let mut awaited = awaited();
        awaited.starting -= 1;
        NONE_STARTS.notify_all();
        let child = child?;
        awaited.started.insert(child.id());
        Ok(Self(child))
    }
}

/// Has the child of a thread that blocks signals block none.
///
/// A thread does until the handlers of a program are there that goes on for another one, and so does each that was
/// started by then.
fn block_none(command: &mut Command) -> io::Result<()> {
    if SigSet::thread_get_mask()?.iter().next().is_none() {
        return Ok(());
    }
    // SAFETY: it makes one system call, and allocates and locks nothing.
    unsafe { command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?)) };
    Ok(())
}

/// A child that this process has not started itself, or started before it executed this program, and that [`reap`]
/// leaves to the holder of this.
#[derive(Debug)]
pub struct Claimed(u32);

impl Claimed {
    /// Claims a child by its pid, until this is dropped; it need not be one.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        awaited().started.insert(pid);
        Self(pid)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        awaited().started.remove(&self.0);
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
        awaited().started.remove(&self.0.id());
    }
}

/// Notes that another program ran in this process before, which may have left children.
pub fn succeed() {
    SUCCEEDS.store(true, Ordering::Relaxed);
}

/// Returns whether this process may have orphans.
#[must_use]
pub fn may_come() -> bool {
    std::process::id() == 1 || SUCCEEDS.load(Ordering::Relaxed)
}

/// Does something during which no child is started; `None` if one is still being started after `patience`. Blocks.
pub fn while_none_starts<T>(patience: Duration, job: impl FnOnce() -> T) -> Option<T> {
    let waited = NONE_STARTS.wait_timeout_while(awaited(), patience, |it| it.starting > 0);
    let (awaited, _) = waited.unwrap_or_else(PoisonError::into_inner);
    (awaited.starting == 0).then(job)
}

/// Waits for ended children that this process has not started, so that none stays a zombie.
///
/// An ended child that this process has started hides the orphans behind it until it was waited for.
/// While a child is being started, no orphan is waited for. The caller must call this again afterwards.
pub fn reap() {
    let awaited = awaited();
    if awaited.starting > 0 {
        return;
    }
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Some(pid) = waitid(Id::All, look)
        .ok()
        .as_ref()
        .and_then(WaitStatus::pid)
    {
        let id = pid.as_raw().unsigned_abs();
        let is_ours = awaited.started.contains(&id);
        if is_ours || waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, process::Stdio, thread};

    use nix::sys::signal::SigmaskHow;

    use super::*;

    #[test]
    fn a_child_of_a_thread_that_blocks_signals_blocks_none() {
        let mut command = Command::new("grep");
        command.args(["SigBlk", "/proc/self/status"]);
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        let child = Awaited::spawn(command.stdout(Stdio::piped()));
        before.unwrap().thread_set_mask().unwrap();
        let mut child = child.unwrap();
        let mut shown = String::new();
        let mut output = child.stdout.take().unwrap();
        output.read_to_string(&mut shown).unwrap();
        child.wait().unwrap();
        assert_eq!(shown.trim(), "SigBlk:\t0000000000000000");
    }

    #[test]
    fn what_is_done_while_no_child_starts_waits_for_one_that_does() {
        let (long, none) = (Duration::from_secs(60), Duration::ZERO);
        awaited().starting += 1;
        assert!(while_none_starts(none, || {}).is_none());
        thread::scope(|scope| {
            let waits = scope.spawn(|| while_none_starts(long, is_locked));
            awaited().starting -= 1;
            NONE_STARTS.notify_all();
            assert_eq!(waits.join().unwrap(), Some(true));
        });
    }

    /// Returns whether the list of children is locked.
    fn is_locked() -> bool {
        AWAITED.try_lock().is_err()
    }
}
