//! What this worker asks the resolver for, and the sessions that wait for it.
//!
//! Sessions that want the same name for the same time share one ask. Asks outlive the resolver: what
//! has no answer is asked again when the supervisor hands over a link to a new one.

mod asks;
mod pairs;
mod talk;
#[cfg(test)]
mod tests;

use std::{
    os::fd::OwnedFd,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use self::asks::Asks;
pub use self::pairs::Pairs;
use crate::{
    facts::{HostAddress, Unresolved, Wanted},
    link::Ask,
};

/// How many connections to Unix sockets are asked for at once. Further sessions wait here, because the
/// resolver refuses a worker that asks for too many.
const CONNECTIONS: usize = 256;

/// What the resolver has found.
#[derive(Debug)]
pub enum Found {
    /// The addresses of a name, in the order in which to try them.
    Addresses(Vec<HostAddress>),
    /// A connection to a Unix socket.
    Connection(OwnedFd),
}

/// What a session gets.
pub type Answered = Result<Found, Unresolved>;

/// This worker's asks.
#[derive(Debug)]
pub struct Names {
    asks: Mutex<Asks>,
    /// Wakes the task that sends asks.
    more: Notify,
    connections: Semaphore,
    has_pair: AtomicBool,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            asks: Mutex::default(),
            more: Notify::new(),
            connections: Semaphore::new(CONNECTIONS),
            has_pair: AtomicBool::new(false),
        }
    }
}

impl Names {
    /// Asks the resolver for something, and waits no longer than `within`, whatever the resolver does.
    pub async fn find(&self, wanted: Wanted, within: Duration) -> Answered {
        let until = Instant::now() + within;
        let answer = async {
            let _turn = match &wanted {
                Wanted::Host(_) => None,
                Wanted::Path(_) => self.connections.acquire().await.ok(),
            };
            let (session, answer) = oneshot::channel();
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            self.lock().add(wanted, left, now, session);
            self.more.notify_one();
            answer.await.ok()
        };
        let answered = timeout_at(until, answer).await.ok().flatten();
        answered.unwrap_or(Err(Unresolved::NoAnswer(within)))
    }

    /// Waits for the next ask that the resolver was not told.
    async fn next(&self) -> Ask {
        loop {
            if let Some(ask) = self.lock().take_unsent(Instant::now()) {
                return ask;
            }
            self.more.notified().await;
        }
    }

    /// Tells the sessions that wait for an answer; an answer that no session waits for is dropped.
    fn answered(&self, number: u64, answer: Answered) {
        let mut waiting = self.lock().take(number);
        let last = waiting.pop();
        for session in waiting {
            // A session that has ended waits no more.
            let _ = session.send(copy(&answer));
        }
        if let Some(last) = last {
            let _ = last.send(answer);
        }
    }

    /// Asks again for all that has no answer, because the resolver is another one.
    fn ask_again(&self) {
        self.lock().ask_again();
        self.more.notify_one();
    }

    /// Whether there is a pair to the resolver that is of use.
    fn has_pair(&self) -> bool {
        self.has_pair.load(Ordering::Relaxed)
    }

    fn set_has_pair(&self, has_pair: bool) {
        self.has_pair.store(has_pair, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies an answer that is for several sessions, which a connection never is.
fn copy(answer: &Answered) -> Answered {
    match answer {
        Ok(Found::Addresses(addresses)) => Ok(Found::Addresses(addresses.clone())),
        Ok(Found::Connection(_)) => Err(odd()),
        Err(reason) => Err(reason.clone()),
    }
}

fn odd() -> Unresolved {
    Unresolved::Failed("the resolver has answered something else".to_owned())
}
