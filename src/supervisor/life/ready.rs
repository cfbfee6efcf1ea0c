//! Reports to the shell that started the daemon in the background whether the start succeeded.

use std::{
    cell::RefCell,
    io::{PipeReader, PipeWriter, Read as _, Write as _},
    process::ExitCode,
    rc::Rc,
};

use crate::supervisor::refusal::refuse;

/// The daemon's side of the pipe to the waiting shell, if there is one; used once.
#[derive(Debug, Clone, Default)]
pub(in crate::supervisor) struct Ready(Rc<RefCell<Option<PipeWriter>>>);

impl Ready {
    pub(in crate::supervisor) fn new(pipe: PipeWriter) -> Self {
        Self(Rc::new(RefCell::new(Some(pipe))))
    }

    /// Reports that the daemon serves.
    pub(in crate::supervisor) fn succeed(&self) {
        self.tell("R");
    }

    /// Reports why the daemon does not serve.
    pub(in crate::supervisor) fn fail(&self, reason: &str) {
        self.tell(&format!("E{reason}"));
    }

    /// Whether a shell waits.
    pub(in crate::supervisor) fn is_awaited(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn tell(&self, word: &str) {
        if let Some(mut pipe) = self.0.take() {
            // This fails if the shell was interrupted and no longer waits.
            let _ = pipe.write_all(word.as_bytes());
        }
    }
}

/// Waits for the daemon's report; returns the exit status for the shell.
pub(in crate::supervisor) fn await_daemon(mut answer: PipeReader) -> ExitCode {
    let mut text = String::new();
    match answer
        .read_to_string(&mut text)
        .map(|_| text.split_at_checked(1))
    {
        Ok(Some(("R", _))) => ExitCode::SUCCESS,
        Ok(Some(("E", reason))) => refuse(reason),
        _ => refuse("the daemon died before it served; its log may say why"),
    }
}
