//! What a worker tells a supervisor that did not start it, as far as it can be believed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashSet},
    os::fd::OwnedFd,
    rc::Rc,
};

use rustix::fs::fstat;
use tokio::task::spawn_blocking;

use crate::{
    facts::SessionId,
    link::{
        Fault, FromWorker, ListenerKey, Received,
        door::OfSupervisor,
        end::Receiver,
        worker::{About, MOST_OF_VERSION},
    },
    supervisor::workers::{Pair, is_stream, listens_for, pairs},
    sys::child::Found,
};

/// The most bytes of counts and the like that are remembered of a worker.
const MOST_SAID: usize = 8 << 20;

/// The most sessions without sockets that are remembered of a worker.
const MOST_MISSED: usize = 1 << 18;

/// The most listening sockets that are taken of all workers.
const MOST_SOCKETS: usize = 1 << 16;

/// A worker whose supervisor has ended.
#[derive(Debug)]
pub(in crate::supervisor) struct Orphan {
    /// What it is; its process id is the kernel's, and its origin that of its door.
    pub(in crate::supervisor) about: About,
    /// Its process.
    pub(in crate::supervisor) found: Found,
    /// The link to it.
    pub(in crate::supervisor) link: OfSupervisor,
    /// The memory of its table. It may be any descriptor.
    pub(in crate::supervisor) table: Option<OwnedFd>,
    /// The memory of its board. It may be any descriptor.
    pub(in crate::supervisor) board: Option<OwnedFd>,
    /// The sockets of its sessions.
    pub(in crate::supervisor) kept: BTreeMap<SessionId, Pair>,
    /// The sessions whose sockets did not come: either process was short of descriptors.
    pub(in crate::supervisor) missed: HashSet<SessionId>,
    /// Its counts and what it knows of backends, as messages of any worker.
    pub(in crate::supervisor) said: Vec<FromWorker>,
}

impl Orphan {
    /// Returns the sessions that are kept of it, also those whose sockets did not come.
    pub(in crate::supervisor) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.kept.keys().chain(&self.missed).copied()
    }
}

/// Why no more of what a worker says can be believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("it broke its link: {0}")]
    Link(#[from] Fault),
    #[error("it did not say what it is")]
    NotIntroduced,
    #[error("it says that it is another worker")]
    Another,
    #[error("another door leads to the same process")]
    SameProcess,
}

/// What the workers have in common.
#[derive(Debug, Clone)]
pub(super) struct Shared(Rc<RefCell<Common>>);

#[derive(Debug)]
struct Common {
    /// The origins of all workers that have a door.
    origins: BTreeSet<u64>,
    /// How many sessions' sockets may still be kept.
    left: usize,
    /// Which sessions some worker has.
    known: HashSet<SessionId>,
    sockets: BTreeMap<(ListenerKey, usize), OwnedFd>,
    /// The inodes of these: a worker that was taken over may bring one socket under as many names as it likes.
    inodes: HashSet<u64>,
    states: Vec<Vec<OwnedFd>>,
}

/// The listening sockets that were told, each with its slot.
type Sockets = Vec<(ListenerKey, usize, OwnedFd)>;

impl Shared {
    /// Begins with nothing told by the workers of these origins; the sockets of `most` sessions are kept at most.
    pub(super) fn new(origins: BTreeSet<u64>, most: usize) -> Self {
        Self(Rc::new(RefCell::new(Common {
            origins,
            left: most,
            known: HashSet::new(),
            sockets: BTreeMap::new(),
            inodes: HashSet::new(),
            states: Vec::new(),
        })))
    }

    /// Returns the listening sockets and the states that were told.
    pub(super) fn taken(&self) -> (Sockets, Vec<Vec<OwnedFd>>) {
        let mut common = self.0.borrow_mut();
        let sockets = std::mem::take(&mut common.sockets).into_iter();
        let sockets = sockets.map(|((key, slot), socket)| (key, slot, socket));
        (sockets.collect(), std::mem::take(&mut common.states))
    }
}

/// What one worker has told so far.
#[derive(Debug)]
pub(super) struct Telling {
    origin: u64,
    pid: u32,
    shared: Shared,
    about: Option<About>,
    table: Option<OwnedFd>,
    board: Option<OwnedFd>,
    has_state: bool,
    kept: BTreeMap<SessionId, Pair>,
    missed: HashSet<SessionId>,
    said: Vec<FromWorker>,
    bytes: usize,
}

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    More,
    /// It has told all.
    Told,
}

impl Telling {
    /// Begins to hear the process that was reached by the door of this origin.
    pub(super) fn new(origin: u64, pid: u32, shared: Shared) -> Self {
        Self {
            origin,
            pid,
            shared,
            about: None,
            table: None,
            board: None,
            has_state: false,
            kept: BTreeMap::new(),
            missed: HashSet::new(),
            said: Vec::new(),
            bytes: 0,
        }
    }

