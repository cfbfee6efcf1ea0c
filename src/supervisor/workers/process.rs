//! A worker process: its link, its log lines and its end.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{ChildStderr, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::UnixStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tracing::warn;

use super::{Message, launcher::Launched};
use crate::{
    facts::ListenerCounts,
    link::{FromWorker, Generation, Handover, ToWorker, channel},
    supervisor::plan::{End, WorkerId},
    sys::child::{Handle, Started},
    telemetry::log::Sink,
};

/// The longest log line that is taken from a worker; a longer one is split.
const MAX_LINE: u64 = 64 * 1024;

/// How long reading a worker's last messages may take after its end.
const LAST_MESSAGES: Duration = Duration::from_millis(500);

/// A worker process, from the request to start it to its end.
#[derive(Debug)]
pub(in crate::supervisor) struct Process {
    /// Its slot.
    pub slot: usize,
    /// When it was started, to show it.
    pub started_at: Timestamp,
    /// When it was started, to compute with it.
    pub started: Instant,
    /// Its last counts of sessions and backends.
    pub counts: Vec<(String, ListenerCounts)>,
    /// The generations that it was handed.
    pub(super) given: Given,
    /// The numbers of the places that it was handed, by listener.
    pub(super) places: BTreeMap<String, u64>,
    life: Life,
}

/// The generations that a worker was handed.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The generation that it makes ready.
    pub(super) staged: Option<Arc<Generation>>,
    /// The generation that it was told to serve and has not confirmed.
    pub(super) unconfirmed: Option<Arc<Generation>>,
    /// The generation that it confirmed last.
    pub(super) confirmed: Option<Arc<Generation>>,
}

impl Given {
    /// Returns the generation to which the next handover is a difference; `None` while it is not certain
    /// which one the worker has.
    pub(super) fn base(&self) -> Option<&Generation> {
        let certain = self.unconfirmed.is_none();
        self.confirmed.as_deref().filter(|_| certain)
    }
}

/// How far the start of a process has come.
#[derive(Debug)]
enum Life {
    /// It is being started; `killed` if it is to be killed as soon as that is done.
    Starting { killed: bool },
    /// It was started.
    Running {
        pid: u32,
        handle: Handle,
        outbox: mpsc::UnboundedSender<Parcel>,
    },
}

/// A message on its way to a worker.
#[derive(Debug)]
struct Parcel {
    message: ToWorker,
    fds: Vec<Arc<OwnedFd>>,
}

impl Process {
    /// Makes the record of a worker that is being started for `slot`.
    pub(super) fn starting(slot: usize) -> Self {
        Self {
            slot,
            started_at: Timestamp::now(),
            started: Instant::now(),
            counts: Vec::new(),
            given: Given::default(),
            places: BTreeMap::new(),
            life: Life::Starting { killed: false },
        }
    }

    /// Takes the process that was started and forwards its messages and its end to `inbox`; returns
    /// `false` if the worker was killed meanwhile.
    pub(super) fn run(
        &mut self,
        id: WorkerId,
        launched: Launched,
        sink: &Sink,
        inbox: &mpsc::UnboundedSender<Message>,
    ) -> io::Result<bool> {
        let Launched { mut started, link } = launched;
        let killed = matches!(self.life, Life::Starting { killed: true });
        let (pid, handle) = (started.pid, started.handle());
        let stderr = started.stderr.take();
        let (outbox, parcels) = mpsc::unbounded_channel();
        self.life = Life::Running {
            pid,
            handle,
            outbox,
        };
        let link = UnixStream::from_std(link).map(Arc::new);
        let heard = link.as_ref().ok().filter(|_| !killed).map(|link| {
            tokio::task::spawn_local(send(Arc::clone(link), parcels));
            tokio::task::spawn_local(receive(Arc::clone(link), id, inbox.clone()))
        });
        tokio::task::spawn_local(wait(started, heard, id, inbox.clone()));
        if killed {
            self.kill();
            return Ok(false);
        }
        if let Some(stderr) = stderr {
            tokio::task::spawn_local(copy_log(stderr, sink.clone()));
        }
        link.map(|_| true)
    }

