//! Notices for operators: events, failures of workers, and the exit-failure command.

mod events;
mod failure;
mod hook;

use jiff::Timestamp;
use tracing::{error, info, warn};

use self::hook::Change;
pub(super) use self::{events::Events, failure::Circumstances, hook::Hook};
use super::{
    plan::Failure,
    state::{Book, EventsBook},
};
use crate::control::{EventKind, ExitHookRun, ExitStatus};

/// What happens to the exit-failure command.
#[derive(Debug)]
pub(super) enum Message {
    /// A change of the command was kept on disk, or could not be.
    HookChanged(Change),
    /// A run of the command is over.
    HookEnded(ExitHookRun),
}

/// The events, the last failure of a worker, and the exit-failure command.
#[derive(Debug)]
pub(super) struct Notices {
    pub(super) events: Events,
    pub(super) hook: Hook,
    last_failure: Option<ExitStatus>,
}

impl Notices {
    /// Goes on with the events and the last failure of an earlier supervisor.
    pub(super) fn resume(hook: Hook, events: EventsBook, last: Option<ExitStatus>) -> Self {
        Self {
            events: Events::resume(events),
            hook,
            last_failure: last,
        }
    }

    /// Writes down what the next supervisor goes on with.
    pub(super) fn bequeath(&self, book: &mut Book) {
        book.events = self.events.bequeath();
        book.hook = self.hook.bequeath();
        book.restarts.last.clone_from(&self.last_failure);
    }

    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::HookChanged(change) => {
                if let Some(sentence) = self.hook.changed(change) {
                    self.say(EventKind::ExitHookSet, sentence);
                }
            }
            Message::HookEnded(run) => {
                let (failed, message) = (run.exit_code != Some(0), hook::describe(&run));
                self.hook.ended(run);
                if failed {
                    warn!("{message}");
                } else {
                    info!("{message}");
                }
                self.events.add(EventKind::ExitHook, message);
            }
        }
    }

    /// Logs a sentence and remembers it as an event.
    pub(super) fn say(&mut self, kind: EventKind, message: &str) {
        info!("{message}");
        self.events.add(kind, message.to_owned());
    }

    /// Logs a worker's failure, remembers it, and runs the exit-failure command.
    pub(super) fn report(&mut self, failure: &Failure, circumstances: &Circumstances) {
        let exit = circumstances.exit(failure, Timestamp::now());
        let message = failure::describe(&exit, failure);
        error!("{message}");
        self.events.add(EventKind::WorkerFailed, message);
        self.hook.fire(circumstances.environment(&exit));
        self.last_failure = Some(exit);
    }

    /// Returns the end of the last worker that failed.
    pub(super) fn last_failure(&self) -> Option<&ExitStatus> {
        self.last_failure.as_ref()
    }
}
