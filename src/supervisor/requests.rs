//! Answers to `proxyctl`.

use std::{collections::BTreeSet, time::Duration};

use tokio::{sync::oneshot, time::timeout};
use tracing::{info, warn};

use super::{
    Counting, Message, Supervisor,
    disk::View,
    plan::{AskId, Event, Slot},
    verdict::Verdict,
};
use crate::{
    config::ExitHook,
    control::{
        DiskState, EventKind, Partial, Request, Response, Status, Trigger,
        server::{Call, Reply},
    },
    link::ToWorker,
};

/// How long a status waits for workers' counts before it does with the last ones.
pub(super) const COUNT_PATIENCE: Duration = Duration::from_millis(300);

/// How long a status waits for the disk before it says that the disk does not answer.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// The same where a program may be running for a passphrase; less than `proxyctl` waits.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(8);

/// How often a status looks at the disk while reloads keep overtaking it.
const LOOKS: u32 = 5;

/// Who asked for a status.
#[derive(Debug)]
pub enum Asker {
    /// Somebody at the control socket.
    Control(Reply),
    /// The metrics page.
    Page(oneshot::Sender<Status>),
}

impl Supervisor {
    /// Answers a request, now or when it is done.
    pub(super) fn answer(&mut self, call: Call) {
        let Call {
            request,
            peer,
            reply,
        } = call;
        match request {
            Request::ReloadTls(partial) => self.reload(Trigger::ReloadTls, partial, reply),
            Request::Reload(partial) => self.reload(Trigger::Reload, partial, reply),
            Request::Status => self.look(Asker::Control(reply)),
            Request::SetOnExitFailure { .. } | Request::ClearOnExitFailure
                if !is_owner(peer.uid) =>
            {
                reply.answer(Response::Refused {
                    reason: "the exit-failure command runs as the daemon's user: only that user \
                             and root may set or clear it"
                        .to_owned(),
                });
            }
            Request::SetOnExitFailure { command, timeout } => {
                self.set_hook(ExitHook { command, timeout }, reply);
            }
            Request::ClearOnExitFailure => self.clear_hook(reply),
            Request::ShowOnExitFailure => {
                reply.answer(Response::OnExitFailure(self.hook.status()));
            }
            Request::Verify => self.verify(reply),
            Request::Events { follow } => self.events.tell(reply, follow),
            Request::Drain => self.end_for(false, reply),
            Request::Stop => self.end_for(true, reply),
        }
    }

    fn reload(&mut self, trigger: Trigger, partial: Partial, reply: Reply) {
        let ask = AskId(self.next_ask());
        self.asks.insert(ask, reply);
        self.tell(Event::Reload {
            ask: Some(ask),
            trigger,
            partial,
        });
    }

    /// Returns a number that no question had before.
    pub(super) fn next_ask(&mut self) -> u64 {
        self.last_asks += 1;
        self.last_asks
    }

    /// Gathers what a status needs, beside the loop.
    pub(super) fn look(&mut self, asker: Asker) {
        self.gather(asker, LOOKS);
    }

    fn gather(&mut self, asker: Asker, looks: u32) {
        let (counted, seen) = (self.count(), self.see_disk());
        let inbox = self.inbox.clone();
        let patience = if self.current.borrow().config.runs_passphrase_program() {
            PROGRAM_PATIENCE
        } else {
            DISK_PATIENCE
        };
        tokio::task::spawn_local(async move {
            let (seen, _) = tokio::join!(timeout(patience, seen), timeout(COUNT_PATIENCE, counted));
            let disk_answers = seen.is_ok();
            let _ = inbox.send(Message::Looked {
                asker,
                disk_answers,
                looks: looks - 1,
            });
        });
    }

    /// Looks at the disk, later than now and once for all who ask meanwhile; what is returned ends
    /// when that is done.
    fn see_disk(&mut self) -> oneshot::Receiver<()> {
        let (done, seen) = oneshot::channel();
        if self.looking.is_empty() {
            self.looking.push(done);
            self.begin_look();
        } else {
            self.looking_next.push(done);
        }
        seen
    }

    fn begin_look(&self) {
        let (reader, last) = (self.reader(), self.view.clone());
        let inbox = self.inbox.clone();
        tokio::task::spawn_blocking(move || {
            let view = reader.look(last);
            let _ = inbox.send(Message::Seen(Box::new(view)));
        });
    }

