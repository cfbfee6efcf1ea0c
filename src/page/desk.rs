//! What the page asks the supervisor for its clients.
//!
//! At most one ask of a kind is on its way. Clients that come meanwhile share the next one, so that the
//! answer to each client is newer than its request.

use std::{
    cell::{Cell, Ref, RefCell},
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::{Mutex, Semaphore, mpsc, oneshot},
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::error;

use super::{
    document::{self, Document},
    recent::{Recent, STEP},
};
use crate::link::{FromPage, News, end::Sender};

/// How long the supervisor's loop may take to say that it turns.
pub(super) const ALIVE_PATIENCE: Duration = Duration::from_secs(2);

/// How long the supervisor may take to tell its status.
pub(super) const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// How long the supervisor may take to tell what is new; the page is shown without it then.
const NEWS_PATIENCE: Duration = Duration::from_secs(2);

/// Clients that may wait for the next ask; further clients wait for room among these.
const WAITING: usize = 32;

/// Statuses, with the texts that are made from them, that may be in memory at one time. Clients that are slow
/// to take a text keep it there.
const MOST_DOCUMENTS: usize = 4;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The supervisor has not answered in time.
    Late,
    /// The supervisor could not give one, or it cannot be read.
    Failed,
}

/// The clients that wait, and the asks that are on their way to the supervisor.
#[derive(Debug)]
pub(super) struct Desk {
    sender: Sender<FromPage>,
    alive: Queue<()>,
    status: Queue<Rc<Document>>,
    alive_asked: Asked<()>,
    status_asked: Asked<Option<OwnedFd>>,
    news: Queue<()>,
    news_asked: Asked<Option<OwnedFd>>,
    recent: RefCell<Recent>,
    documents: Arc<Semaphore>,
    host: String,
}

impl Desk {
    /// Begins with no client. [`Self::ask_alive`] and [`Self::ask_status`] must run.
    pub(super) fn new(sender: Sender<FromPage>, host: String) -> Self {
        Self {
            sender,
            alive: Queue::new(),
            status: Queue::new(),
            alive_asked: Asked::default(),
            status_asked: Asked::default(),
            news: Queue::new(),
            news_asked: Asked::default(),
            recent: RefCell::new(Recent::new(Timestamp::now())),
            documents: Arc::new(Semaphore::new(MOST_DOCUMENTS)),
            host,
        }
    }

    /// Returns the name of this host; empty if it is not known.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Waits until the supervisor's loop has turned after this call.
    pub(super) async fn alive(&self) -> Result<(), NoAnswer> {
        self.alive.wait(ALIVE_PATIENCE).await
    }

    /// Returns a status that was gathered after this call.
    pub(super) async fn status(&self) -> Result<Rc<Document>, NoAnswer> {
        self.status.wait(STATUS_PATIENCE).await
    }

    /// Sends the supervisor a message.
    pub(super) async fn tell(&self, message: FromPage) {
        // If the supervisor is gone, the page ends by itself.
        let _ = self.sender.send(&message, &[]).await;
    }

    /// Notes that the supervisor's loop turns.
    pub(super) fn alive_told(&self, ask: u64) {
        self.alive_asked.answer(ask, ());
    }

    /// Notes the sealed memory in which the status is; `None` if there is none.
    pub(super) fn status_told(&self, ask: u64, memory: Option<OwnedFd>) {
        self.status_asked.answer(ask, memory);
    }

    /// Waits until what happened before this call is remembered.
    pub(super) async fn news(&self) -> Result<(), NoAnswer> {
        self.news.wait(NEWS_PATIENCE).await
    }

    /// Returns what is remembered.
    pub(super) fn recent(&self) -> Ref<'_, Recent> {
        self.recent.borrow()
    }

    /// Notes the sealed memory in which news are; `None` if there are none.
    pub(super) fn news_told(&self, ask: u64, memory: Option<OwnedFd>) {
        self.news_asked.answer(ask, memory);
    }

    /// Asks for news, whenever clients or the history wait for them.
    pub(super) async fn ask_news(self: Rc<Self>) {
        let ask = async || {
            let after = self.recent().last_event();
            let (ask, answer) = self.news_asked.begin();
            self.tell(FromPage::News { ask, after }).await;
            let news = document::read::<News>(answer.await.ok()??);
            let unreadable = |error| error!(%error, "the news cannot be read");
            let news = news.map_err(unreadable).ok()?;
            self.recent.borrow_mut().learn(news);
            Some(())
        };
        self.news.serve(ask).await;
    }

    /// Adds a point to the history every ten seconds.
    pub(super) async fn keep_history(self: Rc<Self>) {
        let began = Instant::now();
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            steps.tick().await;
            let told = self.news().await.is_ok();
            self.recent.borrow_mut().step(began.elapsed(), told);
        }
    }

    /// Asks whether the supervisor's loop turns, whenever clients wait to know.
    pub(super) async fn ask_alive(self: Rc<Self>) {
        let ask = async || {
            let (ask, answer) = self.alive_asked.begin();
            self.tell(FromPage::Alive { ask }).await;
            answer.await.ok()
        };
        self.alive.serve(ask).await;
    }

    /// Asks for the status, whenever clients wait for it.
    pub(super) async fn ask_status(self: Rc<Self>) {
        let ask = async || {
            let place = Arc::clone(&self.documents).acquire_owned().await.ok()?;
            let (ask, answer) = self.status_asked.begin();
            self.tell(FromPage::Status { ask }).await;
            let memory = answer.await.ok()??;
            let read = Document::read(memory, place).map(Rc::new);
            let unreadable = |error| error!(%error, "the status cannot be read");
            read.map_err(unreadable).ok()
        };
        self.status.serve(ask).await;
    }
}

