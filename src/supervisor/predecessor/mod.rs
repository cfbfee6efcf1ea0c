//! What the supervisor before this one has left: after an upgrade, a restart or its death.
//!
//! It is looked for once, at the start. What is found is judged, never believed: each part has its own place, and a part
//! that is broken costs only itself.

mod carried;
pub(in crate::supervisor) mod doors;
mod left;
mod manifest;
mod store;

use std::{
    collections::{BTreeSet, HashSet},
    io,
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{fs::fstat, process::geteuid};
use tokio::runtime::Runtime;

use self::doors::Orphan;
pub(in crate::supervisor) use self::{
    carried::{Carried, NotBack},
    left::LeftWorker,
    manifest::{
        AtPath, Kept, Left, Manifest, Passed as PassedOn, Secret, Socket,
        VERSION as MANIFEST_VERSION,
    },
    store::Passed,
};
use super::state::{Book, Earlier};
use crate::{
    facts::{PROGRAM_VERSION, SessionId},
    link::ListenerKey,
    sys::rewritten,
};

/// What the supervisor before this one has left.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Predecessor {
    /// What it knew; an empty one if none could be read.
    pub(in crate::supervisor) book: Book,
    /// What it served; `None` if that could not be read.
    pub(in crate::supervisor) generation: Option<Earlier>,
    /// Its workers that live.
    pub(in crate::supervisor) orphans: Vec<Orphan>,
    /// Its listening sockets, with the slot of each.
    pub(in crate::supervisor) sockets: Vec<(ListenerKey, usize, OwnedFd)>,
    /// What it kept of workers that have ended meanwhile.
    pub(in crate::supervisor) left: Vec<LeftWorker>,
    /// What could not be read of what was found, as sentences for operators.
    pub(in crate::supervisor) troubles: Vec<String>,
    /// How this process became the supervisor.
    pub(in crate::supervisor) how: How,
}

/// How a process became the supervisor behind another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::supervisor) enum How {
    /// It was started.
    #[default]
    Started,
    /// The process is the same, and goes on as another program.
    Upgraded,
    /// The other program could not go on, and the one before runs again.
    WentBack,
}

/// What was found of predecessors, in all the places where they leave something.
#[derive(Debug, Default)]
struct Found {
    /// What each holder of state was handed: the descriptors of a book, of a generation and of its packs, in this order.
    states: Vec<Vec<OwnedFd>>,
    sockets: Vec<(ListenerKey, usize, OwnedFd)>,
    orphans: Vec<Orphan>,
    troubles: Vec<String>,
}

/// Returns whether there may be something that the supervisor before this one has left, which had this control socket and of
/// which the service manager has `passed` a part: so that what its workers use is not taken for another program's.
pub(in crate::supervisor) fn may_be(control_socket: &Path, passed: &Passed) -> bool {
    if !passed.is_empty() {
        return true;
    }
    let mut doors = control_socket.as_os_str().to_owned();
    doors.push(".doors");
    let mut entries = std::fs::read_dir(doors).into_iter().flatten();
    entries.next().is_some()
}

/// Looks for what the supervisor before this one has left, which had this control socket, of which the service manager
/// has `passed` a part, or which has left something in this process; `None` if that is nothing. At most so many sessions are
/// kept. Blocks.
pub(in crate::supervisor) fn find(
    runtime: &Runtime,
    control_socket: &Path,
    most: usize,
    passed: Passed,
    carried: Option<&Carried>,
) -> Option<Predecessor> {
    let doors::Answers {
        orphans,
        mut sockets,
        mut states,
        troubles,
    } = doors::find(runtime, control_socket, most);
    if let Some(carried) = carried {
        states.extend(carried.state());
        sockets.extend(carried.sockets());
    }
    let living: BTreeSet<u64> = orphans.iter().map(|it| it.about.origin).collect();
    let had: HashSet<SessionId> = orphans.iter().flat_map(Orphan::sessions).collect();
    let mut found = Found {
        states,
        sockets,
        orphans,
        troubles,
    };
    passed.find(&mut found);
    let mut predecessor = found.choose(geteuid().as_raw())?;
    if let Some(carried) = carried {
        let kept = carried.kept_of_others(&living);
        let left = kept.into_iter().filter(|it| !it.was_taken_over(&had));
        let left = left.map(|it| it.end(runtime));
        predecessor.left = left.collect();
        predecessor.how = match carried.went_back() {
            None => How::Upgraded,
            Some(_) => How::WentBack,
        };
    }
    Some(predecessor)
}

