//! The exit-failure command: where it is kept, and its runs, one after the other.

use std::{
    cell::Cell,
    collections::VecDeque,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    rc::Rc,
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};
use tracing::{info, warn};

use super::Message;
use crate::{
    config::ExitHook,
    control::{ExitHookRun, ExitHookSource, ExitHookStatus},
    sys::processes,
};

/// Runs that may wait for the one that goes on.
const QUEUE: usize = 64;

/// How much of a run's output goes to the log.
const MAX_OUTPUT: u64 = 16 * 1024;

/// How many lines of it at the most.
const MAX_LINES: usize = 256;

/// How long output is still read after the command itself has ended.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// The exit-failure command and its runs.
#[derive(Debug)]
pub(super) struct Hook {
    file: PathBuf,
    configured: Option<ExitHook>,
    runtime: Option<ExitHook>,
    last_run: Option<ExitHookRun>,
    waiting: VecDeque<Job>,
    busy: bool,
    /// The process id of the run that goes on.
    running: Rc<Cell<Option<u32>>>,
    inbox: mpsc::UnboundedSender<Message>,
}

/// A run to come: what to run, and what it is told.
#[derive(Debug)]
struct Job {
    hook: ExitHook,
    environment: Vec<(&'static str, String)>,
}

/// What is kept across restarts of the daemon.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    command: Vec<String>,
    timeout_ms: u64,
}

impl Hook {
    /// Begins with the configuration's command and the one kept in `state_dir`, which goes before.
    pub(super) fn new(
        state_dir: &Path,
        configured: Option<ExitHook>,
        inbox: mpsc::UnboundedSender<Message>,
    ) -> Self {
        let file = state_dir.join("on-exit-failure.json");
        let runtime = read(&file).unwrap_or_else(|error| {
            warn!(
                "{}: {error}; going on without the exit-failure command that was set at run time",
                file.display()
            );
            None
        });
        Self {
            file,
            configured,
            runtime,
            last_run: None,
            waiting: VecDeque::new(),
            busy: false,
            running: Rc::new(Cell::new(None)),
            inbox,
        }
    }

    /// Takes the command of a new configuration.
    pub(super) fn configure(&mut self, configured: Option<ExitHook>) {
        self.configured = configured;
    }

    /// Sets the command at run time, and keeps it across restarts of the daemon.
    pub(super) fn set(&mut self, hook: ExitHook) -> io::Result<()> {
        let kept = Kept {
            command: hook.command.clone(),
            timeout_ms: u64::try_from(hook.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        write(&self.file, &serde_json::to_vec_pretty(&kept)?)?;
        self.runtime = Some(hook);
        Ok(())
    }

    /// Takes back what was set at run time.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.runtime = None,
        }
        Ok(())
    }

    /// Returns the command in force, where it was set, and how it went last.
    pub(super) fn status(&self) -> ExitHookStatus {
        let source = match (&self.runtime, &self.configured) {
            (Some(_), _) => ExitHookSource::Runtime,
            (None, Some(_)) => ExitHookSource::Config,
            (None, None) => ExitHookSource::Unset,
        };
        let hook = self.in_force();
        ExitHookStatus {
            command: hook.map(|hook| hook.command.clone()),
            timeout_s: hook.map(|hook| hook.timeout.as_secs_f64()),
            source,
            last_run: self.last_run.clone(),
        }
    }

    fn in_force(&self) -> Option<&ExitHook> {
        self.runtime.as_ref().or(self.configured.as_ref())
    }