/// The clients that wait for an answer of one kind.
#[derive(Debug)]
struct Queue<A> {
    inlet: mpsc::Sender<oneshot::Sender<A>>,
    waiting: Mutex<mpsc::Receiver<oneshot::Sender<A>>>,
}

impl<A: Clone> Queue<A> {
    fn new() -> Self {
        let (inlet, waiting) = mpsc::channel(WAITING);
        Self {
            inlet,
            waiting: Mutex::new(waiting),
        }
    }

    /// Waits for the answer to an ask that is sent after this call.
    async fn wait(&self, patience: Duration) -> Result<A, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let answered = async {
            let _ = self.inlet.send(reply).await;
            answer.await
        };
        match timeout(patience, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(NoAnswer::Failed),
            Err(_) => Err(NoAnswer::Late),
        }
    }

    /// Calls `ask` whenever clients wait, and gives all of them the answer.
    async fn serve(&self, ask: impl AsyncFn() -> Option<A>) {
        let mut waiting = self.waiting.lock().await;
        while let Some(first) = waiting.recv().await {
            let mut clients = vec![first];
            while let Ok(next) = waiting.try_recv() {
                clients.push(next);
            }
            clients.retain(|client| !client.is_closed());
            if clients.is_empty() {
                continue;
            }
            // A client whose sender is dropped knows that there is no answer.
            if let Some(answer) = ask().await {
                for client in clients {
                    let _ = client.send(answer.clone());
                }
            }
        }
    }
}

/// The ask of one kind that is on its way to the supervisor.
#[derive(Debug)]
struct Asked<A> {
    last: Cell<u64>,
    reply: RefCell<Option<oneshot::Sender<A>>>,
}

impl<A> Default for Asked<A> {
    fn default() -> Self {
        Self {
            last: Cell::new(0),
            reply: RefCell::new(None),
        }
    }
}

impl<A> Asked<A> {
    /// Begins an ask; returns its number and where its answer comes.
    fn begin(&self) -> (u64, oneshot::Receiver<A>) {
        let (reply, answer) = oneshot::channel();
        self.last.set(self.last.get() + 1);
        self.reply.replace(Some(reply));
        (self.last.get(), answer)
    }

    /// Takes the answer to the ask of this number.
    fn answer(&self, ask: u64, answer: A) {
        if ask != self.last.get() {
            return;
        }
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn clients_that_come_while_a_question_is_on_its_way_share_the_next_one() {
        let queue = Queue::new();
        let asked = Asked::default();
        let numbers = Cell::new(0);
        let mut serving = pin!(queue.serve(async || {
            let (number, answer) = asked.begin();
            numbers.set(number);
            answer.await.ok()
        }));
        let mut first = pin!(queue.wait(LONG));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(serving.as_mut().now_or_never().is_none());
        let mut others = pin!(join_all((0..3).map(|_| queue.wait(LONG))));
        assert!(others.as_mut().now_or_never().is_none());
        assert!(serving.as_mut().now_or_never().is_none());
        assert_eq!(numbers.get(), 1);
        asked.answer(1, "one");
        assert!(serving.as_mut().now_or_never().is_none());
        assert_eq!(first.now_or_never(), Some(Ok("one")));
        assert_eq!(numbers.get(), 2);
        asked.answer(2, "two");
        assert!(serving.as_mut().now_or_never().is_none());
        assert_eq!(others.now_or_never(), Some(vec![Ok("two"); 3]));
    }

    #[tokio::test]
    async fn a_client_that_waits_too_long_and_one_without_an_answer_know_it() {
        let queue = Queue::<()>::new();
        let late = queue.wait(Duration::from_millis(1)).await;
        assert_eq!(late, Err(NoAnswer::Late));
        let asked = Cell::new(0);
        let mut serving = pin!(queue.serve(async || {
            asked.set(asked.get() + 1);
            None
        }));
        assert!(serving.as_mut().now_or_never().is_none());
        assert_eq!(asked.get(), 0, "nobody waits any more");
        let mut client = pin!(queue.wait(LONG));
        assert!(client.as_mut().now_or_never().is_none());
        assert!(serving.as_mut().now_or_never().is_none());
        assert_eq!(client.now_or_never(), Some(Err(NoAnswer::Failed)));
    }

    #[tokio::test]
    async fn an_answer_to_another_question_is_none() {
        let asked = Asked::default();
        let (number, answer) = asked.begin();
        asked.answer(number + 1, "another");
        asked.answer(number, "this");
        asked.answer(number, "again");
        assert_eq!(answer.await, Ok("this"));
    }
}
