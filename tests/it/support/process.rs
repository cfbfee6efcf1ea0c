//! Processes, as the kernel tells of them (proc(5)).

use std::{
    fs,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    sys::{
        ptrace,
        signal::{self, Signal},
        wait::waitpid,
    },
    unistd::Pid,
};
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

use super::{PATIENCE, eventually, is_root, skip, until};

/// Sends a signal; returns whether there was somebody to send it to.
pub(crate) fn send(pid: u32, signal: Signal) -> bool {
    signal::kill(raw(pid), signal).is_ok()
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().expect("a process id fits"))
}

/// Returns whether a process is there and has not ended; a zombie has.
pub(crate) fn is_alive(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// Returns the letter of a process's state, such as `S`, `T` or `Z`.
pub(crate) fn state(pid: u32) -> Option<char> {
    stat(pid)?.first()?.chars().next()
}

/// A process that is still the same if its id was used again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Known {
    /// Its id.
    pub(crate) pid: u32,
    /// When it began, in clock ticks since the machine did.
    born: String,
}

impl Known {
    /// Takes note of a process; `None` if there is none.
    pub(crate) fn new(pid: u32) -> Option<Self> {
        let born = stat(pid)?.get(19)?.clone();
        Some(Self { pid, born })
    }

    /// Sends it a signal, and nobody else.
    pub(crate) fn send(&self, signal: Signal) {
        if Self::new(self.pid).as_ref() == Some(self) {
            send(self.pid, signal);
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        Self::new(self.pid).as_ref() == Some(self) && is_alive(self.pid)
    }
}

/// Returns the living children of a process, and its zombies.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    let mut children: Vec<u32> = processes()
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.get(1) == Some(&parent)))
        .collect();
    children.sort_unstable();
    children
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .expect("there is /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Returns the processes whose program lies in a folder.
pub(crate) fn running_in(folder: &Path) -> Vec<u32> {
    let program = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe"));
    processes()
        .filter(|pid| program(pid).is_ok_and(|it| it.starts_with(folder)))
        .collect()
}

/// Returns the fields of `/proc/PID/stat` from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before them may hold anything, closing brackets too.
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Returns what the open descriptors of a process lead to, by their numbers.
pub(crate) fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process can be looked at");
    let mut descriptors: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect();
    descriptors.sort();
    descriptors
}

/// Returns a line of `/proc/PID/status` by its name, without it.
pub(crate) fn status_line(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Returns the name of a process's program, at most 15 bytes of it.
pub(crate) fn name(pid: u32) -> Option<String> {
    status_line(pid, "Name")
}

/// Returns the workers of a daemon that are alive, whatever the daemon says of them.
pub(crate) fn workers(daemon: u32) -> Vec<u32> {
    let mut workers = children(daemon);
    workers.retain(|pid| is_alive(*pid) && name(*pid).as_deref() == Some("proxyd-worker"));
    workers
}

/// Waits until a daemon has a resolver; returns its process id.
#[track_caller]
pub(crate) fn resolver(daemon: u32) -> u32 {
    eventually("there is a resolver", PATIENCE, || {
        let mut alive = children(daemon).into_iter().filter(|pid| is_alive(*pid));
        alive.find(|pid| name(*pid).as_deref() == Some("proxyd-resolver"))
    })
}

/// Returns the effective user id of a process.
pub(crate) fn user(pid: u32) -> Option<u32> {
    status_line(pid, "Uid")?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Returns a copy of a process's descriptor, which only root gets; `None` skips the test.
pub(crate) fn descriptor_of(pid: u32, number: i32) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(raw(pid).as_raw()).unwrap();
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap();
    match rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty()) {
        Ok(descriptor) => Some(descriptor),
        Err(error) => {
            skip(&format!("a worker's link cannot be taken: {error}"));
            None
        }
    }
}

/// Makes a process exit with `status`, as a debugger would; `false` where that cannot be done.
///
/// It is stopped while it waits in a system call, and wakes up in another: `exit_group(2)`.
#[cfg(target_arch = "x86_64")]
#[track_caller]
pub(crate) fn make_exit(pid: u32, status: i32) -> bool {
    if !is_root() {
        skip("only root may attach to a worker");
        return false;
    }
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    until("the worker waits in a system call", || {
        wake_in_exit(pid, status)
    });
    true
}

/// Says that it cannot be done here.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn make_exit(_pid: u32, _status: i32) -> bool {
    skip("the registers of this processor are not known");
    false
}

/// Stops a process; if that was in a system call, lets it go on in `exit_group(2)`.
#[cfg(target_arch = "x86_64")]
fn wake_in_exit(pid: Pid, status: i32) -> bool {
    /// The length of the instruction that calls the system.
    const SYSCALL: u64 = 2;
    /// What stands for the number of the system call outside of one.
    const NO_CALL: u64 = u64::MAX;
    ptrace::attach(pid).unwrap();
    waitpid(pid, None).unwrap();
    let mut registers = ptrace::getregs(pid).unwrap();
    let waits = registers.orig_rax != NO_CALL;
    if waits {
        registers.rip -= SYSCALL;
        registers.rax = nix::libc::SYS_exit_group.unsigned_abs();
        registers.rdi = u64::from(status.unsigned_abs());
        registers.orig_rax = NO_CALL;
        ptrace::setregs(pid, registers).unwrap();
    }
    ptrace::detach(pid, None).unwrap();
    waits
}

/// Limits the descriptors that a process may have open, as the user that it runs as: others need a
/// capability for that (prlimit(2)). Returns whether that could be done.
pub(crate) fn limit_descriptors(pid: u32, limit: usize) -> bool {
    let id = |name| {
        status_line(pid, name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let (Some(user), Some(group)) = (id("Uid"), id("Gid")) else {
        return false;
    };
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--pid={pid}"))
        .arg(format!("--nofile={limit}:"))
        .uid(user)
        .gid(group);
    command.output().is_ok_and(|output| output.status.success())
}
