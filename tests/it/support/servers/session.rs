//! A client that stays connected.

use std::{
    io::Write as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::super::{
    program::{Outcome, collect, spawn, text_of},
    stream::receive,
};

/// A client that stays connected and can be asked again. It is killed when dropped.
pub(crate) struct Session {
    child: Option<Child>,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    asked: usize,
    deadline: Duration,
}

impl Session {
    pub(super) fn start(mut command: Command, deadline: Duration) -> Self {
        command.stdin(Stdio::piped());
        let mut child = spawn(&mut command);
        let stdout = child.stdout.take().expect("its output is a pipe");
        let lines = receive(stdout);
        Self {
            input: child.stdin.take(),
            stderr: Some(collect(child.stderr.take(), ())),
            child: Some(child),
            lines,
            asked: 0,
            deadline,
        }
    }

    /// Asks in the same connection, and returns the lines of the answer.
    ///
    /// Returns how the client ended when it did, because the statement failed or the connection is gone.
    /// The first call is also the one that finds out whether the client could connect.
    ///
    /// # Panics
    ///
    /// When no answer comes before the deadline.
    pub(crate) fn ask(&mut self, sql: &str) -> Result<String, Outcome> {
        self.asked += 1;
        let mark = format!("end of answer {}", self.asked);
        self.tell(&format!("{sql};\nSELECT '{mark}'"));
        let end = Instant::now() + self.deadline;
        let mut answer = Vec::new();
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line == mark => return Ok(answer.join("\n")),
                Ok(line) => answer.push(line),
                Err(RecvTimeoutError::Disconnected) => return Err(self.end(&answer.join("\n"))),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no answer to {sql:?} in {:?}", self.deadline)
                }
            }
        }
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn tell(&mut self, sql: &str) {
        self.say(&format!("{sql};"));
    }

    /// Answers what the client itself asks its user.
    pub(crate) fn say(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            // A client that has ended cannot read this, and the end of its output tells.
            let _ = writeln!(input, "{line}").and_then(|()| input.flush());
        }
    }

    /// Ends the client politely, as a user does who has no more to ask.
    pub(crate) fn close(mut self) -> Outcome {
        self.input = None;
        let end = Instant::now() + self.deadline;
        let mut rest = Vec::new();
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.end(&rest.join("\n")),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the client did not end in {:?}", self.deadline)
                }
            }
        }
    }

    fn end(&mut self, stdout: &str) -> Outcome {
        self.input = None;
        let child = self.child.take().expect("a session ends once");
        let stderr = self.stderr.take().map(text_of).unwrap_or_default();
        Outcome::of(child, false, stdout.into(), stderr)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It has ended when this fails.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
