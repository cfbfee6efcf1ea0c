//! Descriptors that a child sends along with a message.

use std::{os::fd::OwnedFd, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that came along with a message of a child.
///
/// Of each child at most one message with descriptors waits for the supervisor, because a queue of them could
/// take all that the supervisor may open.
#[derive(Debug, Default)]
pub struct Along {
    descriptors: Vec<OwnedFd>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Along {
    /// Returns the descriptors, and lets the child's next message with descriptors come.
    #[must_use]
    pub fn take(mut self) -> Vec<OwnedFd> {
        self.turn = None;
        self.descriptors
    }
}

/// Lets the messages with descriptors of a child come one after the other.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Waits until the child's message before was taken.
    pub(super) async fn wait(&self, descriptors: Vec<OwnedFd>) -> Along {
        if descriptors.is_empty() {
            return Along::default();
        }
        // It is never closed.
        let turn = Arc::clone(&self.0).acquire_owned().await.ok();
        Along { descriptors, turn }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    fn some() -> Vec<OwnedFd> {
        vec![eventfd(0, EventfdFlags::CLOEXEC).unwrap()]
    }

    #[test]
    fn messages_with_descriptors_come_one_after_the_other() {
        let turns = Turns::new();
        let first = turns.wait(some()).now_or_never().unwrap();
        assert!(turns.wait(some()).now_or_never().is_none());
        assert!(turns.wait(Vec::new()).now_or_never().is_some());
        assert_eq!(first.take().len(), 1);
        assert!(turns.wait(some()).now_or_never().is_some());
    }
}
