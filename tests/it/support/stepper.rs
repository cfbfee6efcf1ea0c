//! Stops a process at the entry and at the exit of each of its system calls, and kills it at one of them (ptrace(2)).

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{PATIENCE, process};

/// A signal that the process ignores. When it arrives, the tracer stops tracing the process.
const LET_GO: Signal = Signal::SIGWINCH;

/// A process of one thread that stops at each system call.
pub(crate) struct Stepper {
    pid: u32,
    enough: Arc<AtomicBool>,
    // All of ptrace(2) is for the thread that attached.
    tracer: JoinHandle<Stepped>,
}

/// What became of a process that was stopped at its system calls.
#[derive(Debug)]
pub(crate) struct Stepped {
    /// How often it was stopped: odd stops are at the entry of a system call, even ones at its exit.
    pub(crate) stops: usize,
    /// At which system call it was killed, as `/proc/PID/syscall` tells it; `None` if it lives.
    pub(crate) killed: Option<String>,
}

impl Stepper {
    /// Attaches to a process, which runs on; kills it at the stop with this number, counted from 1. Without one the
    /// stops are only counted.
    pub(crate) fn attach(pid: u32, kill_at: Option<usize>) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let (attached, is_attached) = mpsc::channel();
        let tracer = thread::spawn(move || {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap());
            ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD).unwrap();
            ptrace::interrupt(pid).unwrap();
            let tracer = Tracer {
                pid,
                kill_at,
                enough: told,
                stops: 0,
            };
            tracer.run(attached)
        });
        is_attached
            .recv_timeout(PATIENCE)
            .expect("a worker can be attached to");
        Self {
            pid,
            enough,
            tracer,
        }
    }

    /// Lets the process go on alone, if it lives.
    pub(crate) fn finish(self) -> Stepped {
        self.enough.store(true, Ordering::SeqCst);
        // It may have been killed, and then another cannot have its id: the tracer has waited for it at most now.
        while !self.tracer.is_finished() {
            process::send(self.pid, LET_GO);
            super::pause(super::BETWEEN_LOOKS);
        }
        self.tracer.join().unwrap()
    }
}

struct Tracer {
    pid: Pid,
    kill_at: Option<usize>,
    enough: Arc<AtomicBool>,
    stops: usize,
}

impl Tracer {
    fn run(mut self, attached: mpsc::Sender<()>) -> Stepped {
        let mut attached = Some(attached);
        loop {
            let signal = match self.wait() {
                WaitStatus::PtraceSyscall(_) => {
                    self.stops += 1;
                    if self.kill_at == Some(self.stops) {
                        return self.kill();
                    }
                    None
                }
                WaitStatus::Stopped(_, LET_GO) if self.enough.load(Ordering::SeqCst) => {
                    ptrace::detach(self.pid, None).unwrap();
                    return self.stepped(None);
                }
                WaitStatus::Stopped(_, signal) => Some(signal),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                    return self.stepped(Some("a death of its own".to_owned()));
                }
                _ => None,
            };
            // It may be killed at any time, and is waited for then.
            let _ = ptrace::syscall(self.pid, signal);
            if let Some(attached) = attached.take() {
                let _ = attached.send(());
            }
        }
    }

    /// Kills it where it is stopped, and waits until it has ended.
    fn kill(self) -> Stepped {
        let at = fs::read_to_string(format!("/proc/{}/syscall", self.pid)).unwrap_or_default();
        nix::sys::signal::kill(self.pid, Signal::SIGKILL).unwrap();
        while !matches!(
            self.wait(),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..)
        ) {}
        let end = if self.stops % 2 == 1 { "entry" } else { "exit" };
        self.stepped(Some(format!("{end} of {}", at.trim())))
    }

    fn wait(&self) -> WaitStatus {
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::__WALL)) {
                Err(Errno::EINTR) => {}
                waited => return waited.unwrap(),
            }
        }
    }

    fn stepped(&self, killed: Option<String>) -> Stepped {
        Stepped {
            stops: self.stops,
            killed,
        }
    }
}