    /// Returns its process id; `None` while it is being started.
    pub(in crate::supervisor) fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Starting { .. } => None,
            Life::Running { pid, .. } => Some(*pid),
        }
    }

    /// Sends a message after those sent before; a worker that is being started gets none.
    pub(super) fn send(&self, message: ToWorker) {
        self.send_with(message, Vec::new());
    }

    /// Sends a message with the descriptors that belong to it.
    pub(super) fn send_with(&self, message: ToWorker, fds: Vec<Arc<OwnedFd>>) {
        if let Life::Running { outbox, .. } = &self.life {
            // This fails only if the worker has ended, which is noticed elsewhere.
            let _ = outbox.send(Parcel { message, fds });
        }
    }

    /// Hands over a generation, as a difference to what the worker has, to answer this `offer`.
    pub(super) fn hand_over(&self, generation: &Generation, offer: u64) {
        let (handover, packs) = Handover::new(self.given.base(), generation);
        if !packs.is_empty() {
            self.send(ToWorker::MakeRoom);
        }
        self.send_with(ToWorker::Stage { offer, handover }, packs);
    }

    /// Kills the worker, now or as soon as it was started.
    pub(super) fn kill(&mut self) {
        match &mut self.life {
            Life::Starting { killed } => *killed = true,
            Life::Running { handle, .. } => handle.kill(),
        }
    }
}

async fn send(link: Arc<UnixStream>, mut parcels: mpsc::UnboundedReceiver<Parcel>) {
    while let Some(Parcel { message, fds }) = parcels.recv().await {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        match channel::send(&link, &message, channel::TO_WORKER, &fds).await {
            Ok(()) => {}
            // It was too long to begin with, and the link is as it was.
            Err(error) if error.kind() == io::ErrorKind::Other => {
                warn!(%error, "a message to a worker was left out");
            }
            Err(_) => return,
        }
    }
}

async fn receive(link: Arc<UnixStream>, id: WorkerId, inbox: mpsc::UnboundedSender<Message>) {
    let mut receiver = channel::Receiver::new(link, channel::FROM_WORKER);
    loop {
        match receiver.receive::<FromWorker>().await {
            Ok(Some(message)) => {
                if inbox.send(Message::Said(id, message)).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "a worker's link broke");
                return;
            }
        }
    }
}

/// Waits for a worker's end, and reports it after the worker's last message.
async fn wait(
    started: Started,
    heard: Option<JoinHandle<()>>,
    id: WorkerId,
    inbox: mpsc::UnboundedSender<Message>,
) {
    let end = started.wait().await.map_or(End::Unknown, end_of);
    if let Some(heard) = heard {
        // With a deadline, because a child of the worker may hold the link open.
        let _ = timeout(LAST_MESSAGES, heard).await;
    }
    let _ = inbox.send(Message::Exited(id, end));
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Unknown,
    }
}

/// Copies a worker's log lines, which are formatted already.
async fn copy_log(stderr: ChildStderr, sink: Sink) {
    use tokio::io::AsyncReadExt as _;
    let Ok(stderr) = tokio::process::ChildStderr::from_std(stderr) else {
        return;
    };
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => sink.write_line(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream as StdUnixStream, process::Command};

    use super::*;
    use crate::{
        config::Config,
        facts::Trigger,
        link::Packs,
        telemetry::log::{Form, Place},
        tls::{material::Material, testing},
    };

    fn generation(number: u64) -> Arc<Generation> {
        let config: Config = testing::config(vec![]);
        Arc::new(Generation {
            number,
            loaded_at: Timestamp::UNIX_EPOCH,
            trigger: Trigger::Start,
            config: Arc::new(config),
            material: Material {
                identities: vec![],
                listeners: vec![],
                system_roots: vec![],
            },
            packs: Packs::default(),
        })
    }

    #[test]
    fn a_difference_is_told_only_to_what_a_worker_surely_has() {
        let mut given = Given::default();
        assert!(given.base().is_none());
        given.confirmed = Some(generation(1));
        assert_eq!(given.base().unwrap().number, 1);
        given.unconfirmed = Some(generation(2));
        assert!(given.base().is_none());
    }

    #[test]
    fn a_process_that_was_killed_while_it_was_being_started_ends_when_it_is_there() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let (inbox, mut messages) = mpsc::unbounded_channel();
            let mut process = Process::starting(0);
            assert_eq!(process.pid(), None);
            process.kill();
            let launched = Launched {
                started: Started::spawn(Command::new("sleep").arg("60")).unwrap(),
                link: StdUnixStream::pair().unwrap().0,
            };
            launched.link.set_nonblocking(true).unwrap();
            let sink = Sink::new(Place::open("/dev/null".as_ref()).unwrap(), Form::Text).unwrap();
            let lives = process.run(WorkerId(7), launched, &sink, &inbox).unwrap();
            assert!(!lives && process.pid().is_some());
            let ended = messages.recv().await.unwrap();
            assert!(matches!(
                ended,
                Message::Exited(WorkerId(7), End::Signal(9))
            ));
        });
    }
}
