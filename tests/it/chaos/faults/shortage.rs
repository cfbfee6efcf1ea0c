//! A process that may open few further descriptors.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// A limit of a process's descriptors. What it was is set again when this is dropped.
#[derive(Debug)]
pub(crate) struct Shortage {
    process: Pid,
    before: Rlimit,
}

impl Shortage {
    /// Leaves a process so many descriptors beside those that it has; `None` if it has ended or the
    /// tests may not.
    pub(crate) fn begin(pid: u32, spare: usize) -> Option<Self> {
        let process = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let limit = Rlimit {
            current: u64::try_from(open + spare).ok(),
            maximum: hard_limit(pid),
        };
        let before = prlimit(Some(process), Resource::Nofile, limit).ok()?;
        Some(Self { process, before })
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        // The process may have ended meanwhile.
        let _ = prlimit(Some(self.process), Resource::Nofile, self.before);
    }
}

/// Returns the limit that a process cannot lift by itself; `None` is none.
fn hard_limit(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find(|it| it.starts_with("Max open files"))?;
    let words: Vec<_> = line.split_whitespace().collect();
    words.get(4)?.parse().ok()
}
