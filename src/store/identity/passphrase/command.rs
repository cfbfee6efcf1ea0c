//! Running the program that writes a passphrase: without a shell, bounded in time and output.

use std::{
    env, fmt,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{PidfdFlags, pidfd_open},
};
use tracing::info;
use zeroize::Zeroizing;

use super::{LIMIT, LineFault};
use crate::sys::{orphans::Awaited, processes};

/// How long the program may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How much is kept of what it says about itself.
const SAID_LIMIT: usize = 512;

/// Why no passphrase came from a program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandFault {
    #[error("it could not be run: {0}")]
    Run(#[from] io::Error),
    #[error("it took longer than {} seconds and was killed", .0.as_secs())]
    Late(Duration),
    #[error("it wrote more than {LIMIT} bytes")]
    TooMuch,
    #[error("it {}{}", Ended(*.status), Said(.said))]
    Failed { status: ExitStatus, said: String },
    #[error("{0}")]
    Line(#[from] LineFault),
}

/// Runs a program to its end and returns what it wrote to its standard output.
pub(super) fn output_of(
    command: &[String],
    deadline: Duration,
) -> Result<Zeroizing<Vec<u8>>, CommandFault> {
    let mut run = Run::start(command, deadline)?;
    let status = run.finish()?;
    let said = run.stderr.text();
    if !status.success() {
        return Err(CommandFault::Failed { status, said });
    }
    if let (Some(program), false) = (command.first(), said.is_empty()) {
        info!("passphrase command {program}: {said}");
    }
    Ok(std::mem::take(&mut run.stdout.kept))
}

/// A program that runs; it is killed with its children if this is dropped before it has ended.
struct Run {
    child: Awaited,
    handle: OwnedFd,
    deadline: Duration,
    ends: Instant,
    stdout: Output,
    stderr: Output,
    status: Option<ExitStatus>,
}

/// What happened while a program was waited for.
#[derive(Default)]
struct Turn {
    ended: bool,
    wrote: bool,
}

impl Run {
    fn start(command: &[String], deadline: Duration) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Awaited::spawn(
            Command::new(program)
                .args(arguments)
                .env_clear()
                .envs(env::var_os("PATH").map(|path| ("PATH", path)))
                .current_dir("/")
                .process_group(0)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )?;
        let handle = handle(child.id()).inspect_err(|_| {
            // What cannot be waited for is not left running.
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Self {
            handle,
            stdout: Output::new(child.stdout.take().map(OwnedFd::from), LIMIT),
            stderr: Output::new(child.stderr.take().map(OwnedFd::from), SAID_LIMIT),
            child,
            deadline,
            ends: Instant::now() + deadline,
            status: None,
        })
    }

    /// Waits for its end, and reads what it has written until then: what it left running in the
    /// background may hold its output open for ever.
    fn finish(&mut self) -> Result<ExitStatus, CommandFault> {
        let mut ended = false;
        loop {
            let left = self.ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CommandFault::Late(self.deadline));
            }
            let turn = self.turn(if ended { Duration::ZERO } else { left })?;
            if self.stdout.is_too_much {
                return Err(CommandFault::TooMuch);
            }
            ended |= turn.ended;
            if ended && !turn.wrote {
                let status = self.child.wait()?;
                self.status = Some(status);
                return Ok(status);
            }
        }
    }

    /// Waits until something happens.
    fn turn(&mut self, timeout: Duration) -> io::Result<Turn> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let pipes = [&self.stdout, &self.stderr].map(|it| it.pipe.as_ref().map(File::as_fd));
        let fds = std::iter::once(self.handle.as_fd()).chain(pipes.into_iter().flatten());
        let mut fds: Vec<_> = fds
            .map(|it| PollFd::from_borrowed_fd(it, PollFlags::IN))
            .collect();
        match poll(&mut fds, Some(&timeout)) {
            Err(Errno::INTR) => return Ok(Turn::default()),
            polled => polled?,
        };
        let ready: Vec<bool> = fds.iter().map(|it| !it.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        let mut turn = Turn {
            ended: ready.next() == Some(true),
            wrote: false,
        };
        for output in [&mut self.stdout, &mut self.stderr] {
            if output.pipe.is_some() && ready.next() == Some(true) {
                output.read()?;
                turn.wrote = true;
            }
        }
        Ok(turn)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        let pid = self.child.id();
        // Those that made a group or a session of their own are known by their parents.
        let others = processes::descendants(pid);
        if let Ok(group) = i32::try_from(pid) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        others.into_iter().for_each(processes::kill);
        let _ = self.child.wait();
    }
}

