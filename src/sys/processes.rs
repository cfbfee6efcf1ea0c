//! Processes below and above another.

use std::fs;

use nix::{
    sys::signal::{Signal, kill as send, killpg},
    unistd::Pid,
};

/// Returns the children of a process, theirs, and so on (proc(5), `/proc/PID/task/TID/children`). A child is listed with
/// the thread that has started it.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children(*parent));
        next += 1;
    }
    found.split_off(1)
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let mut found = Vec::new();
    for thread in threads {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let children = text.split_whitespace();
        found.extend(children.filter_map(|child| child.parse::<u32>().ok()));
    }
    found
}

/// What a process belongs to, each by its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// Its parent; 0 if it has none here.
    pub parent: u32,
    /// The first process of its process group, which may have ended.
    pub group: u32,
    /// The first process of its session, which may have ended.
    pub session: u32,
}

/// Returns what a process belongs to; `None` if there is no such process, or `/proc` does not show it.
#[must_use]
pub fn kin(pid: u32) -> Option<Kin> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_kin(&String::from_utf8_lossy(&text))
}

/// Reads the fields behind the name of `/proc/PID/stat` (proc(5)). The name may hold anything, spaces and
/// parentheses too.
fn parse_kin(stat: &str) -> Option<Kin> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(1);
    // A group or session from outside of this pid namespace is 0, or less.
    let mut next = || Some(fields.next()?.parse::<i64>().ok()?.try_into().unwrap_or(0));
    Some(Kin {
        parent: next()?,
        group: next()?,
        session: next()?,
    })
}

/// Kills a process, which may have ended already.
pub fn kill(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = send(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Kills all processes of a group, which may be empty.
pub fn kill_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_kin_is_what_the_system_calls_say() {
        let own = kin(std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        let group = nix::unistd::getpgrp().as_raw();
        assert_eq!(own.group, group.unsigned_abs());
    }

    #[test]
    fn the_child_of_another_thread_is_a_descendant() {
        use std::{process::Command, sync::mpsc, thread};
        let (tell, started) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let mut child = Command::new("sleep").arg("60").spawn().unwrap();
            tell.send(child.id()).unwrap();
            let _ = ended.recv();
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let child = started.recv().unwrap();
        assert!(descendants(std::process::id()).contains(&child));
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let kin = parse_kin("12 (a) R 1 1 1) S 3 4 5 0 -1").unwrap();
        assert_eq!((kin.parent, kin.group, kin.session), (3, 4, 5));
        assert_eq!(parse_kin("12 (a) S 3"), None);
    }
}
