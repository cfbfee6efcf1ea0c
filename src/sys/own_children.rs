//! The daemon's own children, and who belongs to them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::processes;

/// How far up from a process its ancestors are looked for.
const MAX_DEPTH: usize = 32;

/// The pids of the living children that do the daemon's work, such as workers. Clones share them.
///
/// The exit-failure command and passphrase programs are not among them: these act for the operator.
#[derive(Debug, Clone, Default)]
pub struct OwnChildren(Arc<Mutex<BTreeMap<u32, usize>>>);

/// A child in the list of [`OwnChildren`], which leaves the list when this is dropped.
///
/// To be dropped when the child has ended, because the kernel may then give its pid to another process.
#[derive(Debug)]
#[must_use = "the child leaves the list when this is dropped"]
pub struct Listed {
    children: OwnChildren,
    pid: u32,
}

impl OwnChildren {
    /// Puts a child that was started on the list.
    pub fn add(&self, pid: u32) -> Listed {
        *self.list().entry(pid).or_default() += 1;
        Listed {
            children: self.clone(),
            pid,
        }
    }

    /// Returns the child that a process is, descends from, or shares a process group or session with.
    ///
    /// Asks `/proc` about the process and its ancestors; without it only the child itself is known.
    #[must_use]
    pub fn behind(&self, pid: u32) -> Option<u32> {
        let listed = |pid: &u32| self.list().contains_key(pid);
        let mut next = pid;
        for _ in 0..MAX_DEPTH {
            if listed(&next) {
                return Some(next);
            }
            let kin = processes::kin(next)?;
            if let Some(child) = [kin.group, kin.session].into_iter().find(listed) {
                return Some(child);
            }
            next = kin.parent;
        }
        None
    }

    /// Takes a child from the list.
    fn remove(&self, pid: u32) {
        let mut list = self.list();
        // A new child may have the pid of one that is still on the list.
        if let Some(count) = list.get_mut(&pid) {
            *count -= 1;
            if *count == 0 {
                list.remove(&pid);
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.children.remove(self.pid);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::unix::process::CommandExt as _,
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A shell in a process group of its own, whose child waits until it is dropped.
    struct Family {
        shell: Child,
        grandchild: u32,
    }

    impl Family {
        fn new() -> Self {
            let mut shell = Command::new("sh")
                .args(["-c", "exec 3<&0; cat <&3 & echo $!; wait"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .process_group(0)
                .spawn()
                .unwrap();
            let mut line = String::new();
            let mut said = BufReader::new(shell.stdout.take().unwrap());
            said.read_line(&mut line).unwrap();
            let grandchild = line.trim().parse().unwrap();
            Self { shell, grandchild }
        }
    }

    impl Drop for Family {
        fn drop(&mut self) {
            // The grandchild ends with the shell's standard input.
            let _ = self.shell.kill();
            let _ = self.shell.wait();
        }
    }

    #[test]
    fn a_child_and_its_descendants_are_known_until_it_has_ended() {
        let family = Family::new();
        let children = OwnChildren::default();
        let pid = family.shell.id();
        assert_eq!(children.behind(pid), None);
        let listed = children.add(pid);
        assert_eq!(children.behind(pid), Some(pid));
        assert_eq!(children.behind(family.grandchild), Some(pid));
        assert_eq!(children.behind(std::process::id()), None);
        drop(listed);
        assert_eq!(children.behind(family.grandchild), None);
    }

    #[test]
    fn a_descendant_whose_parents_have_ended_is_known_by_its_process_group() {
        let mut family = Family::new();
        let children = OwnChildren::default();
        let pid = family.shell.id();
        let _listed = children.add(pid);
        let input = family.shell.stdin.take();
        family.shell.kill().unwrap();
        family.shell.wait().unwrap();
        assert_eq!(children.behind(family.grandchild), Some(pid));
        drop(input);
    }

    #[test]
    fn a_new_child_with_the_pid_of_one_that_is_still_listed_stays_listed() {
        let children = OwnChildren::default();
        let (before, _after) = (children.add(7), children.add(7));
        drop(before);
        assert_eq!(children.behind(7), Some(7));
    }
}