/// Reads what a supervisor of this user holds, by the descriptors of it; returns why that cannot be gone on with.
pub(in crate::supervisor) fn read_state(state: Vec<OwnedFd>) -> Result<Predecessor, String> {
    let found = Found {
        states: vec![state],
        ..Found::default()
    };
    let read = found.choose(geteuid().as_raw()).unwrap_or_default();
    if read.troubles.is_empty() {
        Ok(read)
    } else {
        Err(read.troubles.join(" "))
    }
}

impl Predecessor {
    /// Says, as an event, what this supervisor goes on with.
    pub(in crate::supervisor) fn sentence(&self, generation: u64) -> String {
        let (version, pid) = (&self.book.program, self.book.pid);
        let own = PROGRAM_VERSION;
        let became = match (self.how, self.book.left_at) {
            (How::Upgraded, _) => "was upgraded",
            // What the other program was, and why it could not go on, is told beside this.
            (How::WentBack, _) => {
                return format!("proxyd {own} goes on again, with generation {generation}.");
            }
            (How::Started, Some(_)) => "left for a restart",
            (How::Started, None) => "died",
        };
        let who = match pid {
            0 => "a supervisor of which nothing is known".to_owned(),
            pid => format!("proxyd {version} (pid {pid}), which {became}"),
        };
        format!("proxyd {own} goes on for {who}, with generation {generation}.")
    }
}

impl Found {
    /// Chooses the newest of what was found, as far as a supervisor of the user `owner` has written it.
    fn choose(mut self, owner: u32) -> Option<Predecessor> {
        let is_nothing = self.states.is_empty()
            && self.sockets.is_empty()
            && self.orphans.is_empty()
            && self.troubles.is_empty();
        if is_nothing {
            return None;
        }
        let mut seen = HashSet::new();
        let mut books = Vec::new();
        let mut generations = Vec::new();
        for state in std::mem::take(&mut self.states) {
            let mut state = state.into_iter();
            let book = state.next().filter(|it| is_new(it, &mut seen));
            books.extend(book.and_then(|it| self.note("what it knew", book_of(&it, owner))));
            let generation = state.next().filter(|it| is_new(it, &mut seen));
            let generation = generation.map(|it| Earlier::read(it, state.collect(), owner));
            generations.extend(generation.and_then(|it| self.note("what it served", it)));
        }
        // Two supervisors, of which the first left workers that still ran when the second one died.
        let book = books.into_iter().max_by_key(|book| book.reign);
        let generation = generations.into_iter();
        let generation = generation.max_by_key(|it| (it.reign, it.number));
        Some(Predecessor {
            book: book.unwrap_or_default(),
            generation,
            orphans: self.orphans,
            sockets: self.sockets,
            left: Vec::new(),
            troubles: self.troubles,
            how: How::Started,
        })
    }

    /// Notes why a part cannot be read, if so.
    fn note<T, E: std::fmt::Display>(&mut self, what: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| {
            self.troubles.push(format!(
                "The supervisor before this one left {what}, but this one cannot go on with it: {error}."
            ));
        })
        .ok()
    }
}

/// Returns whether a file was not seen before; many workers have the same.
fn is_new(file: &OwnedFd, seen: &mut HashSet<(u64, u64)>) -> bool {
    fstat(file).is_ok_and(|about| seen.insert((about.st_dev, about.st_ino)))
}

fn book_of(file: &OwnedFd, owner: u32) -> io::Result<Book> {
    let bytes = rewritten::read(file, owner)?;
    Book::decode(&bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
