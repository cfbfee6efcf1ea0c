//! The metrics page, as the supervisor sees it: a socket that stays, and a process that is replaced.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use socket2::SockRef;
use tokio::{sync::oneshot, task::JoinHandle};
use tracing::{error, info, warn};

use super::Helper;
use crate::{
    children::{self, End, Id, Inbox, Launched, Launcher, Role, Voice},
    control::{
        Status,
        wire::{self, MAX_RESPONSE},
    },
    link::{FromPage, News, ToPage},
    supervisor::workers::when_free,
    sys::{
        reserve::Reserve,
        sealed::{Sealed, Unsealed},
    },
    telemetry::log::Sink,
};

/// Clients that may wait in the queue of the page's socket, also while there is no process.
const BACKLOG: i32 = 128;

/// Descriptors kept back for the memory of a status and of news.
const KEPT_BACK: usize = 2;

/// What happens to the page's process.
pub(in crate::supervisor) type PageMessage = children::Message<FromPage>;

/// The page's socket and its process.
#[derive(Debug)]
pub(in crate::supervisor) struct Page {
    /// The process.
    pub(in crate::supervisor) helper: Helper<FromPage, ToPage>,
    /// Kept here, so that the port stays open while the process is replaced.
    socket: Arc<OwnedFd>,
    /// The task that answers an ask of this process for the status.
    answering: Option<(Id, JoinHandle<()>)>,
    reserve: Reserve,
}

impl Page {
    /// Returns its socket.
    pub(in crate::supervisor) fn socket(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.socket)
    }
}

/// Binds the page's address; waits for `patience` while another process still uses it. Blocks.
pub(in crate::supervisor) fn bind(
    address: SocketAddr,
    patience: Duration,
) -> io::Result<TcpListener> {
    let listener = when_free(patience, || TcpListener::bind(address))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Page {
    /// Keeps a page at this socket.
    pub(super) fn new(
        socket: TcpListener,
        launcher: Launcher,
        sink: Sink,
        inbox: Inbox<FromPage>,
    ) -> Self {
        let page = Self {
            helper: Helper::new(Role::Page, launcher, sink, inbox),
            socket: Arc::new(socket.into()),
            answering: None,
            reserve: Reserve::new(KEPT_BACK),
        };
        page.say_address();
        page
    }

    /// Starts and kills the process as is due now.
    pub(super) fn tick(&mut self, now: Duration, patience: Duration) {
        self.helper.tick(now, patience);
        self.reserve.fill();
    }

    /// Takes the process that was started, and lends it the socket.
    pub(in crate::supervisor) fn launched(&mut self, id: Id, launched: io::Result<Launched>) {
        if self.helper.launched(id, launched) {
            self.mend();
            if let Some(voice) = self.voice(id) {
                voice.send_with(ToPage::Listen, vec![Arc::clone(&self.socket)]);
            }
        }
    }

    /// Notes that the process is alive, and looks after the socket that it shares.
    pub(in crate::supervisor) fn beat(&mut self, id: Id) {
        self.helper.heard(id);
        if self.mend() {
            error!(
                "the page's process shut down its port, which it never does by itself; the supervisor has \
                 opened the port again and kills the process"
            );
            self.helper.kill();
        }
    }

    /// Notes the end of the process; returns a sentence about it for the operator.
    pub(in crate::supervisor) fn exited(
        &mut self,
        id: Id,
        end: End,
        now: Duration,
    ) -> Option<String> {
        // Clients wait in the queue until the next process is there.
        self.mend();
        self.helper.exited(id, end, now)
    }

    /// Answers that the supervisor's loop turns.
    pub(in crate::supervisor) fn alive(&self, id: Id, ask: u64) {
        if let Some(voice) = self.voice(id) {
            voice.send_with(ToPage::Alive { ask }, Vec::new());
        }
    }

    /// Returns where to send the status that the process asks for; `None` if it did not wait for the answer
    /// to its ask before, so that this one gets none. Must be called in a [`tokio::task::LocalSet`].
    pub(in crate::supervisor) fn asked(
        &mut self,
        id: Id,
        ask: u64,
    ) -> Option<oneshot::Sender<Status>> {
        let voice = self.voice(id)?.clone();
        let before = self.answering.as_ref();
        if before.is_some_and(|(of, answering)| *of == id && !answering.is_finished()) {
            return None;
        }
        let memory = self.reserve.lend(|| Unsealed::new("proxyd-status"));
        let (reply, status) = oneshot::channel();
        let answering = tokio::task::spawn_local(async move {
            match written(memory, status).await {
                Ok(memory) => voice.send_with(ToPage::Status { ask }, vec![memory.descriptor()]),
                Err(error) => {
                    warn!(%error, "the supervisor cannot send its status to the page");
                    voice.send_with(ToPage::NoStatus { ask }, Vec::new());
                }
            }
        });
        self.answering = Some((id, answering));
        Some(reply)
    }

    /// Answers what is new.
    pub(in crate::supervisor) fn tell_news(&mut self, id: Id, ask: u64, news: &News) {
        let Some(voice) = self.voice(id).cloned() else {
            return;
        };
        let memory = self.reserve.lend(|| Unsealed::new("proxyd-news"));
        let along = memory
            .and_then(|it| sealed(it, news))
            .map(|it| it.descriptor());
        if let Err(error) = &along {
            warn!(%error, "the supervisor cannot tell the page what is new");
        }
        voice.send_with(ToPage::News { ask }, along.into_iter().collect());
    }

    /// Returns what sends messages to the process of this id, if it is the one that runs.
    fn voice(&self, id: Id) -> Option<&Voice<ToPage>> {
        self.helper.process_of(id)?.voice()
    }

    /// Lets the socket not block, and has it listen again if it does not; returns whether it did not.
    fn mend(&self) -> bool {
        let _ = rustix::io::ioctl_fionbio(&self.socket, true);
        if rustix::net::sockopt::socket_acceptconn(&self.socket).unwrap_or(true) {
            return false;
        }
        match rustix::net::listen(&self.socket, BACKLOG) {
            Ok(()) => self.say_address(),
            Err(error) => error!(%error, "the port of the metrics page cannot be opened again"),
        }
        true
    }

    fn say_address(&self) {
        let address = SockRef::from(&self.socket).local_addr();
        if let Some(address) = address.ok().and_then(|it| it.as_socket()) {
            info!(%address, "the metrics page is served");
        }
    }
}

/// Writes a message into memory.
fn sealed(mut memory: Unsealed, message: &impl Serialize) -> io::Result<Sealed> {
    memory.append(&wire::encode(message, MAX_RESPONSE).map_err(io::Error::other)?)?;
    memory.seal()
}

/// Writes a status into memory on another thread, because it may be large.
async fn written(
    memory: io::Result<Unsealed>,
    status: oneshot::Receiver<Status>,
) -> io::Result<Sealed> {
    let memory = memory?;
    let status = status.await.map_err(io::Error::other)?;
    let writing = tokio::task::spawn_blocking(move || sealed(memory, &status));
    writing.await.map_err(io::Error::other)?
}
