//! Tells the supervisor which sessions it is to keep, several at a time.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::sleep,
};

use crate::{
    facts::{SessionId, UnkeptCounts},
    link::{FromWorker, worker::MOST_OVER, worker::MOST_PAIRS},
    session::keeper::{Keeper, News, Unkept},
};

/// How long news wait for more, so that one message tells of several sessions.
const GATHER: Duration = Duration::from_millis(10);

/// A message to the supervisor.
pub(super) struct Parcel {
    /// The message.
    pub(super) message: FromWorker,
    /// The descriptors that belong to it.
    pub(super) along: Vec<OwnedFd>,
    /// What is dropped when the supervisor has it.
    pub(super) until_sent: Vec<Unkept>,
}

impl From<FromWorker> for Parcel {
    fn from(message: FromWorker) -> Self {
        Self {
            message,
            along: Vec::new(),
            until_sent: Vec::new(),
        }
    }
}

/// Starts to keep sessions; returns what does. The messages for the supervisor go to `outbox`.
pub(super) fn begin(outbox: UnboundedSender<Parcel>) -> Arc<Keeper> {
    let (keeper, news) = Keeper::new();
    tokio::spawn(tell(news, outbox));
    let running = Arc::clone(&keeper);
    tokio::spawn(async move { running.run().await });
    keeper
}

/// News that one message can tell, of each kind.
#[derive(Default)]
struct Gathered {
    keep: Vec<SessionId>,
    sockets: Vec<OwnedFd>,
    until_sent: Vec<Unkept>,
    over: Vec<SessionId>,
    unkept: Option<UnkeptCounts>,
}

async fn tell(mut news: UnboundedReceiver<News>, outbox: UnboundedSender<Parcel>) {
    let mut unkept = UnkeptCounts::default();
    while let Some(first) = news.recv().await {
        if news.is_empty() {
            sleep(GATHER).await;
        }
        let mut gathered = Gathered::default();
        gathered.take(first, &mut unkept);
        while !gathered.is_full() {
            let Ok(next) = news.try_recv() else { break };
            gathered.take(next, &mut unkept);
        }
        for parcel in gathered.parcels() {
            if outbox.send(parcel).is_err() {
                return;
            }
        }
    }
}

impl Gathered {
    fn take(&mut self, news: News, unkept: &mut UnkeptCounts) {
        match news {
            News::Keep(id, sockets, unkept) => {
                self.keep.push(id);
                self.sockets.extend(sockets);
                self.until_sent.push(unkept);
            }
            News::Over(id) => self.over.push(id),
            News::Unkept(reason) => {
                unkept.add(UnkeptCounts::only(reason, 1));
                self.unkept = Some(*unkept);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.keep.len() >= MOST_PAIRS || self.over.len() >= MOST_OVER
    }

    /// Returns the messages. What is to be kept comes first: a session may be over already.
    fn parcels(self) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        if !self.keep.is_empty() {
            parcels.push(Parcel {
                message: FromWorker::Keep { ids: self.keep },
                along: self.sockets,
                until_sent: self.until_sent,
            });
        }
        if !self.over.is_empty() {
            parcels.push(FromWorker::Over { ids: self.over }.into());
        }
        if let Some(counts) = self.unkept {
            parcels.push(FromWorker::Unkept { counts }.into());
        }
        parcels
    }
}
