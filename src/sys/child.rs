//! Child processes: started on threads that may wait, and waited for without blocking.
//!
//! Starting a program waits until the system has found and read its file (execve(2)), which on a
//! disk that does not answer is for ever.

pub use std::process::ExitStatus;
use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{ChildStderr, ChildStdout, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
    },
};
use tokio::io::unix::AsyncFd;

use super::{
    orphans::{Awaited, Claimed},
    processes,
};

/// The longest that an end is waited for that has a deadline: longer than any daemon takes, and a clock can tell it.
const LONGEST: Duration = Duration::from_secs(i32::MAX as u64);

/// A thread that does one job after the other, so that the caller need not wait for any.
#[derive(Debug)]
pub struct Jobs(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Jobs {
    /// Starts the thread, which ends when this is dropped.
    pub fn new(name: &str) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let name = name.to_owned();
        thread::Builder::new()
            .name(name)
            .spawn(move || jobs.into_iter().for_each(|job| job()))?;
        Ok(Self(sender))
    }

    /// Queues `job` after those added before.
    pub fn add(&self, job: impl FnOnce() + Send + 'static) {
        // The thread takes jobs as long as this exists.
        let _ = self.0.send(Box::new(job));
    }
}

/// A child process that was started.
#[derive(Debug)]
pub struct Started {
    /// Its process id, which the system may reuse once this process was waited for.
    pub pid: u32,
    /// The pipe of its standard output, if the command asks for one.
    pub stdout: Option<ChildStdout>,
    /// The pipe of its standard error, if the command asks for one.
    pub stderr: Option<ChildStderr>,
    handle: Handle,
    child: Awaited,
}

/// A handle to signal a process by, which never means another process (`pidfd_open(2)`).
#[derive(Debug, Clone)]
pub struct Handle {
    process: Arc<OwnedFd>,
    /// Whether the process was killed by it or by a clone.
    killed: Arc<AtomicBool>,
}

impl Started {
    /// Starts a program; waits until the system has read its file.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = Awaited::spawn(command)?;
        let handle = match Handle::open(child.id()) {
            Ok(handle) => handle,
            Err(error) => {
                // A process whose end cannot be noticed must not go on.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        Ok(Self {
            pid: child.id(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            handle,
            child,
        })
    }

    /// Returns the handle to signal the process by.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Kills the process and waits for its end. Blocks.
    pub fn abandon(mut self) {
        self.handle.kill();
        let _ = self.child.wait();
    }

    /// Waits until the process has ended, and then kills those that it leaves behind in its process
    /// group, which must be its own; must run in a runtime.
    pub async fn wait_with_group(self) -> io::Result<ExitStatus> {
        if let Ok(ended) = watch(&self.handle) {
            let _ = ended.readable().await?;
            // Until the process was waited for, its id and that of its group mean no other.
            processes::kill_group(self.pid);
        }
        self.wait().await
    }

    /// Waits until the process has ended; must run in a runtime.
    pub async fn wait(mut self) -> io::Result<ExitStatus> {
        let Ok(ended) = watch(&self.handle) else {
            // If the kernel can watch no more descriptors, a thread waits instead.
            let waited = tokio::task::spawn_blocking(move || self.child.wait());
            return waited.await.map_err(io::Error::other)?;
        };
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ended.readable().await?.clear_ready();
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for a promise that an owned descriptor keeps"
)]
fn watch(handle: &Handle) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::new(Arc::clone(&handle.process))
}

/// A process that this program has not started: another supervisor did.
///
/// It may be a child of this process even so: a process keeps its children when it executes another program.
#[derive(Debug)]
pub struct Found {
    /// Its process id.
    pub pid: u32,
    handle: Handle,
    _claimed: Claimed,
}

impl Found {
    /// Takes the process that has this id now. It is the caller's to make sure that it is the one that is meant: what
    /// it says later shows that it had not ended before.
    ///
    /// Fails as `pidfd_open(2)` does, with [`io::ErrorKind::NotFound`] or `ESRCH` if there is no such process.
    pub fn open(pid: u32) -> io::Result<Self> {
        Ok(Self {
            pid,
            handle: Handle::open(pid)?,
            _claimed: Claimed::new(pid),
        })
    }

    /// Returns the handle to signal the process by.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the process has ended; must run in a runtime. Fails with `ECHILD` if it was no child of this
    /// process: only its parent learns how it ended.
    pub async fn wait(self) -> io::Result<ExitStatus> {
        if let Ok(ended) = watch(&self.handle) {
            drop(ended.readable().await?);
        } else {
            // If the kernel can watch no more descriptors, a thread waits instead.
            let handle = self.handle.clone();
            let waited = tokio::task::spawn_blocking(move || handle.await_end());
            waited.await.map_err(io::Error::other)??;
        }
        self.status()
    }

