//! What a worker says, on its way to the supervisor that it has.

use std::{
    any::Any,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::JoinHandle,
};
use tracing::warn;

use crate::{
    link::{Fault, FromWorker, end::Sender},
    session::table::{Table, with_table},
};

/// A descriptor that belongs to a message, and stays open until that is sent.
pub(in crate::worker) type Along = Arc<dyn AsFd + Send + Sync>;

/// A message to the supervisor.
pub(in crate::worker) struct Parcel {
    /// The message.
    pub(in crate::worker) message: FromWorker,
    /// The descriptors that belong to it.
    pub(in crate::worker) along: Vec<Along>,
    /// What is dropped when the supervisor has it, or there is none to have it.
    pub(in crate::worker) until_sent: Vec<Box<dyn Any + Send>>,
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

/// Tells the supervisor things. While there is none, what is told is dropped at once. Clones tell the same supervisor.
#[derive(Clone)]
pub(in crate::worker) struct Voice {
    /// Messages without descriptors, which go before all that wait in the other queue.
    pub(in crate::worker) outbox: UnboundedSender<FromWorker>,
    /// Messages with descriptors, and those that have to keep their order among these.
    pub(in crate::worker) parcels: UnboundedSender<Parcel>,
    links: UnboundedSender<Option<Sender<FromWorker>>>,
}

impl Voice {
    /// Begins with a link; returns the task that sends, which ends once no clone is left and all messages without
    /// descriptors are sent. Must be called in a runtime.
    pub(in crate::worker) fn new(link: Sender<FromWorker>) -> (Self, JoinHandle<()>) {
        let (outbox, messages) = unbounded_channel();
        let (parcels, along) = unbounded_channel();
        let (links, link_changes) = unbounded_channel();
        let speaking = Speaking {
            link: Some(link),
            links: link_changes,
            messages,
            parcels: along,
        };
        let task = tokio::spawn(speaking.run());
        let voice = Self {
            outbox,
            parcels,
            links,
        };
        (voice, task)
    }

    /// Tells the supervisor something.
    pub(in crate::worker) fn tell(&self, message: FromWorker) {
        let _ = self.outbox.send(message);
    }

    /// Tells the supervisor something with descriptors, or after what was told so before.
    pub(in crate::worker) fn send(&self, parcel: impl Into<Parcel>) {
        let _ = self.parcels.send(parcel.into());
    }

    /// Returns once the supervisor has all that was told before, or there is none to have it.
    pub(in crate::worker) async fn has_sent(&self) {
        let (until_sent, sent) = oneshot::channel::<()>();
        let parcel = Parcel {
            until_sent: vec![Box::new(until_sent)],
            ..FromWorker::Beat.into()
        };
        self.send(parcel);
        // It is dropped, not used.
        let _ = sent.await;
    }

    /// Drops from now on what is told.
    pub(super) fn end_link(&self) {
        let _ = self.links.send(None);
    }

    /// Tells another supervisor from now on.
    pub(super) fn begin_link(&self, link: Sender<FromWorker>) {
        let _ = self.links.send(Some(link));
    }
}

/// The task that sends.
struct Speaking {
    /// The link; `None` while there is no supervisor.
    link: Option<Sender<FromWorker>>,
    links: UnboundedReceiver<Option<Sender<FromWorker>>>,
    messages: UnboundedReceiver<FromWorker>,
    parcels: UnboundedReceiver<Parcel>,
}

impl Speaking {
    /// Sends the messages of both queues until the first queue is closed.
    async fn run(mut self) {
        loop {
            let parcel = tokio::select! {
                biased;
                Some(link) = self.links.recv() => {
                    self.link = link;
                    continue;
                }
                message = self.messages.recv() => match message {
                    Some(message) => message.into(),
                    None => return,
                },
                Some(parcel) = self.parcels.recv() => parcel,
            };
            self.send(parcel).await;
        }
    }

    async fn send(&mut self, parcel: Parcel) {
        let sent = match &self.link {
            Some(link) => {
                let along: Vec<BorrowedFd<'_>> = parcel.along.iter().map(|it| it.as_fd()).collect();
                link.send(&parcel.message, &along).await
            }
            None => Ok(()),
        };
        drop(parcel.until_sent);
        if matches!(parcel.message, FromWorker::TookOver { .. }) {
            // The supervisor gives the tables that were taken over to no other worker any more; if there is none, no
            // process has them.
            with_table(Table::forget_ends);
        }
        match sent {
            Ok(()) => {}
            // The worker will hear that it is gone.
            Err(Fault::Io(_)) => self.link = None,
            // The message was not sent, and the link still works.
            Err(fault) => warn!(%fault, "this worker could not send the supervisor a message"),
        }
    }
}
