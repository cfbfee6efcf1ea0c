//! Finds the workers of supervisors that have ended, behind their doors, and reads what they tell.
//!
//! A worker talks to clients and may have been taken over. So what it tells has limits, what contradicts what is known
//! for certain is dropped, and a worker that breaks the link is killed and costs only itself. All are asked at the same
//! time and have one deadline.

mod telling;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    runtime::Runtime,
    task::{JoinSet, LocalSet, spawn_blocking},
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

pub(in crate::supervisor) use self::telling::Orphan;
use self::telling::{Broken, Shared, Telling};
use crate::{
    facts::amount,
    link::{
        ListenerKey, ToWorker,
        door::{self, Refusal},
    },
    sys::{child::Found, doors::Doors},
};

/// How long all of it may take. Workers answer at once; this is for one that was stopped, or a disk that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most doors that are tried.
const MOST_DOORS: usize = 4096;

/// What the workers of supervisors that have ended have told.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Answers {
    /// The workers.
    pub(in crate::supervisor) orphans: Vec<Orphan>,
    /// The listening sockets that they have, each once.
    pub(in crate::supervisor) sockets: Vec<(ListenerKey, usize, OwnedFd)>,
    /// What their supervisors have left with them for the next one.
    pub(in crate::supervisor) states: Vec<Vec<OwnedFd>>,
    /// What operators are to know of workers that cannot be gone on with, as sentences.
    pub(in crate::supervisor) troubles: Vec<String>,
}

/// Why a worker is not gone on with.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("its process cannot be watched: {0}")]
    Unwatched(io::Error),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("it does not answer")]
    Late,
}

/// Returns the folder of the doors of a daemon with this control socket.
pub(in crate::supervisor) fn folder(control_socket: &Path) -> PathBuf {
    let mut path = control_socket.as_os_str().to_owned();
    path.push(".doors");
    path.into()
}

/// Finds the workers of supervisors with this control socket that have ended, and keeps the sockets of `most` sessions of
/// theirs at most. Logs which workers it finds. Blocks, but not for longer than [`PATIENCE`].
pub(in crate::supervisor) fn find(
    runtime: &Runtime,
    control_socket: &Path,
    most: usize,
) -> Answers {
    let folder = folder(control_socket);
    let answers = runtime.block_on(LocalSet::new().run_until(ask_all(folder, most, PATIENCE)));
    for orphan in &answers.orphans {
        info!(
            pid = orphan.found.pid,
            slot = orphan.about.slot,
            version = orphan.about.version,
            "a worker of an earlier supervisor was found, with {}",
            amount(orphan.kept.len() as u64, "session")
        );
    }
    answers
}

async fn ask_all(folder: PathBuf, most: usize, patience: Duration) -> Answers {
    let until = Instant::now() + patience;
    let path = folder.clone();
    let connected = spawn_blocking(move || connect_all(&path));
    let connected = match timeout_at(until, connected).await {
        Ok(Ok(Ok(connected))) => connected,
        Ok(Ok(Err(error))) => return no_folder(&folder, &error),
        Ok(Err(error)) => return no_folder(&folder, &io::Error::other(error)),
        Err(_) => return no_folder(&folder, &io::ErrorKind::TimedOut.into()),
    };
    let origins: BTreeSet<u64> = connected.iter().map(|(origin, _)| *origin).collect();
    let shared = Shared::new(origins, most);
    let mut all = JoinSet::new();
    for (origin, socket) in connected {
        let shared = shared.clone();
        all.spawn_local(async move { (origin, ask(origin, socket, shared, until).await) });
    }
    let mut answers = Answers::default();
    let mut pids = BTreeSet::new();
    while let Some(asked) = all.join_next().await {
        match asked {
            Ok((_, Ok(orphan))) if pids.insert(orphan.found.pid) => answers.orphans.push(orphan),
            Ok((origin, Ok(_))) => answers.trouble(origin, &Broken::SameProcess.into()),
            Ok((origin, Err(error))) => answers.trouble(origin, &error),
            Err(error) => warn!(%error, "a worker of an earlier supervisor could not be asked"),
        }
    }
    answers.orphans.sort_by_key(|orphan| orphan.about.origin);
    (answers.sockets, answers.states) = shared.taken();
    answers
}

impl Answers {
    /// Notes that a worker is not gone on with.
    fn trouble(&mut self, origin: u64, error: &Unanswered) {
        let sentence = format!(
            "A worker of an earlier supervisor (door {origin}) cannot be taken over: {error}. It goes on with its \
             sessions until they end or the times of its configuration are over (`orphan_timeout`, then \
             `drain_timeout`)."
        );
        self.troubles.push(sentence);
    }
}

/// Returns the answer where the folder of doors cannot be read. That there is none is the rule.
fn no_folder(folder: &Path, error: &io::Error) -> Answers {
    if error.kind() == io::ErrorKind::NotFound {
        return Answers::default();
    }
    let sentence = format!(
        "The workers of an earlier supervisor, if there are any, cannot be reached, because the folder {} cannot be \
         used: {error}. Start the daemon as the user that it ran as before to take them over, or remove the folder.",
        folder.display()
    );
    Answers {
        troubles: vec![sentence],
        ..Answers::default()
    }
}

/// Connects to all doors in a folder, and removes those behind which there is no process. Blocks.
fn connect_all(folder: &Path) -> io::Result<Vec<(u64, io::Result<OwnedFd>)>> {
    let doors = Doors::open(folder)?;
    let mut connected = Vec::new();
    for name in doors.names(MOST_DOORS)? {
        // What is not named like a door is none.
        let Ok(origin) = name.parse::<u64>() else {
            continue;
        };
        match doors.connect(&name) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                doors.remove(&name);
            }
            socket => connected.push((origin, socket)),
        }
    }
    Ok(connected)
}

/// Greets the worker behind a door, and hears what it tells until it has told all or `until`.
async fn ask(
    origin: u64,
    socket: io::Result<OwnedFd>,
    shared: Shared,
    until: Instant,
) -> Result<Orphan, Unanswered> {
    let socket = socket.map_err(Unanswered::Unreachable)?;
    let greeting = async {
        let greeted = door::greet(socket).await?;
        let found = Found::open(greeted.pid).map_err(Unanswered::Unwatched)?;
        let link = greeted.ask(&ToWorker::Tell).await?;
        Ok::<_, Unanswered>((found, link))
    };
    let greeted = timeout_at(until, greeting).await;
    let (found, (mut receiver, sender)) = greeted.map_err(|_| Unanswered::Late)??;
    let mut telling = Telling::new(origin, found.pid, shared);
    let heard = timeout_at(until, telling.hear(&mut receiver)).await;
    if let Ok(Err(broken)) = &heard {
        // Nothing more of it can be believed; another worker goes on with what it told before, once it has ended.
        warn!(
            pid = found.pid,
            "a worker of an earlier supervisor is killed: {broken}"
        );
        found.handle().kill();
    }
    // What comes later of one that was slow is taken like what any worker says.
    match (telling.finish(found, (receiver, sender)), heard) {
        (Some(orphan), _) => Ok(orphan),
        (None, Ok(Err(broken))) => Err(broken.into()),
        (None, _) => Err(Unanswered::Late),
    }
}