    /// Takes note of what the disk holds, for those who wait for it.
    pub(super) fn seen(&mut self, view: View) {
        // What differed from the last generation may be this one.
        if view.is_of(&self.current.borrow()) {
            let is_new = self.files.since.seen(&view.verdict, self.now());
            if is_new && view.verdict.by_files && view.verdict.state != DiskState::Same {
                // The watch may not have noticed yet.
                self.files.watching.stir();
            }
        }
        self.view = Some(view);
        self.looking = std::mem::take(&mut self.looking_next);
        self.looking.retain(|waiting| !waiting.is_closed());
        if !self.looking.is_empty() {
            self.begin_look();
        }
    }

    /// Asks all workers for their counts; what is returned ends when they have answered.
    pub(super) fn count(&mut self) -> oneshot::Receiver<()> {
        let (done, counted) = oneshot::channel();
        let ask = self.next_ask();
        let slots = self.plan.slots().iter();
        let missing: BTreeSet<_> = slots.filter_map(Slot::serving).collect();
        for worker in &missing {
            self.send(*worker, ToWorker::Count { ask });
        }
        if !missing.is_empty() {
            self.counting.insert(
                ask,
                Counting {
                    missing,
                    _done: done,
                },
            );
        }
        counted
    }

    /// Answers a status with what was gathered; gathers it again if another generation has come into
    /// service meanwhile, to which the disk was not compared, and `looks` are left.
    pub(super) fn looked(&mut self, asker: Asker, disk_answers: bool, looks: u32) {
        let of_now = |view: &View| view.is_of(&self.current.borrow());
        let is_stale = !self.view.as_ref().is_none_or(of_now);
        if is_stale && disk_answers && looks > 0 {
            return self.gather(asker, looks);
        }
        let verdict = match &self.view {
            Some(view) if disk_answers => view.verdict.clone(),
            _ => {
                let hangs = Verdict::disk_hangs();
                self.files.since.seen(&hangs, self.now());
                hangs
            }
        };
        let status = self.status(verdict);
        match asker {
            Asker::Control(reply) => reply.answer(Response::Status(Box::new(status))),
            Asker::Page(reply) => drop(reply.send(status)),
        }
    }

    fn set_hook(&mut self, hook: ExitHook, reply: Reply) {
        let response = match check_hook(&hook).map(|()| self.hook.set(hook)) {
            Err(reason) => Response::Refused { reason },
            Ok(Err(error)) => Response::Refused {
                reason: format!("the command could not be kept in the state directory: {error}"),
            },
            Ok(Ok(())) => {
                self.say(EventKind::ExitHookSet, "The exit-failure command was set.");
                Response::OnExitFailure(self.hook.status())
            }
        };
        reply.answer(response);
    }

    fn clear_hook(&mut self, reply: Reply) {
        let response = if let Err(error) = self.hook.clear() {
            Response::Refused {
                reason: format!(
                    "the command could not be removed from the state directory: {error}"
                ),
            }
        } else {
            self.say(
                EventKind::ExitHookSet,
                "The exit-failure command that was set at run time was cleared.",
            );
            Response::OnExitFailure(self.hook.status())
        };
        reply.answer(response);
    }

    /// Tells who asked what will happen, and lets it happen once they know.
    fn end_for(&self, at_once: bool, reply: Reply) {
        let within = if at_once {
            Duration::ZERO
        } else {
            self.current.borrow().config.drain_timeout
        };
        let connections = self
            .processes
            .values()
            .flat_map(|process| &process.counts)
            .map(|(_, counts)| counts.connections.open)
            .sum();
        let inbox = self.inbox.clone();
        info!(at_once, "the daemon was told to end");
        tokio::task::spawn_local(async move {
            // Whoever asked may have gone; the daemon ends all the same.
            let _ = reply
                .deliver(Response::Ending {
                    connections,
                    within,
                })
                .await;
            let _ = inbox.send(Message::End { at_once, reply });
        });
    }
}

/// Whether a user is root or the one whom the daemon runs as.
///
/// Others may use the control socket as members of a group, which must not make them this user.
fn is_owner(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

fn check_hook(hook: &ExitHook) -> Result<(), String> {
    let Some(program) = hook.command.first() else {
        return Err("the command is empty".to_owned());
    };
    if !program.starts_with('/') {
        return Err(format!("`{program}` is not an absolute path"));
    }
    if hook.timeout.is_zero() {
        return Err("a timeout of 0 s leaves the command no time to run".to_owned());
    }
    match std::fs::metadata(program) {
        Ok(metadata) if !metadata.is_file() => Err(format!("{program} is not a file")),
        Ok(_) => Ok(()),
        Err(error) => {
            warn!("the exit-failure command cannot be run as things are: {program}: {error}");
            Ok(())
        }
    }
}