    /// Returns how a process has ended that is a child.
    fn status(&self) -> io::Result<ExitStatus> {
        let id = || WaitId::PidFd(self.handle.process.as_fd());
        waitid(id(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        // Until the process was waited for, its id and that of its group mean no other.
        processes::kill_group(self.pid);
        let status = waitid(id(), WaitIdOptions::EXITED)?.ok_or(io::ErrorKind::WouldBlock)?;
        // The form of wait(2), of which `ExitStatus` is made.
        let raw = match status.terminating_signal() {
            Some(signal) => signal,
            None => status.exit_status().unwrap_or(0) << 8,
        };
        Ok(ExitStatus::from_raw(raw))
    }
}

impl Handle {
    /// Opens a handle to the process that has this id now.
    ///
    /// Fails as `pidfd_open(2)` does, with `ESRCH` if there is no such process.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("it has no process id"))?;
        Ok(Self {
            process: Arc::new(pidfd_open(pid, PidfdFlags::empty())?),
            killed: Arc::default(),
        })
    }

    /// Waits until the process has ended. Blocks.
    fn await_end(&self) -> io::Result<()> {
        self.watch_until(None).map(drop)
    }

    /// Waits until the process has ended, for `patience` at most; returns whether it has. Blocks.
    pub fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience.min(LONGEST);
        self.watch_until(Some(deadline)).unwrap_or(false)
    }

    /// Returns whether the process has ended.
    pub fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    /// Waits until the process has ended, or until the deadline; returns whether it has.
    fn watch_until(&self, deadline: Option<Instant>) -> io::Result<bool> {
        let mut asked = [PollFd::new(&*self.process, PollFlags::IN)];
        loop {
            let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
            // What `LONGEST` bounds fits.
            let left = left.and_then(|it| Timespec::try_from(it).ok());
            match poll(&mut asked, left.as_ref()) {
                Err(Errno::INTR) => {}
                ended => return Ok(ended? > 0),
            }
        }
    }

    /// Kills the process, which may have ended already.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        let _ = pidfd_send_signal(&*self.process, Signal::KILL);
    }

    /// Returns whether [`Self::kill`] was called, of this handle or a clone.
    pub fn has_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_found_is_waited_for_and_its_status_told_if_it_is_a_child() {
        let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let found = Found::open(child.id()).unwrap();
        let status = runtime().block_on(found.wait()).unwrap();
        assert_eq!(status.code(), Some(7));
        // It was waited for.
        child.wait().unwrap_err();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let found = Found::open(child.id()).unwrap();
        let handle = found.handle();
        assert!(!handle.has_ended() && !handle.ends_within(Duration::from_millis(1)));
        handle.kill();
        assert!(handle.ends_within(Duration::MAX));
        let status = runtime().block_on(found.wait()).unwrap();
        assert_eq!(status.signal(), Some(9));
        child.wait().unwrap_err();
    }

    #[test]
    fn the_end_of_a_process_that_is_no_child_is_noticed() {
        use std::io::{BufRead as _, BufReader};
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let found = Found::open(line.trim().parse().unwrap()).unwrap();
        let handle = found.handle();
        handle.kill();
        assert!(runtime().block_on(found.wait()).is_err());
        assert!(handle.has_ended() && handle.has_killed());
        shell.wait().unwrap();
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    }

    #[test]
    fn an_end_is_told_with_its_status() {
        let started = Started::spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        let status = runtime().block_on(started.wait()).unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn a_process_is_killed_by_its_handle() {
        let started = Started::spawn(Command::new("sleep").arg("60")).unwrap();
        let handle = started.handle();
        assert!(!handle.has_killed());
        started.handle().kill();
        assert!(handle.has_killed());
        let status = runtime().block_on(started.wait()).unwrap();
        assert_eq!(status.signal(), Some(9));
    }

    #[test]
    fn jobs_are_done_in_order_beside_their_giver() {
        let jobs = Jobs::new("jobs").unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let (done, order) = mpsc::channel();
        let first = done.clone();
        jobs.add(move || {
            wait.recv().unwrap();
            first.send(1).unwrap();
        });
        jobs.add(move || done.send(2).unwrap());
        go.send(()).unwrap();
        assert_eq!(order.into_iter().collect::<Vec<_>>(), [1, 2]);
    }
}
