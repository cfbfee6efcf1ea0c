//! The daemon's own life: since when it runs, and the reports of its start and its end.

mod ready;
mod systemd;
mod tally;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::error;

use self::tally::Tally;
pub(super) use self::{
    ready::{Ready, await_daemon},
    systemd::{Name, ServiceManager, State, Summary, VARIABLES, Wanted, What, inode},
};
use super::plan::Exit;
use crate::{
    control::{Response, server::Reply},
    facts::SessionsAtEnd,
};

/// How the daemon is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// When its sessions have ended, or at the drain timeout.
    Drain,
    /// At once; its sessions are cut.
    AtOnce,
    /// The supervisor alone, which leaves its workers to the next one. What the exit-failure command does now may delay
    /// that for so long.
    Leave { within: Duration },
}

/// A request to end the daemon, which the client at the control socket has been told is granted.
#[derive(Debug)]
pub(super) struct EndRequest {
    how: How,
    reply: Reply,
}

/// How the supervisor has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Exited {
    /// With all its processes, and with this exit status.
    WithAll(ExitCode),
    /// Alone: its workers go on, and its files are the next supervisor's.
    Alone,
}

/// The daemon's own life.
#[derive(Debug)]
pub(super) struct Life {
    began: Instant,
    started_at: Timestamp,
    ready: Ready,
    /// The service manager, if one started the daemon.
    pub(super) manager: ServiceManager,
    /// The clients that wait for the end; their connections close when this is dropped.
    ending: Vec<Reply>,
    exit: Option<Exit>,
    /// When the supervisor leaves at the latest, if it does.
    leaves_by: Option<Instant>,
    tally: Tally,
    inbox: mpsc::UnboundedSender<EndRequest>,
}

impl Life {
    /// Begins now; `ready` is told when the daemon serves, or why it cannot.
    pub(super) fn new(
        ready: Ready,
        manager: ServiceManager,
        inbox: mpsc::UnboundedSender<EndRequest>,
    ) -> Self {
        Self {
            began: Instant::now(),
            started_at: Timestamp::now(),
            ready,
            manager,
            ending: Vec::new(),
            exit: None,
            leaves_by: None,
            tally: Tally::default(),
            inbox,
        }
    }

    /// Returns the time since the daemon's start, which is the plan's clock.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the moment that is so long after the daemon's start.
    pub(super) fn at(&self, since_start: Duration) -> Instant {
        self.began + since_start
    }

    /// Returns when the daemon started.
    pub(super) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Tells the waiting shell and the service manager that the daemon serves.
    pub(super) fn serves(&mut self) {
        self.manager.ready();
        self.ready.succeed();
    }

    /// Tells a client that the daemon will end, and has it end once the client knows.
    pub(super) fn ask_to_end(&self, how: How, response: Response, reply: Reply) {
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            // If the client has gone, the daemon ends all the same.
            let _ = reply.deliver(response).await;
            let _ = inbox.send(EndRequest { how, reply });
        });
    }

    /// Keeps the connection of a client that waits for the end; returns how it is to end.
    pub(super) fn take(&mut self, request: EndRequest) -> How {
        self.ending.push(request.reply);
        request.how
    }

    /// Begins to count what becomes of sessions, of which so many are `open`; all count as cut if the daemon ends at
    /// once. `lost` is how many have been lost since the daemon started.
    pub(super) fn begin_to_end(&mut self, how: How, open: u64, lost: u64) {
        self.tally.begin(open, lost);
        if how == How::AtOnce {
            self.tally.cut_all(open, lost);
        }
    }

    /// Counts sessions that a worker has cut at the drain timeout.
    pub(super) fn cut(&mut self, count: u64) {
        self.tally.cut(count);
    }

    /// Returns what became of the sessions; `None` if the daemon was not told to end. `lost` is how many have been lost
    /// since the daemon started.
    pub(super) fn count(&mut self, lost: u64) -> Option<SessionsAtEnd> {
        self.tally.finish(lost)
    }

    /// Tells the clients that wait for the end what became of the sessions, and waits until they know.
    pub(super) async fn tell_end(&mut self, counts: SessionsAtEnd) {
        let told = self.ending.iter().map(|reply| async move {
            // A client that has gone need not know.
            let _ = reply.deliver(Response::Ended(counts)).await;
        });
        futures_util::future::join_all(told).await;
    }

    /// Notes that the supervisor leaves its workers to the next one, within that time.
    pub(super) fn leave(&mut self, within: Duration) {
        let by = Instant::now() + within;
        self.leaves_by.get_or_insert(by);
    }

    /// Returns when the supervisor leaves at the latest, if it does.
    pub(super) fn leaves_by(&self) -> Option<Instant> {
        self.leaves_by
    }

    /// Notes how the daemon ends.
    pub(super) fn exit(&mut self, exit: Exit) {
        if !exit.success && self.exit.is_none() {
            let reason = "no worker could be started; the log says why";
            error!("{reason}");
            self.ready.fail(reason);
        }
        self.exit = Some(exit);
    }

    /// Returns how the supervisor ends, once it is to end, which may have to wait for the exit-failure command.
    pub(super) fn exited(&self, hook_is_idle: bool) -> Option<Exited> {
        if let Some(by) = self.leaves_by {
            return (hook_is_idle || by <= Instant::now()).then_some(Exited::Alone);
        }
        let exit = self.exit.filter(|exit| hook_is_idle || !exit.after_hook)?;
        Some(Exited::WithAll(if exit.success {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn life() -> Life {
        Life::new(
            Ready::default(),
            ServiceManager::new(|_| None, BTreeSet::new()),
            mpsc::unbounded_channel().0,
        )
    }

    #[test]
    fn the_exit_waits_for_the_command_unless_the_operator_is_impatient() {
        let mut life = life();
        assert_eq!(life.exited(true), None);
        let patient = Exit {
            success: true,
            after_hook: true,
        };
        life.exit(patient);
        assert_eq!(life.exited(false), None);
        let ended = Some(Exited::WithAll(ExitCode::SUCCESS));
        assert_eq!(life.exited(true), ended);
        life.exit(Exit {
            after_hook: false,
            ..patient
        });
        assert_eq!(life.exited(false), ended);
    }

    #[test]
    fn a_supervisor_leaves_when_the_command_has_ended_or_has_had_its_time() {
        let mut life = life();
        life.leave(Duration::from_secs(60));
        assert_eq!(life.exited(false), None);
        assert_eq!(life.exited(true), Some(Exited::Alone));
        // A second request does not delay it.
        let by = life.leaves_by();
        life.leave(Duration::from_secs(120));
        assert_eq!(life.leaves_by(), by);
    }

    #[test]
    fn a_supervisor_leaves_at_once_if_nothing_delays_it() {
        let mut life = life();
        life.leave(Duration::ZERO);
        assert_eq!(life.exited(false), Some(Exited::Alone));
    }
}
