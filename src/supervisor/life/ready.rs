//! Telling the shell that started the daemon in the background how that went.

use std::{
    cell::RefCell,
    io::{PipeReader, PipeWriter, Read as _, Write as _},
    process::ExitCode,
    rc::Rc,
};

use crate::supervisor::refusal::refuse;

/// Where the end of the start is told, once, when somebody waits for it.
#[derive(Debug, Clone, Default)]
pub(in crate::supervisor) struct Ready(Rc<RefCell<Option<PipeWriter>>>);

impl Ready {
    pub(in crate::supervisor) fn new(pipe: PipeWriter) -> Self {
        Self(Rc::new(RefCell::new(Some(pipe))))
    }

    /// Tells that the daemon serves.
    pub(in crate::supervisor) fn succeed(&self) {
        self.tell("R");
    }

    /// Tells that it does not, and why.
    pub(in crate::supervisor) fn fail(&self, reason: &str) {
        self.tell(&format!("E{reason}"));
    }

    /// Whether somebody waits.
    pub(in crate::supervisor) fn is_awaited(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn tell(&self, word: &str) {
        if let Some(mut pipe) = self.0.take() {
            // If the shell was interrupted, nobody waits.
            let _ = pipe.write_all(word.as_bytes());
        }
    }
}

/// Waits for the daemon's word and gives it to the shell.
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
