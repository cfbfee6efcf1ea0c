//! Starting worker processes, on a thread that may wait for the disk.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt as _},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc;

use super::Message;
use crate::{
    cli,
    config::LogLevel,
    supervisor::plan::WorkerId,
    sys::{
        child::{Jobs, Started},
        privileges::Account,
        reserve::Reserve,
    },
    telemetry::log::Form,
};

/// Descriptors kept back for starting workers: a start needs fewer than ten for a moment and leaves three open.
const KEPT_BACK: usize = 16;

/// How worker processes are started.
#[derive(Debug)]
pub(in crate::supervisor) struct Launcher {
    starts: Arc<Starts>,
    jobs: Jobs,
    inbox: mpsc::UnboundedSender<Message>,
}

/// What the starts of all workers share.
#[derive(Debug)]
struct Starts {
    /// The user that workers run as; `None` is the supervisor's user.
    account: Option<Account>,
    /// The severity of their log lines.
    level: LogLevel,
    /// The form of their log lines.
    form: Form,
    reserve: Mutex<Reserve>,
    /// Whether descriptors are missing from the reserve that no job is there to fill in.
    lacks: AtomicBool,
}

/// A worker process that was started.
#[derive(Debug)]
pub(in crate::supervisor) struct Launched {
    pub(super) started: Started,
    pub(super) link: UnixStream,
}

impl Launcher {
    /// Makes a launcher that starts workers as `account`, with this level and form of their log lines,
    /// and sends `inbox` a message for each start.
    pub(in crate::supervisor) fn new(
        account: Option<Account>,
        (level, form): (LogLevel, Form),
        inbox: mpsc::UnboundedSender<Message>,
    ) -> io::Result<Self> {
        let starts = Starts {
            account,
            level,
            form,
            reserve: Mutex::new(Reserve::new(KEPT_BACK)),
            lacks: AtomicBool::new(false),
        };
        Ok(Self {
            starts: Arc::new(starts),
            jobs: Jobs::new("worker-starts")?,
            inbox,
        })
    }

    /// Starts a worker for `slot` on another thread, so that the caller does not wait.
    pub(super) fn launch(&self, id: WorkerId, slot: usize) {
        let (starts, inbox) = (Arc::clone(&self.starts), self.inbox.clone());
        self.jobs.add(move || {
            let launched = starts.launch(slot);
            let _ = inbox.send(Message::Launched(id, launched));
        });
    }

    /// Keeps back descriptors again that a start used up, once there are any.
    pub(super) fn refill(&self) {
        if self.starts.lacks.swap(false, Ordering::Relaxed) {
            let starts = Arc::clone(&self.starts);
            self.jobs.add(move || starts.refill());
        }
    }
}

impl Starts {
    fn launch(&self, slot: usize) -> io::Result<Launched> {
        let launched = self.reserve().lend(|| {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let started = Started::spawn(&mut self.command(slot, theirs))?;
            Ok(Launched {
                started,
                link: ours,
            })
        });
        self.refill();
        launched
    }

    fn refill(&self) {
        let is_full = self.reserve().fill();
        self.lacks.store(!is_full, Ordering::Relaxed);
    }

    fn reserve(&self) -> MutexGuard<'_, Reserve> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the command that starts a worker: a fresh execution of this program with nothing but a
    /// link.
    fn command(&self, slot: usize, link: UnixStream) -> Command {
        // This path is the program that runs now, even if its file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("proxyd")
            .args([cli::worker::NAME, &slot.to_string()])
            .arg(clap_name(&self.level))
            .arg(clap_name(&self.form))
            .env_clear()
            .current_dir("/")
            // In a process group of its own, because an interrupt typed at a terminal is for the
            // supervisor, which drains.
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

/// Returns the lower-case name by which clap knows a value.
fn clap_name<T: clap::ValueEnum>(value: &T) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
