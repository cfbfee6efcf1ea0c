//! Answers to `proxyctl`.

use std::time::{Duration, Instant};

use tracing::info;

use super::{Supervisor, life::How, orphans, plan::Event, queries::StatusRequester, witnesses};
use crate::{
    config::ExitHook,
    control::{
        EventKind, Request, Response,
        fixed::{self, Answer},
        server::{Call, Reply},
    },
    facts::{Partial, Reads, Trigger, amount},
    link::PARTING,
};

/// How long runs of the exit-failure command may delay a supervisor that leaves: less than the unit gives `ExecStop=`.
const LEAVE_PATIENCE: Duration = Duration::from_secs(20);

impl Supervisor {
    /// Answers a request, now or when its work is done.
    pub(super) fn answer(&mut self, call: Call) {
        let Call {
            request,
            peer,
            reply,
        } = call;
        match request {
            Request::ReloadTls(partial, reads) => {
                if reads == Reads::All {
                    self.loads.demand_contents();
                }
                self.reload(Trigger::ReloadTls, partial, reply);
            }
            Request::Reload(partial) => self.reload(Trigger::Reload, partial, reply),
            Request::TlsRollback => self.reload(Trigger::Rollback, Partial::Refuse, reply),
            Request::Status => self.ask_status(StatusRequester::Control(reply)),
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
                let hook = ExitHook { command, timeout };
                self.notices.hook.change(Some(hook), reply);
            }
            Request::ClearOnExitFailure => self.notices.hook.change(None, reply),
            Request::ShowOnExitFailure => {
                reply.answer(Response::OnExitFailure(self.notices.hook.status()));
            }
            Request::Verify => {
                let witnesses = witnesses(&self.plan, &self.workers, &self.loads);
                self.queries.verify(reply, &witnesses);
            }
            Request::Events { follow } => self.notices.events.tell(reply, follow),
            Request::Sessions { selection, most } => {
                let sessions = &mut self.queries.sessions;
                sessions.list((selection, most), reply, &self.workers);
            }
            Request::EndSessions { selection } => {
                self.queries.end_sessions(peer.uid, selection, reply);
            }
            Request::Drain => self.end_for(How::Drain, reply),
            Request::Stop => self.end_for(How::AtOnce, reply),
            Request::Leave => self.leave_for(reply),
        }
    }

    /// Answers a request of the fixed part of the protocol.
    pub(super) fn answer_fixed(&mut self, call: fixed::Call) {
        let (asker, peer) = (call.asker, call.peer);
        match call.request {
            fixed::Request::Status {} => asker.answer(Answer::Status(self.sources().minimal())),
            fixed::Request::Upgrade(it) if it.binary.is_some() && !is_owner(peer.uid) => {
                asker.answer(Answer::refused(
                    "the program runs as the daemon's user: only that user and root may name one",
                ));
            }
            fixed::Request::Upgrade(it) => self.upgrade((it.binary, it.check), Some(asker)),
        }
    }

    fn reload(&mut self, trigger: Trigger, partial: Partial, reply: Reply) {
        let ask = Some(self.loads.ask(reply));
        self.tell(Event::Reload {
            ask,
            trigger,
            partial,
        });
    }

    /// Gathers the data of a status in a task, so that the loop does not wait.
    pub(super) fn ask_status(&mut self, requester: StatusRequester) {
        let witnesses = witnesses(&self.plan, &self.workers, &self.loads);
        self.queries.ask_status(requester, &witnesses);
    }

    /// Tells a client that the daemon will end, and ends it once the client knows.
    fn end_for(&self, how: How, reply: Reply) {
        let within = match how {
            How::Drain => self.loads.current().config.drain_timeout,
            How::AtOnce | How::Leave { .. } => Duration::ZERO,
        };
        info!(at_once = how == How::AtOnce, "the daemon was told to end");
        let response = Response::Ending {
            connections: self.workers.sessions_now(),
            within,
        };
        self.life.ask_to_end(how, response, reply);
    }

    /// Tells a client that the supervisor will end alone, and ends it once the client knows.
    fn leave_for(&self, reply: Reply) {
        if let Some(reason) = self.why_stay(std::process::id()) {
            let reason = reason.to_owned();
            return reply.answer(Response::Refused { reason });
        }
        let within = self.notices.hook.patience().min(LEAVE_PATIENCE);
        let response = Response::Leaving {
            workers: self.workers.running().count() as u64,
            connections: self.workers.sessions_now(),
            within,
            serves_for: self.loads.current().config.orphan_timeout,
        };
        self.life.ask_to_end(How::Leave { within }, response, reply);
    }

    /// Returns why the supervisor, which is process `pid`, must not end alone; `None` if it may.
    fn why_stay(&self, pid: u32) -> Option<&'static str> {
        if self.plan.is_ending() {
            return Some(
                "proxyd is ending already, with its workers; start it again when it has ended",
            );
        }
        (pid == 1).then_some(
            "proxyd is process 1 of a container, and the system kills its workers when process 1 ends; end it \
             with `proxyctl drain`",
        )
    }

    /// Ends the daemon when its sessions have ended, or at once; or the supervisor alone.
    pub(super) fn end(&mut self, how: How) {
        let now = Instant::now();
        match how {
            How::Leave { within } => return self.leave(within),
            How::AtOnce => {
                self.begin_to_end(how);
                self.life.manager.stopping(None, now);
                self.notices
                    .say(EventKind::Ending, "The daemon ends at once.");
                self.tell(Event::Stop);
                self.tell_orphans(orphans::Event::Stop);
            }
            How::Drain => {
                self.begin_to_end(how);
                let within = self.loads.current().config.drain_timeout;
                self.life.manager.stopping(Some(within + PARTING), now);
                let message = format!(
                    "The daemon ends when its sessions have, within {} s.",
                    within.as_secs_f64()
                );
                self.notices.say(EventKind::Ending, &message);
                self.tell(Event::Drain { within });
                self.tell_orphans(orphans::Event::Drain { within });
            }
        }
        // What no worker is left for is lost.
        self.place_sessions();
    }

    fn begin_to_end(&mut self, how: How) {
        let (open, lost) = (
            self.workers.sessions_now(),
            self.workers.keeping().lost.sum(),
        );
        self.life.begin_to_end(how, open, lost);
    }

    /// Ends the supervisor alone, unless the daemon has begun to end meanwhile.
    fn leave(&mut self, within: Duration) {
        if self.plan.is_ending() {
            return;
        }
        let workers = self.workers.running().count() as u64;
        let sessions = self.workers.sessions_now();
        let message = format!(
            "The supervisor ends for a restart and leaves {} with {} to the next supervisor.",
            amount(workers, "worker"),
            amount(sessions, "session"),
        );
        self.notices.say(EventKind::Ending, &message);
        self.life.leave(within);
    }
}

/// Whether a user is root or the one that the daemon runs as.
///
/// Other users may use the control socket as members of a group, and must not get this user's rights by
/// that.
fn is_owner(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}