fn handle(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// One of a program's outputs, of which no more than a limit is kept.
struct Output {
    pipe: Option<File>,
    kept: Zeroizing<Vec<u8>>,
    limit: usize,
    is_too_much: bool,
}

impl Output {
    fn new(pipe: Option<OwnedFd>, limit: usize) -> Self {
        Self {
            pipe: pipe.map(File::from),
            // A vector that grows leaves copies of the passphrase behind.
            kept: Zeroizing::new(Vec::with_capacity(limit)),
            limit,
            is_too_much: false,
        }
    }

    /// Reads once what is there, or takes note of the end.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut space = Zeroizing::new([0; 512]);
        let read = match pipe.read(&mut *space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            read => read?,
        };
        if read == 0 {
            self.pipe = None;
        }
        let room = self.limit - self.kept.len();
        self.is_too_much |= read > room;
        self.kept.extend_from_slice(&space[..read.min(room)]);
        Ok(())
    }

    /// Returns what was kept as one line that cannot break a log.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        lines.join("; ").trim().escape_debug().to_string()
    }
}

/// A program's end in words.
struct Ended(ExitStatus);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exited with status {code}"),
            (None, Some(signal)) => write!(f, "was ended by signal {signal}"),
            (None, None) => f.write_str("was ended"),
        }
    }
}

/// What a program said about its end, if it did.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            said => write!(f, " ({said})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, deadline: Duration) -> Result<String, String> {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        output_of(&command, deadline)
            .map(|output| String::from_utf8(output.to_vec()).unwrap())
            .map_err(|fault| fault.to_string())
    }

    fn answer(script: &str) -> Result<String, String> {
        sh(script, DEADLINE)
    }

    #[test]
    fn what_it_writes_is_the_answer_and_what_it_says_is_not() {
        assert_eq!(answer("echo secret; echo note >&2").unwrap(), "secret\n");
    }

    #[test]
    fn it_sees_nothing_of_the_environment_but_the_path_and_has_no_input() {
        let shown = answer("unset PWD SHLVL OLDPWD _; export -p; cat; pwd").unwrap();
        let names: Vec<_> = shown.lines().filter(|it| it.contains("HOME")).collect();
        assert!(names.is_empty(), "{shown}");
        assert!(shown.contains("PATH"), "{shown}");
        assert!(shown.ends_with("/\n"), "{shown}");
    }

    #[test]
    fn it_blocks_and_ignores_no_signal() {
        use nix::sys::signal::SigSet;

        let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_SETMASK);
        let shown = answer("cat /proc/self/status");
        before.unwrap().thread_set_mask().unwrap();
        let shown = shown.unwrap();
        for name in ["SigBlk:\t", "SigIgn:\t"] {
            let line = shown.lines().find_map(|line| line.strip_prefix(name));
            // Beyond the 31 that programs know are those of the C library.
            let signals = u64::from_str_radix(line.unwrap(), 16).unwrap() & 0x7fff_ffff;
            assert_eq!(signals, 0, "{name}: {shown}");
        }
    }

    #[test]
    fn its_failure_is_told_with_what_it_said() {
        let told = answer("echo secret; echo 'no  such\tentry' >&2; echo locked >&2; exit 3");
        let expected = "it exited with status 3 (no  such\\tentry; locked)";
        assert_eq!(told.unwrap_err(), expected);
        assert_eq!(answer("exit 1").unwrap_err(), "it exited with status 1");
        let told = answer("kill -9 $$").unwrap_err();
        assert_eq!(told, "it was ended by signal 9");
        let told = output_of(&["/nonexistent".to_owned()], DEADLINE).unwrap_err();
        assert!(told.to_string().starts_with("it could not be run: No such"));
    }

    #[test]
    fn floods_are_cut_off() {
        let told = answer("while :; do echo secret; done").unwrap_err();
        assert_eq!(told, "it wrote more than 4096 bytes");
        let long = answer("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1").unwrap_err();
        assert!(long.len() < 600, "{long}");
        assert_eq!(answer("head -c 4096 /dev/zero").unwrap().len(), 4096);
    }

    #[test]
    fn it_is_killed_with_its_children_at_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!(
            "sleep 600 & echo $! > {0}; setsid sleep 601 & echo $! >> {0}; wait",
            pids.display()
        );
        let began = Instant::now();
        let told = sh(&script, Duration::from_secs(1)).unwrap_err();
        assert_eq!(told, "it took longer than 1 seconds and was killed");
        assert!(began.elapsed() < Duration::from_secs(60));
        let pids = std::fs::read_to_string(pids).unwrap();
        assert_eq!(pids.lines().count(), 2);
        // A process that was killed takes a moment to die.
        while pids.lines().any(lives) {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
    }

    /// Returns whether that is the id of a process that is neither gone nor only not waited for.
    fn lives(pid: &str) -> bool {
        let about = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = about.rsplit(") ").next().and_then(|it| it.chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    }

    #[test]
    fn what_it_leaves_in_the_background_is_not_waited_for() {
        let began = Instant::now();
        assert_eq!(answer("echo secret; sleep 20 &").unwrap(), "secret\n");
        assert!(began.elapsed() < DEADLINE);
    }
}
