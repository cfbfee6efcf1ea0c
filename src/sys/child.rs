//! Child processes: started on threads that may wait, and waited for without blocking.
//!
//! Starting a program waits until the system has found and read its file (execve(2)), which on a
//! disk that does not answer is for ever.

pub use std::process::ExitStatus;
use std::{
    io,
    os::fd::OwnedFd,
    process::{ChildStderr, ChildStdout, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

use super::{orphans::Awaited, processes};

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
        let opened = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("it has no process id"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let handle = match opened {
            Ok(process) => Handle {
                process: Arc::new(process),
                killed: Arc::default(),
            },
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

impl Handle {
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
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

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
