//! What the kernel says of a process: the time it ran and the memory it holds.

use std::{fs, io, time::Duration};

use crate::Failure;

/// Returns the CPU time, user's and system's, that a process has used.
///
/// `schedstat` counts in nanoseconds; `stat`, which has no more than clock ticks, stands in where
/// the kernel does not keep it.
pub(crate) fn cpu(pid: u32) -> Result<Duration, Failure> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = match fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return ticks(pid),
            Err(error) => return Err(error.into()),
        };
        let ran = text.split_whitespace().next().ok_or("schedstat is empty")?;
        total += Duration::from_nanos(ran.parse()?);
    }
    Ok(total)
}

/// Returns the workers of a daemon that are alive.
pub(crate) fn workers(supervisor: u32) -> Vec<u32> {
    let supervisor = supervisor.to_string();
    let is_worker = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(')') else {
            return false;
        };
        let mut fields = rest.split_whitespace();
        let is_alive = fields.next().is_some_and(|state| state != "Z");
        let is_child = fields.next() == Some(&supervisor);
        is_alive && is_child && head.ends_with("(proxyd-worker")
    };
    let processes = fs::read_dir("/proc").into_iter().flatten();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut workers: Vec<u32> = pids.filter(is_worker).collect();
    workers.sort_unstable();
    workers
}

fn ticks(pid: u32) -> Result<Duration, Failure> {
    /// Clock ticks of a second, the same on every Linux that this runs on (proc(5)).
    const PER_SECOND: u64 = 100;
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold anything, and ends with the last parenthesis.
    let (_, fields) = text.rsplit_once(')').ok_or("stat has no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let (user, system) = (fields.get(11), fields.get(12));
    let user: u64 = user.ok_or("stat has no utime")?.parse()?;
    let system: u64 = system.ok_or("stat has no stime")?.parse()?;
    Ok(Duration::from_millis((user + system) * 1000 / PER_SECOND))
}

/// Returns the KiB of memory that a process shares with no file of a disk: its heap, its stacks, and what it shares with
/// other processes of the daemon, such as the table in which a worker notes its sessions.
///
/// `status` tells it of any process; `smaps` does not of one that is protected.
pub(crate) fn memory(pid: u32) -> Result<f64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let figure = |name: &str| -> Result<f64, Failure> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.and_then(|line| line.split_whitespace().next());
        let kib: u32 = figure
            .ok_or_else(|| format!("status has no {name}"))?
            .parse()?;
        Ok(kib.into())
    };
    Ok(figure("RssAnon:")? + figure("RssShmem:")?)
}
