//! Descriptors that the service manager keeps while no supervisor runs (`FDSTORE=` in `sd_notify(3)`).
//!
//! So listening sockets stay open, and clients wait in their queues, even when all processes of the service are killed.
//! They are few, because what they cost process 1 grows with the square of their number: none for each session.
//!
//! What is to be kept and what is kept are compared by name, and one message after the other makes them the same: what
//! is new is stored before what it replaces is removed.

mod name;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::fs::fstat;

pub(in crate::supervisor) use self::name::{Name, What};
use crate::link::ListenerKey;

/// The most listening sockets that are stored: the unit allows some more descriptors (`FileDescriptorStoreMax=`).
const MOST_SOCKETS: usize = 1000;

/// The most messages that are sent at a time, because the loop has other work too.
const AT_ONCE: usize = 64;

/// How long after a failed send the next one is tried.
const RETRY: Duration = Duration::from_millis(200);

/// What the service manager is to keep.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Wanted(BTreeMap<String, Arc<OwnedFd>>);

impl Wanted {
    /// Returns these listening sockets, each with its slot, and the `state` of a supervisor: a book, the memory of a
    /// generation and its packs, in this order. Sockets beyond the first [`MOST_SOCKETS`] are left out.
    pub(in crate::supervisor) fn new(
        sockets: Vec<(ListenerKey, usize, Arc<OwnedFd>)>,
        state: &[Arc<OwnedFd>],
    ) -> Self {
        let mut wanted = Self::default();
        for (key, slot, socket) in sockets.into_iter().take(MOST_SOCKETS) {
            wanted.add(What::Socket(slot, key), &socket);
        }
        let mut state = state.iter();
        if let Some(book) = state.next() {
            wanted.add(What::Book, book);
        }
        if let Some(generation) = state.next() {
            let packs: Vec<_> = state.collect();
            let inodes = packs.iter().map(|pack| inode(pack)).collect();
            for pack in packs {
                wanted.add(What::Pack, pack);
            }
            if let Some(inodes) = inodes {
                wanted.add(What::Generation(inodes), generation);
            }
        }
        wanted
    }

    fn add(&mut self, what: What, descriptor: &Arc<OwnedFd>) {
        let name = inode(descriptor).map(|inode| Name { what, inode });
        if let Some(text) = name.and_then(|name| name.text()) {
            self.0.insert(text, Arc::clone(descriptor));
        }
    }
}

/// Returns the number by which no other open file of its kind is known.
pub(in crate::supervisor) fn inode(descriptor: &OwnedFd) -> Option<u64> {
    fstat(descriptor).ok().map(|about| about.st_ino)
}

/// A message to the service manager.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// It is to keep a descriptor under this name.
    Store(String, Arc<OwnedFd>),
    /// It is to close what it keeps under this name.
    Remove(String),
}

impl Message {
    /// Returns the text of the message.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Store(name, _) => format!("FDSTORE=1\nFDNAME={name}"),
            Self::Remove(name) => format!("FDSTOREREMOVE=1\nFDNAME={name}"),
        }
    }
}

/// What the service manager keeps, and what it is to keep.
#[derive(Debug)]
pub(super) struct Store {
    stored: BTreeSet<String>,
    /// `None` until the supervisor knows.
    wanted: Option<BTreeMap<String, Arc<OwnedFd>>>,
    /// When the next message is due; `None` if the service manager keeps what it is to keep.
    due: Option<Instant>,
}

impl Store {
    /// Begins with what the service manager keeps already, which stays until [`Self::want`].
    pub(super) fn new(stored: BTreeSet<String>) -> Self {
        Self {
            stored,
            wanted: None,
            due: None,
        }
    }

    /// Notes what the service manager is to keep from now on, and nothing else.
    pub(super) fn want(&mut self, wanted: Wanted, now: Instant) {
        self.wanted = Some(wanted.0);
        self.due = self.next().map(|_| now);
    }

    /// Returns the names of what is kept.
    pub(super) fn stored(&self) -> &BTreeSet<String> {
        &self.stored
    }

    /// Returns when the next message is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Sends what is due by `send`, or a part of it if it is much.
    pub(super) fn turn(&mut self, now: Instant, send: impl Fn(&Message) -> io::Result<()>) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        for _ in 0..AT_ONCE {
            let Some(message) = self.next() else {
                self.due = None;
                return;
            };
            if send(&message).is_err() {
                // Its queue may be full, or it may be starting again.
                self.due = Some(now + RETRY);
                return;
            }
            match message {
                Message::Store(name, _) => self.stored.insert(name),
                Message::Remove(name) => self.stored.remove(&name),
            };
        }
    }

    /// Returns the next message; `None` if the service manager keeps what it is to keep.
    fn next(&self) -> Option<Message> {
        let wanted = self.wanted.as_ref()?;
        let new = wanted.iter().find(|(name, _)| !self.stored.contains(*name));
        if let Some((name, descriptor)) = new {
            return Some(Message::Store(name.clone(), Arc::clone(descriptor)));
        }
        let mut stored = self.stored.iter();
        let unwanted = stored.find(|name| !wanted.contains_key(*name));
        unwanted.cloned().map(Message::Remove)
    }
}

#[cfg(test)]
mod tests;
