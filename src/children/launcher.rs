//! Starting child processes, on a thread that may wait for the disk.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Id, Inbox, Message, Role};
use crate::{
    config::LogLevel,
    link::end,
    sys::{
        child::{Jobs, Started},
        own_children::{Listed, OwnChildren},
        privileges::Account,
        reserve::Reserve,
    },
    telemetry::log::Form,
};

/// Descriptors kept back for starting children: a start needs fewer than ten for a moment and leaves three open.
const KEPT_BACK: usize = 16;

/// How child processes are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    starts: Arc<Starts>,
    jobs: Arc<Jobs>,
}

/// What the starts of all children share.
#[derive(Debug)]
struct Starts {
    /// The user that children run as; `None` is the supervisor's user.
    account: Option<Account>,
    /// The list that keeps children from the control socket.
    children: OwnChildren,
    /// The severity of their log lines.
    level: LogLevel,
    /// The form of their log lines.
    form: Form,
    reserve: Mutex<Reserve>,
    /// Whether descriptors are missing from the reserve that no job is there to fill in.
    lacks: AtomicBool,
}

/// A child process that was started.
#[derive(Debug)]
pub struct Launched {
    pub(super) started: Started,
    pub(super) link: OwnedFd,
    pub(super) listed: Listed,
}

impl Launcher {
    /// Makes a launcher that starts children as `account`, with this level and form of their log lines, and
    /// has them on the list of `children` until they end.
    pub fn new(
        (account, children): (Option<Account>, OwnChildren),
        (level, form): (LogLevel, Form),
    ) -> io::Result<Self> {
        let starts = Starts {
            account,
            children,
            level,
            form,
            reserve: Mutex::new(Reserve::new(KEPT_BACK)),
            lacks: AtomicBool::new(false),
        };
        Ok(Self {
            starts: Arc::new(starts),
            jobs: Arc::new(Jobs::new("child-starts")?),
        })
    }

    /// Starts a child on another thread, so that the caller does not wait, and sends `inbox` a message
    /// when that is done.
    pub fn launch<In: Send + 'static>(&self, id: Id, role: Role, inbox: Inbox<In>) {
        let starts = Arc::clone(&self.starts);
        self.jobs.add(move || {
            let launched = starts.launch(role);
            let _ = inbox.blocking_send(Message::Launched(id, launched));
        });
    }

    /// Puts a process that was not started by this on the list of the daemon's children.
    pub fn list(&self, pid: u32) -> Listed {
        self.starts.children.add(pid)
    }

    /// Keeps back descriptors again that a start used up, once there are any.
    pub fn refill(&self) {
        if self.starts.lacks.swap(false, Ordering::Relaxed) {
            let starts = Arc::clone(&self.starts);
            self.jobs.add(move || starts.refill());
        }
    }
}

impl Starts {
    fn launch(&self, role: Role) -> io::Result<Launched> {
        let launched = self.reserve().lend(|| {
            let (ours, theirs) = end::pair()?;
            let started = Started::spawn(&mut self.command(role, theirs))?;
            let listed = self.children.add(started.pid);
            Ok(Launched {
                started,
                link: ours,
                listed,
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

    /// Returns the command that starts a child: a fresh execution of this program with nothing but a
    /// link.
    fn command(&self, role: Role, link: OwnedFd) -> Command {
        // This path is the program that runs now, even if its file was replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("proxyd")
            .arg(role.name())
            .args(role.arguments())
            .arg(clap_name(&self.level))
            .arg(clap_name(&self.form))
            .env_clear()
            .current_dir("/")
            // In a process group of its own, because an interrupt typed at a terminal is for the
            // supervisor, which drains; and because what a child leaves behind is ended with its group.
            .process_group(0)
            .stdin(Stdio::from(link))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        #[cfg(feature = "points")]
        if let Role::Worker { .. } = role {
            command.envs(crate::sys::upgrade_points::worker_order());
        }
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
