//! A run of the exit-failure command.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{ChildStderr, ChildStdout},
    sync::oneshot,
    time::timeout,
};
use tracing::info;

use crate::{
    config::ExitHook,
    control::ExitHookRun,
    supervisor::life::VARIABLES,
    sys::{
        child::{Jobs, Started},
        processes,
    },
};

/// How much of a run's output goes to the log, in bytes.
const MAX_OUTPUT: u64 = 16 * 1024;

/// How many lines of a run's output go to the log at most.
const MAX_LINES: usize = 256;

/// How long output is still read after the command itself has ended.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// A run to begin: the command, and its environment.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) hook: ExitHook,
    pub(super) environment: Vec<(&'static str, String)>,
}

/// A process group that is killed when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(started: &Started) -> Self {
        Self(i32::try_from(started.pid).ok().map(Pid::from_raw))
    }

    /// Leaves the processes of the group alone.
    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // This fails only if no process is left in the group, which is the aim.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs the command, which the thread of `starts` starts; returns how the run ended.
pub(super) async fn run(job: Job, starts: Arc<Jobs>) -> ExitHookRun {
    let mut ended = ExitHookRun {
        at: Timestamp::now(),
        exit_code: None,
        timed_out: false,
        error: None,
    };
    let (limit, program) = (job.hook.timeout, job.hook.command[0].clone());
    let (sender, started) = oneshot::channel();
    starts.add(move || {
        // If starting took longer than the timeout, the process is killed at once.
        if let Err(Ok(started)) = sender.send(start(&job)) {
            drop(Group::of(&started));
            started.abandon();
        }
    });
    match timeout(limit, started).await {
        Err(_) => ended.timed_out = true,
        Ok(Err(_)) => ended.error = Some(format!("{program}: it was not started")),
        Ok(Ok(Err(error))) => ended.error = Some(format!("{program}: {error}")),
        Ok(Ok(Ok(started))) => finish(started, limit, &mut ended).await,
    }
    ended.at = Timestamp::now();
    ended
}

async fn finish(mut started: Started, limit: Duration, ended: &mut ExitHookRun) {
    let (group, pid) = (Group::of(&started), started.pid);
    let stdout = started.stdout.take().map(ChildStdout::from_std);
    let stderr = started.stderr.take().map(ChildStderr::from_std);
    let output = tokio::task::spawn_local(log_output(
        stdout.and_then(Result::ok),
        stderr.and_then(Result::ok),
    ));
    let mut waited = tokio::task::spawn_local(started.wait());
    if let Ok(status) = timeout(limit, &mut waited).await {
        let status = status.ok().and_then(Result::ok);
        ended.exit_code = status.and_then(|status| status.code());
        let _ = timeout(LAST_OUTPUT, output).await;
        // Processes that the command has left behind on purpose may go on.
        group.release();
    } else {
        ended.timed_out = true;
        // Processes that made a group or a session of their own are found by their parents.
        let others = tokio::task::spawn_blocking(move || processes::descendants(pid)).await;
        drop(group);
        others.into_iter().flatten().for_each(processes::kill);
        // One that waits for a device cannot be killed.
        let _ = timeout(LAST_OUTPUT, waited).await;
    }
}

fn start(job: &Job) -> io::Result<Started> {
    let mut command = Command::new(&job.hook.command[0]);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    Started::spawn(
        command
            .args(&job.hook.command[1..])
            .envs(job.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0),
    )
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
    // The rest is read and dropped, so that the command does not block on a full pipe.
    let mut rest = bounded.into_inner().into_inner();
    let mut space = [0; 4096];
    while rest.read(&mut space).await.is_ok_and(|read| read > 0) {}
}
