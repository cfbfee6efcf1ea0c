//! Workers that ended, or could not be reached, between the program before this one and this one.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use tokio::{runtime::Runtime, time::timeout};

use crate::{children::End, facts::SessionId, sys::child::Found};

/// How long the end of a worker is waited for that was killed.
const PATIENCE: Duration = Duration::from_secs(2);

/// A worker of the program before that has ended, and what is kept of its sessions.
#[derive(Debug)]
pub(in crate::supervisor) struct LeftWorker {
    /// Its process id.
    pub(in crate::supervisor) pid: u32,
    /// Its slot.
    pub(in crate::supervisor) slot: usize,
    /// What the ids of its sessions begin with.
    pub(in crate::supervisor) origin: u64,
    /// The number and the memory of its table.
    pub(in crate::supervisor) table: (u64, OwnedFd),
    /// The sockets of its sessions: of each its client's, then its backend's.
    pub(in crate::supervisor) sessions: BTreeMap<SessionId, [Arc<OwnedFd>; 2]>,
    /// How its process ended; `None` if it lives on, so that nothing can be taken over.
    pub(in crate::supervisor) end: Option<End>,
}

impl LeftWorker {
    /// Returns whether a worker that lives has taken its sessions over, which all go to one other worker. A program that
    /// is gone back to finds what it has left, though the one that went back has had sessions handed over meanwhile: the
    /// table tells how they were before that, and to go on from there would be to seal the same TLS records twice.
    pub(super) fn was_taken_over(&self, had_by_living: &HashSet<SessionId>) -> bool {
        self.sessions.keys().any(|id| had_by_living.contains(id))
    }

    /// Sees to it that the worker has ended, which is a child of this process. One that was not found does not serve this
    /// supervisor, and is killed. Blocks.
    pub(super) fn end(mut self, runtime: &Runtime) -> Self {
        let ended = Found::open(self.pid).and_then(|found| {
            found.handle().kill();
            let waited = runtime.block_on(async { timeout(PATIENCE, found.wait()).await });
            waited.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
        });
        self.end = match ended {
            Ok(status) => Some(End::from(status)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
            Err(_) => Some(End::Unknown),
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_a_living_worker_has_are_not_taken_over_from_the_table_in_which_they_were_before()
     {
        let id = |number| SessionId { origin: 7, number };
        let file = || std::fs::File::open("/dev/null").unwrap();
        let socket = || Arc::new(OwnedFd::from(file()));
        let left = LeftWorker {
            pid: 1,
            slot: 0,
            origin: 7,
            table: (1, file().into()),
            sessions: [1, 2].map(|it| (id(it), [socket(), socket()])).into(),
            end: None,
        };
        assert!(!left.was_taken_over(&HashSet::new()));
        assert!(!left.was_taken_over(&HashSet::from([id(3)])));
        // The other one has ended meanwhile.
        assert!(left.was_taken_over(&HashSet::from([id(2), id(3)])));
    }
}
