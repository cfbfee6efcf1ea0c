//! Answers to `proxyctl`.

use std::time::{Duration, Instant};

use tracing::info;

use super::{Supervisor, plan::Event, queries::StatusRequester, witnesses};
use crate::{
    config::ExitHook,
    control::{
        EventKind, Request, Response,
        fixed::{self, Answer},
        server::{Call, Reply},
    },
    facts::{Partial, Reads, Trigger},
    link::PARTING,
};

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
            Request::Drain => self.end_for(false, reply),
            Request::Stop => self.end_for(true, reply),
        }
    }

    /// Answers a request of the fixed part of the protocol.
    pub(super) fn answer_fixed(&self, call: fixed::Call) {
        call.asker.answer(match call.request {
            fixed::Request::Status {} => Answer::Status(self.sources().minimal()),
            fixed::Request::Upgrade(_) => Answer::refused(
                "this version cannot upgrade in place; restart it to run another program",
            ),
        });
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
    fn end_for(&self, at_once: bool, reply: Reply) {
        let within = if at_once {
            Duration::ZERO
        } else {
            self.loads.current().config.drain_timeout
        };
        let connections = self.workers.sessions();
        info!(at_once, "the daemon was told to end");
        let response = Response::Ending {
            connections,
            within,
        };
        self.life.ask_to_end(at_once, response, reply);
    }

    /// Ends the daemon when its sessions have ended, or at once.
    pub(super) fn end(&mut self, at_once: bool) {
        let now = Instant::now();
        if at_once {
            self.life.manager.stopping(None, now);
            self.notices
                .say(EventKind::Ending, "The daemon ends at once.");
            self.tell(Event::Stop);
        } else {
            let within = self.loads.current().config.drain_timeout;
            self.life.manager.stopping(Some(within + PARTING), now);
            let message = format!(
                "The daemon ends when its sessions have, within {} s.",
                within.as_secs_f64()
            );
            self.notices.say(EventKind::Ending, &message);
            self.tell(Event::Drain { within });
        }
        // What no worker is left for is lost.
        self.place_sessions();
    }
}

/// Whether a user is root or the one that the daemon runs as.
///
/// Other users may use the control socket as members of a group, and must not get this user's rights by
/// that.
fn is_owner(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}
