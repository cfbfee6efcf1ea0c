//! Workers that ended, or could not be reached, between the program before this one and this one.

use std::{collections::BTreeMap, io, os::fd::OwnedFd, sync::Arc, time::Duration};

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
