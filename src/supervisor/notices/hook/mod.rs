//! The exit-failure command: the one in force, and its runs, one after the other.

mod file;
mod run;

use std::{collections::VecDeque, io, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::mpsc, time::timeout};
use tracing::{info, warn};

use self::{file::HookFile, run::Job};
use super::Message;
use crate::{
    config::ExitHook,
    control::{ExitHookRun, ExitHookSource, ExitHookStatus, Response, server::Reply},
    supervisor::state::HookBook,
    sys::child::Jobs,
};

/// How many runs may wait for the one that goes on.
const QUEUE: usize = 64;

/// How many changes of the command may wait for a disk that does not answer.
const CHANGES: usize = 16;

/// How long a request waits for the disk before it is refused because the disk does not answer.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// The exit-failure command and its runs.
#[derive(Debug)]
pub(in crate::supervisor) struct Hook {
    file: HookFile,
    configured: Option<ExitHook>,
    runtime: Option<ExitHook>,
    last_run: Option<ExitHookRun>,
    waiting: VecDeque<Job>,
    busy: bool,
    /// How many changes are not on disk yet.
    changes: usize,
    /// The thread that writes the file, one change after the other.
    writes: Jobs,
    /// The thread that starts commands.
    starts: Arc<Jobs>,
    inbox: mpsc::UnboundedSender<Message>,
}

/// A change of the command that was kept on disk, or could not be.
#[derive(Debug)]
pub(in crate::supervisor) struct Change {
    hook: Option<ExitHook>,
    kept: Result<(), String>,
    /// `None` once the request was refused because the disk does not answer.
    reply: Option<Reply>,
}

impl Hook {
    /// Begins with the configuration's command and the one kept in `state_dir`, which takes precedence. Goes on with the last
    /// run of an earlier supervisor, and with the command that it was told where the disk has lost that. Blocks.
    pub(in crate::supervisor) fn resume(
        state_dir: &Path,
        configured: Option<ExitHook>,
        inbox: mpsc::UnboundedSender<Message>,
        book: HookBook,
    ) -> io::Result<Self> {
        let file = HookFile::new(state_dir);
        Ok(Self {
            runtime: file.load().or(book.runtime),
            file,
            configured,
            last_run: book.last_run,
            waiting: VecDeque::new(),
            busy: false,
            changes: 0,
            writes: Jobs::new("hook-file")?,
            starts: Arc::new(Jobs::new("hook-starts")?),
            inbox,
        })
    }

    /// Writes down what the next supervisor goes on with.
    pub(in crate::supervisor) fn bequeath(&self) -> HookBook {
        HookBook {
            runtime: self.runtime.clone(),
            last_run: self.last_run.clone(),
        }
    }

    /// Returns when its last run ended; `None` before the first.
    pub(in crate::supervisor) fn last_run_at(&self) -> Option<Timestamp> {
        self.last_run.as_ref().map(|it| it.at)
    }

    /// Returns why the command that is kept in `state_dir` cannot be used, if there is one. Blocks.
    pub(in crate::supervisor) fn doubt(state_dir: &Path) -> Option<String> {
        HookFile::new(state_dir).doubt()
    }

    /// Takes the command of a new configuration.
    pub(in crate::supervisor) fn configure(&mut self, configured: Option<ExitHook>) {
        self.configured = configured;
    }

    /// Sets or clears the command at run time, once the change is on disk.
    pub(in crate::supervisor) fn change(&mut self, hook: Option<ExitHook>, reply: Reply) {
        if self.changes == CHANGES {
            let reason = "the disk does not answer, and other changes of the exit-failure command \
                          wait for it already; the command that was in force still is";
            return reply.answer(Response::Refused {
                reason: reason.to_owned(),
            });
        }
        self.changes += 1;
        let (kept, keeping) = tokio::sync::oneshot::channel();
        let (file, wanted) = (self.file.clone(), hook.clone());
        self.writes
            .add(move || drop(kept.send(file.keep(wanted.as_ref()))));
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(change(hook, keeping, reply, inbox));
    }

