//! How a worker that another supervisor has started becomes one of the workers.

use std::{
    collections::HashSet,
    io,
    os::fd::OwnedFd,
    process::ChildStderr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tracing::warn;

use super::{
    Process, WorkerId, Workers,
    keeping::{Ended, Told},
};
use crate::{
    children,
    link::{FromWorker, ToWorker},
    supervisor::{
        predecessor::{LeftWorker, doors::Orphan},
        upgrade::Keep,
    },
};

/// A successor in the same process needs the descriptors of each session four times for a moment, where a supervisor has
/// room for them once, with two each.
const ROOM: usize = 4;

impl Workers {
    /// Goes on with a worker that another supervisor has started, under an id that no other worker has; returns what it
    /// has said of counts and backends, to be heard like what any worker says. Must be called in a
    /// [`tokio::task::LocalSet`].
    pub(in crate::supervisor) fn adopt(&mut self, id: WorkerId, orphan: Orphan) -> Vec<FromWorker> {
        let Orphan {
            about,
            found,
            link: (receiver, sender),
            table,
            board,
            kept,
            missed,
            said,
        } = orphan;
        let (log, writes) = log_pipe().unzip();
        let listed = self.launcher.list(found.pid);
        let adopted = children::Adopted {
            found,
            started_at: started_at(about.origin, Timestamp::now()),
            receiver,
            sender,
            log,
        };
        let child = children::Process::adopt(id, adopted, listed, (&self.sink, &self.inbox));
        if let Some(writes) = writes {
            child.send_with(ToWorker::Log, vec![Arc::new(writes)]);
        }
        let process = Process::adopted(about.slot, about.origin, child);
        let living = self.living_origins();
        let origins = self.origins.of_ended(&living, about.origin);
        let told = Told {
            origin: about.origin,
            origins: origins.chain(kept.keys().map(|it| it.origin)).collect(),
            table: about.table.zip(table),
            kept,
            missed,
        };
        self.keeping.adopt(id, told);
        if let Some(board) = board
            && let Err(error) = self.boards.adopt(id, board)
        {
            let (slot, pid) = (process.slot, process.pid());
            warn!(slot, pid, %error, "limits do not count the sessions of a worker of an earlier supervisor");
        }
        self.origins.note(about.origin);
        self.processes.insert(id, process);
        said
    }
}

impl Workers {
    /// Returns what a successor in this process is to keep of workers that may end before it has found them; nothing where
    /// that would leave it too few descriptors for what they will tell it.
    pub(in crate::supervisor) fn kept_to_leave(&self) -> Vec<Keep> {
        let processes = self.processes.iter();
        let kept: Vec<Keep> = processes.filter_map(|it| self.keep_of(it)).collect();
        let sessions: usize = kept.iter().map(|it| it.sessions.len()).sum();
        let room = self.keeping.most() / ROOM;
        if sessions <= room { kept } else { Vec::new() }
    }

    fn keep_of(&self, (id, process): (&WorkerId, &Process)) -> Option<Keep> {
        let (table, sessions) = self.keeping.held_by(*id)?;
        Some(Keep {
            pid: process.pid()?,
            slot: process.slot,
            origin: process.origin,
            table,
            sessions,
        })
    }

    /// Takes what a worker of the program before this one has left that ended before it was found; returns how many
    /// sessions these are. Other workers are handed them like those of any worker.
    pub(in crate::supervisor) fn take_left(&mut self, id: WorkerId, left: LeftWorker) -> u64 {
        let LeftWorker {
            pid,
            slot,
            origin,
            table,
            sessions: kept,
            end,
        } = left;
        let (Some(end), count) = (end, kept.len() as u64) else {
            return 0;
        };
        let living = self.living_origins();
        let origins = self.origins.of_ended(&living, origin);
        let told = Told {
            origin,
            origins: origins.chain(kept.keys().map(|it| it.origin)).collect(),
            table: Some(table),
            kept,
            missed: HashSet::new(),
        };
        self.keeping.adopt(id, told);
        self.origins.note(origin);
        let ended = Ended {
            slot,
            pid,
            end,
            was_killed: false,
            as_told: false,
            handed_over: false,
            unkept: 0,
        };
        self.keeping.end(id, ended);
        count
    }
}

/// Returns when a worker of this origin was started, which is the microsecond of that, and not later than `now`.
fn started_at(origin: u64, now: Timestamp) -> Timestamp {
    let began = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(origin));
    let began = began.and_then(|it| Timestamp::try_from(it).ok());
    began.unwrap_or(now).min(now)
}

/// Makes a pipe for the log lines of a worker, which does not block it; `None` if there is none.
fn log_pipe() -> Option<(ChildStderr, OwnedFd)> {
    let made = io::pipe().and_then(|(reads, writes)| {
        rustix::io::ioctl_fionbio(&writes, true)?;
        Ok((OwnedFd::from(reads), OwnedFd::from(writes)))
    });
    let (reads, writes) = made
        .inspect_err(|error| {
            warn!(%error, "the log lines of a worker of an earlier supervisor are lost");
        })
        .ok()?;
    Some((reads.into(), writes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_was_started_when_its_origin_says_but_not_later_than_now() {
        let now = Timestamp::from_second(100).unwrap();
        assert_eq!(started_at(99_000_000, now).as_second(), 99);
        assert_eq!(started_at(101_000_000, now), now);
        assert_eq!(started_at(u64::MAX, now), now);
    }
}
