//! Which sessions of a worker are kept, so that they outlive it.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use super::{live::LiveSession, standing::Changes};
use crate::facts::{SessionId, UnkeptCounts, UnkeptReason};

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
    /// How many sessions could not be kept.
    Unkept(UnkeptCounts),
}

/// Has sessions kept once they have lasted long enough.
#[derive(Debug)]
pub struct Keeper {
    news: mpsc::UnboundedSender<News>,
    young: Mutex<VecDeque<(Instant, Weak<LiveSession>)>>,
    comes: Notify,
    /// How many sessions could not be kept.
    failed: Mutex<UnkeptCounts>,
    /// Whether sessions are to be kept as soon as they are established.
    at_once: AtomicBool,
    /// The number of the worker's link.
    link: AtomicU32,
    /// How many messages with sockets are not sent yet.
    on_their_way: Arc<AtomicU64>,
    changes: Arc<Changes>,
}

/// Counts sockets that are on their way to the supervisor, until this is dropped.
struct OnTheirWay {
    count: Arc<AtomicU64>,
    changes: Arc<Changes>,
}

impl Drop for OnTheirWay {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.changes.note();
    }
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
    /// Returns one without sessions, and the news that the supervisor is to hear. It notes in `changes` what sessions
    /// have answered.
    pub fn new(changes: Arc<Changes>) -> (Arc<Self>, mpsc::UnboundedReceiver<News>) {
        let (news, told) = mpsc::unbounded_channel();
        let keeper = Self {
            news,
            young: Mutex::default(),
            comes: Notify::new(),
            failed: Mutex::default(),
            at_once: AtomicBool::new(false),
            link: AtomicU32::new(1),
            on_their_way: Arc::default(),
            changes,
        };
        (Arc::new(keeper), told)
    }

    /// Tells a session that it is to be kept once it has lasted for so long.
    pub fn later(&self, session: &Arc<LiveSession>, after: Duration) {
        if self.at_once.load(Ordering::Relaxed) {
            return session.is_to_be_kept();
        }
        let due = Instant::now() + after;
        self.young().push_back((due, Arc::downgrade(session)));
        self.comes.notify_one();
    }

    /// Says whether sessions that are established later are to be kept at once.
    pub fn keep_at_once(&self, at_once: bool) {
        self.at_once.store(at_once, Ordering::Relaxed);
    }

    /// Returns the number of the link over which sockets are sent now.
    pub fn link(&self) -> u32 {
        self.link.load(Ordering::Relaxed)
    }

    /// Begins another link: its supervisor has none of the sockets that were sent before.
    pub fn begin_link(&self) {
        self.link.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether all sockets are sent.
    pub fn has_sent_all(&self) -> bool {
        self.on_their_way.load(Ordering::Relaxed) == 0
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

    /// Has the supervisor keep the sockets of a session, which counts among those that are not kept until it does, by
    /// `unkept` if it was not kept before.
    pub fn keep(&self, session: &LiveSession, sockets: [OwnedFd; 2], unkept: Option<Unkept>) {
        session.keep.is_kept(self.link());
        self.on_their_way.fetch_add(1, Ordering::Relaxed);
        let on_their_way = OnTheirWay {
            count: Arc::clone(&self.on_their_way),
            changes: Arc::clone(&self.changes),
        };
        let until_sent = Box::new((on_their_way, unkept));
        self.tell(News::Keep(session.id, sockets, until_sent));
        self.changes.note();
    }

    /// Notes that a session has answered what it was asked.
    pub fn is_answered(&self) {
        self.changes.note();
    }

    /// Has the supervisor forget the sockets of a session.
    pub fn over(&self, id: SessionId) {
        self.tell(News::Over(id));
    }

    /// Counts a session that could not be kept, unless it was counted before.
    pub fn unkept(&self, session: &LiveSession, reason: UnkeptReason) {
        if session.keep.has_failed() {
            self.failed().add(UnkeptCounts::only(reason, 1));
            self.tell_unkept();
        }
        self.changes.note();
    }

    /// Tells the supervisor how many sessions could not be kept, if any.
    pub fn tell_unkept(&self) {
        let failed = *self.failed();
        if failed != UnkeptCounts::default() {
            self.tell(News::Unkept(failed));
        }
    }

    /// Locks the counts, as [`Self::young`] does.
    fn failed(&self) -> MutexGuard<'_, UnkeptCounts> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: News) {
        // A worker that ends tells nothing any more.
        let _ = self.news.send(news);
    }

    /// Locks the young sessions, which only the worker's one thread uses, so this never waits.
    fn young(&self) -> MutexGuard<'_, VecDeque<(Instant, Weak<LiveSession>)>> {
        self.young.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