    /// Hears all that the worker tells, or what it tells until it ends. Safe to cancel.
    pub(super) async fn hear(&mut self, receiver: &mut Receiver<FromWorker>) -> Result<(), Broken> {
        while let Some(received) = receiver.receive().await? {
            if self.take(received)? == Next::Told {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the worker with what it has told; `None` if it has not even said what it is.
    pub(super) fn finish(self, found: Found, link: OfSupervisor) -> Option<Orphan> {
        Some(Orphan {
            about: self.about?,
            found,
            link,
            table: self.table,
            board: self.board,
            kept: self.kept,
            missed: self.missed,
            said: self.said,
        })
    }

    /// Takes a message. A worker may say something before it says what it is: a beat may be due, or a session over,
    /// before it hears that it is to tell all.
    pub(super) fn take(&mut self, received: Received<FromWorker>) -> Result<Next, Broken> {
        let Received {
            message,
            mut descriptors,
            bytes,
        } = received;
        match message {
            FromWorker::About(about) => {
                self.introduce(&about)?;
                self.table = self.table.take().or(descriptors.pop());
            }
            FromWorker::Board => self.board = self.board.take().or(descriptors.pop()),
            FromWorker::State if !self.has_state && !descriptors.is_empty() => {
                self.has_state = true;
                let states = &mut self.shared.0.borrow_mut().states;
                states.push(std::mem::take(&mut descriptors));
            }
            FromWorker::Socket { key, slot } => {
                if let Some(socket) = descriptors.pop() {
                    descriptors.extend(self.socket((key, slot), socket));
                }
            }
            FromWorker::Keep { ids } => self.keep(&ids, std::mem::take(&mut descriptors)),
            FromWorker::Over { ids } => self.over(&ids),
            FromWorker::Told if self.about.is_none() => return Err(Broken::NotIntroduced),
            FromWorker::Told => return Ok(Next::Told),
            message @ (FromWorker::Counts { .. }
            | FromWorker::Backend { .. }
            | FromWorker::Denied { .. }
            | FromWorker::Unkept { .. }) => {
                self.bytes += bytes;
                if self.bytes <= MOST_SAID {
                    self.said.push(message);
                }
            }
            _ => {}
        }
        discard(descriptors);
        Ok(Next::More)
    }

    fn introduce(&mut self, about: &About) -> Result<(), Broken> {
        let is_it = about.origin == self.origin && about.pid == self.pid;
        if self.about.is_some() || !is_it {
            return Err(Broken::Another);
        }
        let version = about.version.chars().filter(char::is_ascii_graphic);
        let version = version.take(MOST_OF_VERSION).collect();
        self.about = Some(About {
            version,
            ..about.clone()
        });
        Ok(())
    }

    /// Takes a listening socket, unless it cannot be the listener's or was brought before, be it under another name;
    /// returns it then.
    fn socket(&self, named: (ListenerKey, usize), socket: OwnedFd) -> Option<OwnedFd> {
        let common = &mut *self.shared.0.borrow_mut();
        let is_new = !common.sockets.contains_key(&named) && common.sockets.len() < MOST_SOCKETS;
        if is_new
            && listens_for(&named.0, &socket)
            && fstat(&socket).is_ok_and(|about| common.inodes.insert(about.st_ino))
        {
            common.sockets.insert(named, socket);
            return None;
        }
        Some(socket)
    }

    /// Keeps the sockets of sessions that the worker can have.
    fn keep(&mut self, ids: &[SessionId], sockets: Vec<OwnedFd>) {
        let mut common = self.shared.0.borrow_mut();
        if sockets.is_empty() {
            let room = MOST_MISSED.saturating_sub(self.missed.len());
            self.missed.extend(ids.iter().take(room));
        }
        let mut unwanted = Vec::new();
        for (id, pair) in ids.iter().zip(pairs(sockets)) {
            let can_have = id.origin == self.origin || !common.origins.contains(&id.origin);
            let is_its = can_have && pair.iter().all(is_stream) && common.known.insert(*id);
            if is_its && common.left > 0 {
                common.left -= 1;
                self.missed.remove(id);
                self.kept.insert(*id, pair);
                continue;
            }
            if is_its && self.missed.len() < MOST_MISSED {
                self.missed.insert(*id);
            }
            unwanted.push(pair);
        }
        discard(unwanted);
    }

    fn over(&mut self, ids: &[SessionId]) {
        let mut common = self.shared.0.borrow_mut();
        let mut unwanted = Vec::new();
        for id in ids {
            self.missed.remove(id);
            if let Some(pair) = self.kept.remove(id) {
                common.left += 1;
                common.known.remove(id);
                unwanted.push(pair);
            }
        }
        discard(unwanted);
    }
}

/// Closes descriptors beside the caller: a socket may wait for its peer meanwhile (`SO_LINGER` in socket(7)).
fn discard<T: Send + 'static>(unwanted: Vec<T>) {
    if !unwanted.is_empty() {
        spawn_blocking(move || drop(unwanted));
    }
}
