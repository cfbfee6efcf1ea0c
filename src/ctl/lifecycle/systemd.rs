//! Asks systemd whether it restarts a unit or stops it.
//!
//! The main process gets the same signal for both. The job that systemd has for the unit tells them apart, and a program
//! that runs as `ExecStop=` can ask for it.

use std::{
    io::{self, PipeReader, Read as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most bytes of an answer that are read: a line for each of thousands of jobs.
const MOST_BYTES: usize = 1 << 20;

/// Why systemd did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("systemctl cannot be run: {0}")]
    NotRun(#[from] io::Error),
    #[error("systemctl did not answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("systemctl failed: {0}")]
    Failed(String),
}

/// Returns whether systemd is restarting `unit` now.
pub(super) fn restarts(unit: &str) -> Result<bool, NoAnswer> {
    let mut command = Command::new("systemctl");
    // In full, because it would shorten the names of units to the width of a terminal.
    command.args(["list-jobs", "--full", "--no-legend", "--no-pager"]);
    let jobs = ask(command, PATIENCE)?;
    Ok(is_restart(&jobs, unit))
}

/// Returns whether a list of jobs, as `systemctl list-jobs` prints it (a job's number, unit, type and state in a line),
/// has one that restarts `unit`.
fn is_restart(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let is_its = columns.next().is_some_and(|name| is_named(name, unit));
        is_its && matches!(columns.next(), Some("restart" | "try-restart"))
    })
}

/// Returns whether `unit`, which need not end in `.service`, is the name of a unit.
fn is_named(name: &str, unit: &str) -> bool {
    name == unit || name.strip_suffix(".service") == Some(unit)
}

/// Runs a command, and returns what it has written once it has ended.
fn ask(mut command: Command, patience: Duration) -> Result<String, NoAnswer> {
    let until = Instant::now() + patience;
    let (output, theirs) = io::pipe()?;
    let errors = theirs.try_clone()?;
    let mut child = command
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .stdout(theirs)
        .stderr(errors)
        .spawn()?;
    // Its own ends of the pipe would keep the answer from ending.
    drop(command);
    let answer = read(output, until);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = end(child)?;
    let answer = answer?;
    if status {
        return Ok(answer);
    }
    let first = answer.lines().next().unwrap_or("it did not say why");
    Err(NoAnswer::Failed(first.to_owned()))
}

/// Waits for a child that has closed its output or was killed; returns whether it succeeded.
fn end(mut child: Child) -> io::Result<bool> {
    Ok(child.wait()?.success())
}

/// Reads to the end, if that comes in time.
fn read(mut output: PipeReader, until: Instant) -> Result<String, NoAnswer> {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while answer.len() < MOST_BYTES {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(&output, PollFlags::IN)];
        if poll(&mut ready, Some(&left)).map_err(io::Error::from)? == 0 {
            return Err(NoAnswer::Late);
        }
        match output.read(&mut chunk)? {
            0 => break,
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 prints them during `systemctl restart proxyd`, with a legend and without.
    const RESTART: &str = "\
JOB UNIT             TYPE    STATE
402 cron.service     stop    running
397 proxyd.service   restart running

2 jobs listed.
";

    #[test]
    fn a_restart_is_told_from_a_stop() {
        assert!(is_restart(RESTART, "proxyd.service"));
        assert!(is_restart("397 proxyd.service restart running\n", "proxyd"));
        let stop = RESTART.replace("restart", "stop   ");
        assert!(!is_restart(&stop, "proxyd.service"));
    }

    #[test]
    fn the_job_of_another_unit_is_none_of_this_one() {
        assert!(!is_restart(RESTART, "cron.service"));
        assert!(!is_restart(RESTART, "proxy.service"));
        assert!(!is_restart("No jobs running.\n", "proxyd.service"));
        assert!(!is_restart("", "proxyd.service"));
        let escaped = "7 proxyd@a\\x2db.service restart waiting";
        assert!(is_restart(escaped, "proxyd@a\\x2db.service"));
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let answer = ask(shell("seq 20000"), Duration::from_secs(60)).unwrap();
        assert_eq!(answer.lines().last(), Some("20000"));
    }

    #[test]
    fn what_gives_no_answer_says_why() {
        let patience = Duration::from_millis(100);
        let late = ask(shell("exec sleep 60"), patience);
        assert!(matches!(late, Err(NoAnswer::Late)));
        let failed = ask(shell("echo no bus >&2; exit 1"), 100 * patience).unwrap_err();
        assert_eq!(failed.to_string(), "systemctl failed: no bus");
        let missing = ask(Command::new("/nowhere/systemctl"), patience);
        assert!(matches!(missing, Err(NoAnswer::NotRun(_))));
    }
}
