//! A process that may open few further descriptors.

use std::fs;

use crate::support::process;

/// A limit of a process's descriptors, which is lifted when this is dropped.
#[derive(Debug)]
pub(crate) struct Shortage {
    pid: u32,
    before: usize,
}

impl Shortage {
    /// Limits a process to so many descriptors beside those that it has; `None` if it has ended or the
    /// tests may not do that.
    pub(crate) fn begin(pid: u32, spare: usize) -> Option<Self> {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        let before = soft_limit(pid)?;
        process::limit_descriptors(pid, open + spare).then_some(Self { pid, before })
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        // The process may have ended meanwhile.
        process::limit_descriptors(self.pid, self.before);
    }
}

fn soft_limit(pid: u32) -> Option<usize> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find(|it| it.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
