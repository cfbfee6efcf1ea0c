//! Programs run to their end: what they said, and how they ended.

use std::{
    env,
    ffi::OsStr,
    io::Read,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Runs a program to its end, without input, and kills it at the deadline.
pub(crate) fn run(mut command: Command, deadline: Duration) -> Outcome {
    command.stdin(Stdio::null());
    let mut child = spawn(&mut command);
    let (working, ended) = mpsc::channel::<()>();
    let stdout = collect(child.stdout.take(), working.clone());
    let stderr = collect(child.stderr.take(), working);
    // Nothing is ever sent: both readers let go of the channel once the program closes its output.
    let late = ended.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout);
    if late {
        // It may have ended just now.
        let _ = child.kill();
    }
    Outcome::of(child, late, text_of(stdout), text_of(stderr))
}

/// How a program ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// By itself, with this status.
    Exit(i32),
    /// By this signal, which did not come from here.
    Signal(i32),
    /// It was killed at the deadline.
    Deadline,
}

/// What a program said and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) end: End,
    /// What it wrote to its standard output, without the last line's end.
    pub(crate) stdout: String,
    /// What it wrote to its standard error, without the last line's end.
    pub(crate) stderr: String,
}

impl Outcome {
    /// Waits for a program's end, of which this was the output.
    pub(crate) fn ended(child: Child, stdout: String, stderr: String) -> Self {
        Self::of(child, false, stdout, stderr)
    }

    pub(super) fn of(mut child: Child, late: bool, stdout: String, stderr: String) -> Self {
        let status = child.wait().expect("the program can be waited for");
        let end = match status.code() {
            _ if late => End::Deadline,
            Some(code) => End::Exit(code),
            None => End::Signal(status.signal().unwrap_or_default()),
        };
        Self {
            end,
            stdout,
            stderr,
        }
    }

    /// Returns its exit status.
    ///
    /// # Panics
    ///
    /// When it did not end by itself.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        match self.end {
            End::Exit(code) => code,
            End::Signal(_) | End::Deadline => panic!("{self:#?}"),
        }
    }

    /// Returns whether the program says that all went well.
    pub(crate) fn is_success(&self) -> bool {
        self.end == End::Exit(0)
    }

    /// Returns what the program answered.
    ///
    /// # Panics
    ///
    /// When it failed.
    #[track_caller]
    pub(crate) fn answer(self) -> String {
        assert!(self.is_success(), "{self:#?}");
        self.stdout
    }

    /// Returns what the program complained about.
    ///
    /// # Panics
    ///
    /// When it did not fail by itself.
    #[track_caller]
    pub(crate) fn complaint(self) -> String {
        assert!(matches!(self.end, End::Exit(1..)), "{self:#?}");
        self.stderr
    }
}

/// Returns a command that sees nothing of the settings of whoever runs the tests.
pub(crate) fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C.UTF-8");
    command
}

pub(crate) fn spawn(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Reads all that comes, and keeps `guard` until then.
pub(crate) fn collect<T: Send + 'static>(
    output: Option<impl Read + Send + 'static>,
    guard: T,
) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut output) = output {
            // What came before an error still tells something.
            let _ = output.read_to_end(&mut bytes);
        }
        drop(guard);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    })
}

pub(crate) fn text_of(reader: JoinHandle<String>) -> String {
    reader.join().expect("a reader does not panic")
}

/// The user and the group of nobody.
pub(crate) const NOBODY: u32 = 65534;

/// Returns the words before a program and its arguments that run it as nobody, in this group.
///
/// `None` skips the test: only root can do that, and not every program is where nobody finds it.
pub(crate) fn as_nobody(program: &str, group: u32) -> Option<Vec<String>> {
    let words = [
        "setpriv".to_owned(),
        format!("--reuid={NOBODY}"),
        format!("--regid={group}"),
        "--clear-groups".to_owned(),
    ];
    let mut probe = clean_command(&words[0]);
    probe.args(&words[1..]).args([program, "--version"]);
    if super::is_root() && probe.output().is_ok_and(|output| output.status.success()) {
        return Some(words.to_vec());
    }
    super::skip("only root can become nobody, by setpriv and with a program that nobody may run");
    None
}
