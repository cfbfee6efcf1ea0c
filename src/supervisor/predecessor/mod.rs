//! What the supervisor before this one has left: after an upgrade, a restart or its death.
//!
//! It is looked for once, at the start. What is found is judged, never believed: each part has its own place, and a part
//! that is broken costs only itself.

use std::os::fd::OwnedFd;

use super::state::Book;
use crate::{config::Config, link::ListenerKey};

/// What the supervisor before this one has left.
#[allow(dead_code, reason = "owners begin to use their parts one by one")]
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Predecessor {
    /// What it knew; an empty one if none could be read.
    pub(in crate::supervisor) book: Book,
    /// Its listening sockets, with the slot of each.
    pub(in crate::supervisor) sockets: Vec<(ListenerKey, usize, OwnedFd)>,
}

/// What was found of predecessors, in all the places where they leave something.
#[derive(Debug, Default)]
struct Found {
    /// What each holder of state was handed: the descriptors of a book, of a generation and of its packs, in this order.
    states: Vec<Vec<OwnedFd>>,
    sockets: Vec<(ListenerKey, usize, OwnedFd)>,
}

/// Looks for what the supervisor before this one has left; `None` if that is nothing. Blocks.
pub(in crate::supervisor) fn find(_config: &Config) -> Option<Predecessor> {
    Found::default().choose()
}

impl Found {
    /// Chooses the newest of what was found.
    fn choose(self) -> Option<Predecessor> {
        let is_nothing = self.states.is_empty() && self.sockets.is_empty();
        (!is_nothing).then(|| Predecessor {
            book: Book::default(),
            sockets: self.sockets,
        })
    }
}
