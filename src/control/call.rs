//! What the supervisor's loop sees of a connection: a question, and where its answer goes.

use tokio::sync::{mpsc, oneshot};

use super::{Request, Response, access::Peer};

/// Responses that may wait for a slow reader.
///
/// The supervisor gives all the events it remembers at once, so this must be more than those.
pub const QUEUE: usize = 4096;

/// A request for the supervisor's loop to answer.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub peer: Peer,
    /// Where the answer goes.
    pub reply: Reply,
}

/// Where the answer to a [`Call`] goes; once this is dropped and what it was given is written, the
/// connection closes.
#[derive(Debug)]
pub struct Reply {
    queue: mpsc::Sender<Parcel>,
}

/// A response, and whom to tell that it is written.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) response: Response,
    pub(super) written: Option<oneshot::Sender<()>>,
}

/// The one who asked has gone, or reads too slowly to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct Gone;

impl Reply {
    /// Returns a reply, and where its responses come out.
    pub(super) fn new() -> (Self, mpsc::Receiver<Parcel>) {
        let (queue, parcels) = mpsc::channel(QUEUE);
        (Self { queue }, parcels)
    }

    /// Gives the only response. It is no fault if the client no longer waits for it.
    pub fn answer(self, response: Response) {
        let _ = self.push(response);
    }

    /// Gives one of several responses, without waiting for the reader.
    pub fn push(&self, response: Response) -> Result<(), Gone> {
        self.enqueue(response, None)
    }

    /// Gives a response and waits until it is written, for a daemon that is about to exit.
    pub async fn deliver(&self, response: Response) -> Result<(), Gone> {
        let (written, done) = oneshot::channel();
        self.enqueue(response, Some(written))?;
        done.await.map_err(|_| Gone)
    }

    /// Returns whether the one who asked has gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits until the one who asked has gone.
    #[cfg(test)]
    pub async fn gone(&self) {
        self.queue.closed().await;
    }

    fn enqueue(
        &self,
        response: Response,
        written: Option<oneshot::Sender<()>>,
    ) -> Result<(), Gone> {
        let parcel = Parcel { response, written };
        self.queue.try_send(parcel).map_err(|_| Gone)
    }
}