    /// Puts a finished change in force; returns it as a sentence if it succeeded.
    pub(in crate::supervisor) fn changed(&mut self, change: Change) -> Option<&'static str> {
        let Change { hook, kept, reply } = change;
        self.changes -= 1;
        let mut sentence = None;
        let response = if let Err(reason) = kept {
            Response::Refused { reason }
        } else {
            sentence = Some(if hook.is_some() {
                "The exit-failure command was set."
            } else {
                "The exit-failure command that was set at run time was cleared."
            });
            self.runtime = hook;
            Response::OnExitFailure(self.status())
        };
        match (reply, &response) {
            (Some(reply), _) => reply.answer(response),
            (None, Response::Refused { reason }) => warn!("{reason}"),
            (None, _) => {}
        }
        sentence
    }

    /// Returns the command in force, where it was set, and the result of its last run.
    pub(in crate::supervisor) fn status(&self) -> ExitHookStatus {
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

    /// Runs the command after the runs that are not over; never waits for it.
    pub(in crate::supervisor) fn fire(&mut self, environment: Vec<(&'static str, String)>) {
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

    /// Notes a run's end and begins the next.
    pub(in crate::supervisor) fn ended(&mut self, run: ExitHookRun) {
        self.busy = false;
        self.last_run = Some(run);
        self.next();
    }

    /// Returns whether there is no run, neither going on nor waiting.
    pub(in crate::supervisor) fn is_idle(&self) -> bool {
        !self.busy
    }

    /// Returns how long the runs that go on and wait may take; zero if there are none.
    pub(in crate::supervisor) fn patience(&self) -> Duration {
        let runs = self.waiting.len() + usize::from(self.busy);
        let timeout = self.in_force().map_or(Duration::ZERO, |hook| hook.timeout);
        timeout.saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX))
    }

    fn next(&mut self) {
        if self.busy {
            return;
        }
        if let Some(job) = self.waiting.pop_front() {
            self.busy = true;
            let (inbox, starts) = (self.inbox.clone(), Arc::clone(&self.starts));
            tokio::task::spawn_local(async move {
                let run = run::run(job, starts).await;
                let _ = inbox.send(Message::HookEnded(run));
            });
        }
    }
}

/// Waits for the disk; refuses the request when that takes too long.
async fn change(
    hook: Option<ExitHook>,
    mut keeping: tokio::sync::oneshot::Receiver<Result<(), String>>,
    reply: Reply,
    inbox: mpsc::UnboundedSender<Message>,
) {
    let mut reply = Some(reply);
    let in_time = timeout(DISK_PATIENCE, &mut keeping).await;
    let kept = if let Ok(kept) = in_time {
        kept
    } else {
        if let Some(reply) = reply.take() {
            reply.answer(Response::Refused {
                reason:
                    "the disk with the state directory does not answer; the command that was in \
                         force still is, and this change comes into force if the disk takes it"
                        .to_owned(),
            });
        }
        keeping.await
    };
    let kept = kept.unwrap_or_else(|_| Err("the change was lost".to_owned()));
    let _ = inbox.send(Message::HookChanged(Change { hook, kept, reply }));
}

/// Returns the result of a run as a sentence.
pub(super) fn describe(run: &ExitHookRun) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(command: &str) -> ExitHook {
        ExitHook {
            command: vec![command.to_owned()],
            timeout: Duration::from_secs(1),
        }
    }

    fn change(hook: Option<ExitHook>, kept: Result<(), String>) -> Change {
        Change {
            hook,
            kept,
            reply: None,
        }
    }

    #[test]
    fn a_change_is_in_force_only_if_the_disk_has_kept_it() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = mpsc::unbounded_channel().0;
        let configured = Some(hook("/configured"));
        let book = HookBook::default();
        let mut held = Hook::resume(folder.path(), configured, inbox, book).unwrap();
        let command = |held: &Hook| held.status().command.unwrap()[0].clone();
        held.changes = 3;
        let lost = change(Some(hook("/new")), Err("No space left".to_owned()));
        assert!(held.changed(lost).is_none());
        assert_eq!(command(&held), "/configured");
        assert!(held.changed(change(Some(hook("/new")), Ok(()))).is_some());
        assert_eq!(command(&held), "/new");
        assert!(held.changed(change(None, Ok(()))).is_some());
        assert_eq!(command(&held), "/configured");
        assert_eq!(held.changes, 0);
    }

    #[test]
    fn the_next_supervisor_knows_the_last_run_and_a_command_that_the_disk_has_lost() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |book: HookBook| {
            let inbox = mpsc::unbounded_channel().0;
            Hook::resume(folder.path(), None, inbox, book).unwrap()
        };
        let mut held = begin(HookBook::default());
        held.changes = 1;
        held.changed(change(Some(hook("/lost")), Ok(())));
        held.ended(ExitHookRun {
            at: Timestamp::UNIX_EPOCH,
            exit_code: Some(3),
            timed_out: false,
            error: None,
        });
        let next = begin(held.bequeath());
        assert_eq!(next.status(), held.status());
        HookFile::new(folder.path())
            .keep(Some(&hook("/on-disk")))
            .unwrap();
        let command = begin(held.bequeath()).status().command.unwrap();
        assert_eq!(command, ["/on-disk"]);
    }
}
