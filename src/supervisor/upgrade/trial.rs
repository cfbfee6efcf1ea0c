//! The trial of a program: it is started as a child, reads what the daemon holds, and says whether it can go on.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream as StdUnixStream, process::CommandExt as _},
    },
    process::{ChildStderr, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream,
    task::{JoinHandle, spawn_blocking, spawn_local},
    time::timeout,
};

use crate::{
    children::End,
    link::{child, end},
    supervisor::{
        life,
        trial::{self, Answer, Ask, MOST_REASON, Ready},
    },
    sys::{
        child::{Handle, Started},
        own_children::OwnChildren,
        processes,
    },
    telemetry::log::Sink,
};

/// How long a program may take to say whether it can go on.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of what a program that is tried writes to its standard error that are read.
const MOST_WRITTEN: u64 = 64 << 10;

/// How long what a program has written is read after its end.
const LAST_LINES: Duration = Duration::from_millis(200);

/// What a trial needs.
#[derive(Debug)]
pub(super) struct Trial {
    /// The program.
    pub(super) program: Arc<OwnedFd>,
    /// The arguments that the daemon was started with, without its name.
    pub(super) arguments: Vec<OsString>,
    pub(super) ask: Ask,
    /// The book, the memory of the generation, and its packs.
    pub(super) state: Vec<Arc<OwnedFd>>,
    /// The list of processes that may not use the control socket.
    pub(super) children: OwnChildren,
    pub(super) sink: Sink,
}

impl Trial {
    /// Runs it; returns what the program says of itself, or why it cannot go on. Must run in a
    /// [`tokio::task::LocalSet`].
    pub(super) async fn run(self) -> Result<Ready, String> {
        let (ours, theirs) = end::pair().map_err(|error| not_started(&error))?;
        let mut command = self.command(theirs);
        let children = self.children.clone();
        // Starting it waits for the disk.
        let started = spawn_blocking(move || {
            let started = Started::spawn(&mut command)?;
            let listed = children.add(started.pid);
            // With the command goes our descriptor of its end of the link.
            drop(command);
            Ok((started, listed))
        });
        let (mut started, _listed) = match timeout(PATIENCE, started).await {
            Ok(Ok(started)) => started.map_err(|error: io::Error| not_started(&error))?,
            Ok(Err(error)) => return Err(format!("the trial failed: {error}")),
            Err(_) => return Err("the disk with the program does not answer".to_owned()),
        };
        let (pid, handle) = (started.pid, started.handle());
        let written = started.stderr.take().map(|it| spawn_local(read_lines(it)));
        let mut ended = spawn_local(started.wait_with_group());
        let answer = timeout(PATIENCE, self.ask_and_hear(ours)).await;
        let mut end = None;
        if matches!(answer, Ok(Err(_))) {
            // How it ends by itself says more than that it was killed.
            end = timeout(LAST_LINES, &mut ended).await.ok();
        }
        end_all(pid, &handle);
        let end = if let Some(end) = end {
            let end = end.unwrap_or_else(|error| Err(io::Error::other(error)));
            Some(End::from(end))
        } else {
            let _ = ended.await;
            None
        };
        let lines = lines(written).await;
        for line in &lines {
            self.sink.write_line(line);
        }
        match answer {
            Ok(Ok(Answer::Ready(ready))) => Ok(ready),
            Ok(Ok(Answer::Refused { reason })) => Err(reason.chars().take(MOST_REASON).collect()),
            Ok(Err(error)) => Err(no_answer(end, &error, lines.last())),
            Err(_) => Err(format!(
                "the program did not say within {} s whether it can go on, and was killed",
                PATIENCE.as_secs()
            )),
        }
    }

    fn command(&self, link: OwnedFd) -> Command {
        // What was judged is what is executed.
        let path = format!("/proc/self/fd/{}", self.program.as_raw_fd());
        let mut command = Command::new(path);
        command
            .arg0("proxyd")
            .arg(child::SUCCESSOR)
            .args(&self.arguments)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(link))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for variable in life::VARIABLES {
            command.env_remove(variable);
        }
        command
    }

    /// Tells the program what it is to go on with, and returns what it answers.
    async fn ask_and_hear(&self, link: OwnedFd) -> io::Result<Answer> {
        let link = UnixStream::from_std(StdUnixStream::from(link))?;
        let along: Vec<_> = self.state.iter().map(|it| it.as_fd()).collect();
        trial::send(&link, &self.ask, &along).await?;
        let (answer, _) = trial::receive(&link, 0).await?;
        Ok(answer)
    }
}

fn not_started(error: &io::Error) -> String {
    format!("the program cannot be started: {error}")
}

/// Ends a program that was tried, and the processes that it has started.
fn end_all(pid: u32, handle: &Handle) {
    let started = processes::descendants(pid);
    handle.kill();
    for process in started {
        processes::kill(process);
    }
}

/// Says why a program gave no answer, with the last line that it wrote; `end` is how it ended, if it did by itself.
fn no_answer(end: Option<End>, error: &io::Error, line: Option<&String>) -> String {
    let how = match (end, error.kind()) {
        (_, io::ErrorKind::InvalidData | io::ErrorKind::Other) => {
            format!("gave an answer that cannot be understood ({error})")
        }
        (Some(end), _) => format!("{end} before it said whether it can go on"),
        (None, _) => "closed its link without an answer".to_owned(),
    };
    let line = line.map_or_else(String::new, |line| format!("; its last line was: {line}"));
    format!("the program {how}{line}; is it a proxyd of this version or a later one?")
}

/// Reads what a program writes to its standard error, up to a limit, and lets it write more.
async fn read_lines(stderr: ChildStderr) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(stderr) = tokio::process::ChildStderr::from_std(stderr) {
        let mut limited = stderr.take(MOST_WRITTEN);
        let _ = limited.read_to_end(&mut bytes).await;
        let mut rest = limited.into_inner();
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
    bytes
}

/// Returns the lines that a program wrote, without control characters.
async fn lines(written: Option<JoinHandle<Vec<u8>>>) -> Vec<String> {
    let Some(written) = written else {
        return Vec::new();
    };
    let Ok(Ok(bytes)) = timeout(LAST_LINES, written).await else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(|line| {
        let shown = line.chars().filter(|it| !it.is_control());
        shown.take(MOST_REASON).collect::<String>()
    });
    lines.filter(|line| !line.trim().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::{
        sys::files::Standard,
        telemetry::log::{Form, Place},
    };

    fn tried(program: &str) -> String {
        let program = std::fs::canonicalize(program).unwrap();
        let place = Place::standard(Standard::Error).unwrap();
        let trial = Trial {
            program: Arc::new(File::open(program).unwrap().into()),
            arguments: vec!["--config".into(), "/nowhere".into()],
            ask: Ask::default(),
            state: vec![],
            children: OwnChildren::default(),
            sink: Sink::new(place, Form::Text).unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, trial.run()).unwrap_err()
    }

    #[test]
    fn a_program_that_ends_without_an_answer_is_told_with_its_status_and_last_line() {
        let told = tried("/bin/true");
        assert!(told.contains("exited with status 0"), "{told}");
        let told = tried("/bin/ls");
        assert!(told.contains("exited with status 2"), "{told}");
        assert!(told.contains("its last line was: "), "{told}");
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_told() {
        let told = tried("/etc/passwd");
        assert!(told.contains("cannot be started"), "{told}");
    }
}
