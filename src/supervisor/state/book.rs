//! The book: what a supervisor knows beside what is served and the sessions, so that the next one goes on with it.
//!
//! Plain data. Supervisors of other versions read and write it: a part is only ever added, has a default for books
//! that lack it, and one that is unknown is passed over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::codec::lenient;
use crate::{
    config::ExitHook,
    control::{Event, ExitHookRun, ExitStatus, LoadError, RollbackStatus, UpgradeStatus},
    facts::{KeepingCounts, ListenerCounts, UnkeptCounts},
    link::board::ClientSecret,
    tls::tickets::TicketSecrets,
};

/// What a supervisor knows beside what is served and the sessions.
///
/// It holds secrets, which its `Debug` does not show and whose memory is wiped.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct Book {
    /// The number of the supervisor that wrote it: when it began, in microseconds since 1970, and more than the number of
    /// the supervisor before it. The higher one of two books is the newer.
    pub(in crate::supervisor) reign: u64,
    /// The version of its program.
    pub(in crate::supervisor) program: String,
    /// The newest version of the records of sessions that its program reads and writes; 0 if that is not known.
    pub(in crate::supervisor) record_version: u16,
    /// Its process id.
    pub(in crate::supervisor) pid: u32,
    /// When it left on purpose, so that the next one goes on; `None` if it did not.
    pub(in crate::supervisor) left_at: Option<Timestamp>,
    /// What it knows of loads and the generation in force.
    pub(in crate::supervisor) loads: LoadsBook,
    /// What it knows of workers that failed.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) restarts: RestartsBook,
    /// The events.
    pub(in crate::supervisor) events: EventsBook,
    /// What it knows of the exit-failure command.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) hook: HookBook,
    /// What it knows of workers.
    pub(in crate::supervisor) workers: WorkersBook,
    /// The numbers that were given out, so that none is given out again.
    pub(in crate::supervisor) ids: IdsBook,
    /// The secrets of tickets for resumption.
    pub(in crate::supervisor) tickets: TicketsBook,
    /// The secret by which boards name clients; `None` in a book that was written before there was one.
    pub(in crate::supervisor) clients: Option<ClientSecret>,
    /// The names under which the service manager keeps descriptors. It tells them to a process that it starts, but not
    /// to a program that is executed in place.
    pub(in crate::supervisor) stored: BTreeSet<String>,
    /// What it knows of upgrades.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) upgrades: UpgradesBook,
}

/// What is known of loads and the generation in force.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct LoadsBook {
    /// The number of the generation in force; 0 before the first.
    pub(in crate::supervisor) generation: u64,
    /// The rollback in force, if there is one.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) rollback: Option<RollbackStatus>,
    /// What the last load found wrong.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) last_error: Option<LoadError>,
}

/// What is known of workers that failed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct RestartsBook {
    /// Workers started in the place of one that failed.
    pub(in crate::supervisor) total: u64,
    /// The last failure.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) last: Option<ExitStatus>,
}

/// The events.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct EventsBook {
    /// The number of the last event; 0 before the first.
    pub(in crate::supervisor) last: u64,
    /// The newest events, the oldest of them first.
    #[serde(deserialize_with = "lenient::list")]
    pub(in crate::supervisor) newest: Vec<Arc<Event>>,
}

/// What is known of the exit-failure command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct HookBook {
    /// The command that was set at run time, which is on disk too unless the disk has lost it.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) runtime: Option<ExitHook>,
    /// How its last run ended.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) last_run: Option<ExitHookRun>,
}

/// What is known of workers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct WorkersBook {
    /// The workers that have not ended.
    #[serde(deserialize_with = "lenient::list")]
    pub(in crate::supervisor) living: Vec<WorkerBook>,
    /// The counts of workers that have ended, by listener.
    #[serde(deserialize_with = "lenient::map")]
    pub(in crate::supervisor) retired: BTreeMap<String, ListenerCounts>,
    /// System calls that workers that have ended were refused.
    pub(in crate::supervisor) denied: u64,
    /// What became of sessions, the counts of living workers left out.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) sessions: KeepingCounts,
}

/// A worker that has not ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct WorkerBook {
    /// Its number, see [`crate::supervisor::plan::WorkerId`].
    pub(in crate::supervisor) id: u64,
    /// The number with which the ids of its sessions begin.
    pub(in crate::supervisor) origin: u64,
    /// Its counts, by listener.
    #[serde(deserialize_with = "lenient::map")]
    pub(in crate::supervisor) counts: BTreeMap<String, ListenerCounts>,
    /// System calls that it was refused.
    pub(in crate::supervisor) denied: u64,
    /// Established sessions of it that could not be kept.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) unkept: UnkeptCounts,
}

impl WorkersBook {
    /// Counts workers as ended that are not among those that were `found`, by their origins: what they had counted is
    /// known, and they will tell no more. The others tell it again.
    pub(in crate::supervisor) fn retire_others(&mut self, found: &BTreeSet<u64>) {
        let ended = self.living.extract_if(.., |it| !found.contains(&it.origin));
        for worker in ended {
            ListenerCounts::retire(&mut self.retired, &worker.counts);
            self.denied = self.denied.saturating_add(worker.denied);
            self.sessions.unkept.add(worker.unkept);
        }
    }
}

/// The numbers that were given out, so that none is given out again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct IdsBook {
    /// The last number of a worker.
    pub(in crate::supervisor) workers: u64,
    /// The newest origins of workers, which sessions may still have, the lowest first.
    pub(in crate::supervisor) origins: Vec<u64>,
    /// The last number of a table.
    pub(in crate::supervisor) tables: u64,
    /// The numbers by which boards name listeners.
    pub(in crate::supervisor) listeners: BTreeMap<String, usize>,
    /// The position of the next such number.
    pub(in crate::supervisor) next_listener: usize,
}

/// The secrets of tickets for resumption.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct TicketsBook {
    /// The secrets in use, the newest first.
    pub(in crate::supervisor) secrets: TicketSecrets,
    /// When they are to change, by the wall clock.
    pub(in crate::supervisor) due: Timestamp,
}

/// What is known of upgrades.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct UpgradesBook {
    /// Upgrades that were done.
    pub(in crate::supervisor) total: u64,
    /// Upgrades that were refused.
    pub(in crate::supervisor) refused: u64,
    /// Upgrades after which the program before runs again.
    pub(in crate::supervisor) rolled_back: u64,
    /// The last upgrade that was tried.
    #[serde(deserialize_with = "lenient::part")]
    pub(in crate::supervisor) last: Option<UpgradeStatus>,
}