    /// Runs the command, after those runs that are not over; never waits for it.
    pub(super) fn fire(&mut self, environment: Vec<(&'static str, String)>) {
        let Some(hook) = self.in_force().cloned() else {
            info!(
                "no exit-failure command is set; set one with `proxyctl set-on-exit-failure -- \
                 COMMAND`"
            );
            return;
        };
        if self.waiting.len() == QUEUE {
            warn!("the exit-failure command is too slow: {QUEUE} runs wait, this one is left out");
            return;
        }
        self.waiting.push_back(Job { hook, environment });
        self.next();
    }

    /// Takes note of a run's end and begins the next; returns it as a sentence.
    pub(super) fn ended(&mut self, run: ExitHookRun) -> String {
        self.busy = false;
        let message = describe(&run);
        self.last_run = Some(run);
        self.next();
        message
    }

    /// Returns whether no run goes on or waits.
    pub(super) fn is_idle(&self) -> bool {
        !self.busy
    }

    /// Returns whether that is the process id of the run that goes on.
    pub(super) fn is_running(&self, pid: u32) -> bool {
        self.running.get() == Some(pid)
    }

    fn next(&mut self) {
        if self.busy {
            return;
        }
        if let Some(job) = self.waiting.pop_front() {
            self.busy = true;
            let (inbox, running) = (self.inbox.clone(), Rc::clone(&self.running));
            tokio::task::spawn_local(async move {
                let run = run(job, &running).await;
                running.set(None);
                let _ = inbox.send(Message::HookEnded(run));
            });
        }
    }
}

fn describe(run: &ExitHookRun) -> String {
    match run {
        ExitHookRun {
            error: Some(error), ..
        } => {
            format!("The exit-failure command could not be run: {error}.")
        }
        ExitHookRun {
            timed_out: true, ..
        } => "The exit-failure command took too long and was killed with its children.".to_owned(),
        ExitHookRun {
            exit_code: Some(code),
            ..
        } => {
            format!("The exit-failure command exited with status {code}.")
        }
        _ => "The exit-failure command was ended by a signal.".to_owned(),
    }
}

/// A process group that is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// Lets what is left of the group go on.
    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // An empty group is what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn run(job: Job, running: &Cell<Option<u32>>) -> ExitHookRun {
    let mut ended = ExitHookRun {
        at: Timestamp::now(),
        exit_code: None,
        timed_out: false,
        error: None,
    };
    match start(&job) {
        Err(error) => ended.error = Some(format!("{}: {error}", job.hook.command[0])),
        Ok((mut child, group)) => {
            running.set(child.id());
            let output =
                tokio::task::spawn_local(log_output(child.stdout.take(), child.stderr.take()));
            if let Ok(status) = timeout(job.hook.timeout, child.wait()).await {
                ended.exit_code = status.ok().and_then(|status| status.code());
                let _ = timeout(LAST_OUTPUT, output).await;
                // What it started and left behind on purpose may go on.
                group.release();
            } else {
                ended.timed_out = true;
                // Those that made a group or a session of their own are known by their parents.
                let others = child.id().map(processes::descendants).unwrap_or_default();
                drop(group);
                others.into_iter().for_each(processes::kill);
                let _ = child.wait().await;
            }
        }
    }
    ended.at = Timestamp::now();
    ended
}

fn start(job: &Job) -> io::Result<(Child, Group)> {
    let mut command = Command::new(&job.hook.command[0]);
    let child = command
        .args(&job.hook.command[1..])
        .envs(job.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let pid = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .ok_or_else(|| io::Error::other("it has no process id"))?;
    Ok((child, Group(Some(Pid::from_raw(pid)))))
}

async fn log_output(
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
) {
    tokio::join!(log_lines(stdout, "stdout"), log_lines(stderr, "stderr"));
}

async fn log_lines(stream: Option<impl AsyncRead + Unpin>, name: &'static str) {
    let Some(stream) = stream else { return };
    let mut bounded = BufReader::new(stream.take(MAX_OUTPUT));
    let mut line = Vec::new();
    for _ in 0..MAX_LINES {
        if !matches!(bounded.read_until(b'\n', &mut line).await, Ok(1..)) {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        info!(
            stream = name,
            "exit-failure command: {}",
            text.trim_end().escape_debug()
        );
        line.clear();
    }
    // The rest is read and forgotten, so that the command does not block on a full pipe.
    let mut rest = bounded.into_inner().into_inner();
    let mut space = [0; 4096];
    while rest.read(&mut space).await.is_ok_and(|read| read > 0) {}
}

fn read(file: &Path) -> io::Result<Option<ExitHook>> {
    let text = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let kept: Kept = serde_json::from_slice(&text)?;
    if kept.command.is_empty() {
        return Err(io::Error::other("the command is empty"));
    }
    Ok(Some(ExitHook {
        command: kept.command,
        timeout: Duration::from_millis(kept.timeout_ms),
    }))
}

/// Writes a file whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension("json.new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&temporary).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, file)) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(())
}
