//! The pairs to resolvers that a worker is given, and what it does without one.

use std::{os::fd::OwnedFd, sync::Arc};

use tokio::sync::mpsc;
use tracing::error;

use super::{Names, talk::talk};

/// Pairs, each newer than the one before, that may wait until they are used.
const WAITING: usize = 8;

/// Where pairs to resolvers go.
#[derive(Debug, Clone)]
pub struct Pairs {
    names: Arc<Names>,
    given: mpsc::Sender<OwnedFd>,
    lacked: bool,
}

impl Pairs {
    /// Has `names` ask over the pairs that will be given. Must be called in a runtime.
    pub fn new(names: Arc<Names>) -> Self {
        let (given, arrived) = mpsc::channel(WAITING);
        let talks = Arc::clone(&names);
        tokio::spawn(async move { talk(&talks, arrived).await });
        Self {
            names,
            given,
            lacked: false,
        }
    }

    /// Asks the resolver over this pair instead of the one before.
    pub fn give(&self, pair: Option<OwnedFd>) {
        let given = pair.map(|pair| self.given.try_send(pair));
        if !matches!(given, Some(Ok(()))) {
            error!(
                "the pair to the resolver did not arrive; while there is none before it, the worker \
                 asks the supervisor for another"
            );
        }
    }

    /// Whether there is no pair of use now and was none the last time that this was asked, so that none may be
    /// on its way; to be called with each beat.
    pub fn are_needed(&mut self) -> bool {
        let lacks = !self.names.has_pair();
        std::mem::replace(&mut self.lacked, lacks) && lacks
    }
}
