//! A worker process: its start, its link and its end.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::UnixStream,
    process::{Child, ChildStderr, Command},
    sync::mpsc,
};
use tracing::warn;

use super::{Message, places::Held, plan::WorkerId};
use crate::{
    cli,
    config::Log,
    control::ListenerCounts,
    link::{FromWorker, Generation, ToWorker, channel},
    sys::privileges::Account,
    telemetry::log::Sink,
};

/// The longest log line that is taken from a worker; a longer one is broken.
const MAX_LINE: u64 = 64 * 1024;

/// A worker process that was started.
#[derive(Debug)]
pub(super) struct Process {
    /// Its slot.
    pub slot: usize,
    /// Its process id.
    pub pid: u32,
    /// When it was started, for people.
    pub started_at: Timestamp,
    /// When it was started, for sums.
    pub started: Instant,
    /// The sessions and backends it told of last.
    pub counts: Vec<(String, ListenerCounts)>,
    /// The generation that it was handed last.
    pub(super) given: Option<Arc<Generation>>,
    /// What it holds of the listeners' places.
    pub(super) held: Vec<Held>,
    handle: OwnedFd,
    outbox: mpsc::UnboundedSender<Parcel>,
}

/// Something on its way to a worker.
#[derive(Debug)]
struct Parcel {
    message: ToWorker,
    fds: Vec<OwnedFd>,
}

/// How a worker process is started.
#[derive(Debug)]
pub(super) struct Launcher {
    /// Whom it runs as; `None` is the supervisor's user.
    pub account: Option<Account>,
    /// How it logs.
    pub log: Log,
    /// Where its log lines go.
    pub sink: Sink,
    /// Where its messages and its end are told.
    pub inbox: mpsc::UnboundedSender<Message>,
}

impl Launcher {
    /// Starts a worker for `slot`: a fresh execution of this program with nothing but a link.
    pub(super) fn launch(&self, id: WorkerId, slot: usize) -> io::Result<Process> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = Arc::new(UnixStream::from_std(ours)?);
        let mut child = self.command(slot, theirs).spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it has no id"))?;
        // Its id may be given to another process once it was waited for; this handle is not.
        let handle = pidfd_open(process_id(pid)?, PidfdFlags::empty())?;
        if let Some(stderr) = child.stderr.take() {
            tokio::task::spawn_local(copy_log(stderr, self.sink.clone()));
        }
        let (outbox, parcels) = mpsc::unbounded_channel();
        tokio::task::spawn_local(send(Arc::clone(&ours), parcels));
        tokio::task::spawn_local(receive(ours, id, self.inbox.clone()));
        tokio::task::spawn_local(wait(child, id, self.inbox.clone()));
        Ok(Process {
            slot,
            pid,
            started_at: Timestamp::now(),
            started: Instant::now(),
            counts: Vec::new(),
            given: None,
            held: Vec::new(),
            handle,
            outbox,
        })
    }

    fn command(&self, slot: usize, link: StdUnixStream) -> Command {
        // This names the program that runs now, even if its file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("proxyd")
            .args([cli::worker::NAME, &slot.to_string()])
            .arg(clap_name(&self.log.level))
            .arg(clap_name(&self.log.format))
            .env_clear()
            .current_dir("/")
            // An interrupt typed at a terminal is for the supervisor, which drains.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(link)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(account) = &self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

fn process_id(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("it has no id"))
}

/// Returns the lower-case name by which clap knows a value.
fn clap_name<T: clap::ValueEnum>(value: &T) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

impl Process {
    /// Sends a message, with the descriptors that belong to it, after those sent before.
    pub(super) fn send(&self, message: ToWorker, fds: Vec<OwnedFd>) {
        // If the worker is gone, its end is told by other means.
        let _ = self.outbox.send(Parcel { message, fds });
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        // It may have ended already.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

async fn send(link: Arc<UnixStream>, mut parcels: mpsc::UnboundedReceiver<Parcel>) {
    while let Some(Parcel { message, fds }) = parcels.recv().await {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        if channel::send(&link, &message, channel::TO_WORKER, &fds)
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn receive(link: Arc<UnixStream>, id: WorkerId, inbox: mpsc::UnboundedSender<Message>) {
    let mut receiver = channel::Receiver::new(link, channel::FROM_WORKER);
    loop {
        match receiver.receive::<FromWorker>().await {
            Ok(Some(message)) => {
                if inbox.send(Message::FromWorker(id, message)).is_err() {
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

async fn wait(mut child: Child, id: WorkerId, inbox: mpsc::UnboundedSender<Message>) {
    let status: io::Result<ExitStatus> = child.wait().await;
    let _ = inbox.send(Message::Exited(id, status.ok()));
}

/// Copies a worker's log lines, which are formatted already.
async fn copy_log(stderr: ChildStderr, sink: Sink) {
    use tokio::io::AsyncReadExt as _;
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
