//! The door by which the next supervisor comes in.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixListener as StdUnixListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tracing::warn;

use crate::{
    link::door::{OfWorker, admit},
    sys::reserve::{Reserve, is_shortage},
};

/// How long one that comes to the door may take to say which formats it speaks. Others wait meanwhile.
const HELLO: Duration = Duration::from_secs(1);

/// The pause after the door could not be opened, which is for lack of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// A door. Clones are the same.
#[derive(Debug, Clone)]
pub(in crate::worker) struct Door {
    listener: Arc<UnixListener>,
    /// The user who may come in beside root.
    owner: u32,
    /// A descriptor kept back, because sessions may have taken all others when the next supervisor comes.
    reserve: Arc<Mutex<Reserve>>,
}

impl Door {
    /// Takes a door, which must not block. Must be called in a runtime.
    pub(in crate::worker) fn new(socket: OwnedFd, owner: u32) -> io::Result<Self> {
        Ok(Self {
            listener: Arc::new(UnixListener::from_std(StdUnixListener::from(socket))?),
            owner,
            reserve: Arc::new(Mutex::new(Reserve::new(1))),
        })
    }

    /// Accepts the next process that comes to the door.
    async fn accept(&self) -> io::Result<UnixStream> {
        let accepted = self.listener.accept().await;
        let accepted = match accepted {
            Err(error) if is_shortage(&error) => {
                self.reserve().release();
                self.listener.accept().await
            }
            accepted => accepted,
        };
        self.reserve().fill();
        Ok(accepted?.0)
    }

    /// Locks the reserve, which only the worker's one thread uses, so this never waits.
    fn reserve(&self) -> MutexGuard<'_, Reserve> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a supervisor, and lets it in.
    pub(super) async fn next(self) -> OfWorker {
        loop {
            let socket = match self.accept().await {
                Ok(socket) => socket,
                Err(error) => {
                    warn!(%error, "this worker cannot accept a supervisor at its door");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            match timeout(HELLO, admit(socket, self.owner)).await {
                Ok(Ok(halves)) => return halves,
                Ok(Err(refusal)) => warn!("a process was turned away at the door: {refusal}"),
                Err(_) => warn!("a process was turned away at the door: it said nothing"),
            }
        }
    }
}
