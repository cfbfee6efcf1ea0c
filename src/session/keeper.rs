//! Which sessions of a worker are kept, so that they outlive it.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::live::LiveSession;
use crate::facts::{SessionId, UnkeptReason};

/// Counts a session among those that are not kept, until this is dropped.
pub type Unkept = Box<dyn Any + Send>;

/// What the supervisor is to hear of kept sessions.
#[derive(Debug)]
pub enum News {
    /// It is to keep the sockets of a session: the client's and the backend's. Until it does, the session counts among
    /// those that are not kept.
    Keep(SessionId, [OwnedFd; 2], Unkept),
    /// It need not keep those of a session any more.
    Over(SessionId),
    /// A session could not be kept.
    Unkept(UnkeptReason),
}

/// Has sessions kept once they have lasted long enough.
#[derive(Debug)]
pub struct Keeper {
    news: mpsc::UnboundedSender<News>,
    young: Mutex<VecDeque<(Instant, Weak<LiveSession>)>>,
    comes: Notify,
}

/// How a session comes to be kept.
pub struct Keeping {
    /// What keeps it.
    pub keeper: Arc<Keeper>,
    /// How long it must have lasted.
    pub after: Duration,
    /// The number by which workers count its listener's sessions.
    pub number: u16,
    /// Whether it counts as one of its client's sessions.
    pub counts_client: bool,
    /// Counts it among those that are not kept.
    pub unkept: Unkept,
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeping")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// Returns one without sessions, and the news that the supervisor is to hear.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<News>) {
        let (news, told) = mpsc::unbounded_channel();
        let keeper = Self {
            news,
            young: Mutex::default(),
            comes: Notify::new(),
        };
        (Arc::new(keeper), told)
    }

    /// Tells a session that it is to be kept once it has lasted for so long.
    pub fn later(&self, session: &Arc<LiveSession>, after: Duration) {
        let due = Instant::now() + after;
        self.young().push_back((due, Arc::downgrade(session)));
        self.comes.notify_one();
    }

    /// Tells sessions that they are to be kept when it is time to.
    pub async fn run(&self) {
        loop {
            // Times may be out of order where a reload has made them shorter; those then come a little later.
            let first = self.young().front().map(|(due, _)| *due);
            match first {
                None => self.comes.notified().await,
                Some(due) => {
                    sleep_until(due).await;
                    self.tell_due(Instant::now());
                }
            }
        }
    }

    fn tell_due(&self, now: Instant) {
        let mut young = self.young();
        while let Some((due, _)) = young.front()
            && *due <= now
        {
            let session = young.pop_front().and_then(|(_, session)| session.upgrade());
            if let Some(session) = session {
                session.is_to_be_kept();
            }
        }
    }

    /// Has the supervisor keep the sockets of a session.
    pub fn keep(&self, id: SessionId, sockets: [OwnedFd; 2], unkept: Unkept) {
        self.tell(News::Keep(id, sockets, unkept));
    }

    /// Has the supervisor forget the sockets of a session.
    pub fn over(&self, id: SessionId) {
        self.tell(News::Over(id));
    }

    /// Counts a session that could not be kept.
    pub fn unkept(&self, reason: UnkeptReason) {
        self.tell(News::Unkept(reason));
    }

    fn tell(&self, news: News) {
        // A worker that ends tells nothing any more.
        let _ = self.news.send(news);
    }

    /// Locks the young sessions, which only the worker's one thread uses, so this never waits.
    fn young(&self) -> std::sync::MutexGuard<'_, VecDeque<(Instant, Weak<LiveSession>)>> {
        self.young.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
