//! A cell of each session through which it is told to stop.

use std::{
    future::poll_fn,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

use crate::facts::EndReason;

/// Why a session is told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The worker ends, and waits for sessions no longer.
    Drained,
    /// An operator ended it; the name of the operator.
    EndedBy(Arc<str>),
}

impl StopReason {
    /// Returns the reason by which the end is counted.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Drained => EndReason::Drained,
            Self::EndedBy(_) => EndReason::EndedByOperator,
        }
    }

    /// Returns the operator who ended the session, if one did.
    pub fn operator(&self) -> Option<&Arc<str>> {
        match self {
            Self::Drained => None,
            Self::EndedBy(operator) => Some(operator),
        }
    }
}

/// Whether and why a session is to stop, with the task that waits for that.
///
/// It is part of the session's facts, so that an idle session needs no further memory to be stoppable.
#[derive(Debug, Default)]
pub struct StopCell {
    reason: OnceLock<StopReason>,
    waiter: AtomicWaker,
}

impl StopCell {
    /// Tells the session to stop; returns false if it was told so before, and then keeps the first reason.
    pub fn stop(&self, reason: StopReason) -> bool {
        let is_first = self.reason.set(reason).is_ok();
        if is_first {
            self.waiter.wake();
        }
        is_first
    }

    /// Wakes the task that waits, though the session is not to stop.
    pub fn wake(&self) {
        self.waiter.wake();
    }

    /// Whether the session was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.reason.get().is_some()
    }

    /// Ready once the session is to stop. One task may wait at a time: the one that polled last is woken.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<StopReason> {
        self.waiter.register(cx.waker());
        // Asked after the waker is known, so that no stop comes between.
        match self.reason.get() {
            Some(reason) => Poll::Ready(reason.clone()),
            None => Poll::Pending,
        }
    }

    /// Waits until the session is to stop.
    pub async fn stopped(&self) -> StopReason {
        poll_fn(|cx| self.poll(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_woken_and_told_the_first_reason() {
        let cell = StopCell::default();
        let by = StopReason::EndedBy("root".into());
        let (told, ()) = tokio::join!(cell.stopped(), async {
            assert!(cell.stop(by.clone()));
            assert!(!cell.stop(StopReason::Drained));
        });
        assert_eq!(told, by);
        assert_eq!(cell.stopped().await, by, "it stays stopped");
    }
}
