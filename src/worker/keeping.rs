//! Tells the supervisor which sessions it is to keep, several at a time.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use tokio::{sync::mpsc::UnboundedReceiver, time::sleep};

use super::contact::{Along, Parcel, Voice};
use crate::{
    facts::{SessionId, UnkeptCounts},
    link::{FromWorker, worker::MOST_OVER, worker::MOST_PAIRS},
    session::{
        keeper::{Keeper, News, Unkept},
        standing::Changes,
    },
};

/// How long news wait for more, so that one message tells of several sessions.
const GATHER: Duration = Duration::from_millis(10);

/// Starts to keep sessions; returns what does. `voice` tells the supervisor, and what sessions answer is noted in
/// `changes`.
pub(super) fn begin(voice: Voice, changes: Arc<Changes>) -> Arc<Keeper> {
    let (keeper, news) = Keeper::new(changes);
    tokio::spawn(tell(news, voice));
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

async fn tell(mut news: UnboundedReceiver<News>, voice: Voice) {
    while let Some(first) = news.recv().await {
        if news.is_empty() {
            sleep(GATHER).await;
        }
        let mut gathered = Gathered::default();
        gathered.take(first);
        while !gathered.is_full() {
            let Ok(next) = news.try_recv() else { break };
            gathered.take(next);
        }
        for parcel in gathered.parcels() {
            voice.send(parcel);
        }
    }
}

fn along(socket: OwnedFd) -> Along {
    Arc::new(socket)
}

impl Gathered {
    fn take(&mut self, news: News) {
        match news {
            News::Keep(id, sockets, unkept) => {
                self.keep.push(id);
                self.sockets.extend(sockets);
                self.until_sent.push(unkept);
            }
            News::Over(id) => self.over.push(id),
            News::Unkept(counts) => self.unkept = Some(counts),
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
                along: self.sockets.into_iter().map(along).collect(),
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
