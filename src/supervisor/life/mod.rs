//! The daemon's own life: since when it runs, and the reports of its start and its end.

mod ready;
mod systemd;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::error;

pub(super) use self::{
    ready::{Ready, await_daemon},
    systemd::{ServiceManager, State, Summary, VARIABLES},
};
use super::plan::Exit;
use crate::control::{Response, server::Reply};

/// A request to end the daemon, which the client at the control socket has been told is granted.
#[derive(Debug)]
pub(super) struct EndRequest {
    /// Whether to end without waiting for sessions.
    at_once: bool,
    reply: Reply,
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
    pub(super) fn ask_to_end(&self, at_once: bool, response: Response, reply: Reply) {
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move {
            // If the client has gone, the daemon ends all the same.
            let _ = reply.deliver(response).await;
            let _ = inbox.send(EndRequest { at_once, reply });
        });
    }

    /// Keeps the connection of a client that waits for the end; returns how it is to end.
    pub(super) fn take(&mut self, request: EndRequest) -> bool {
        self.ending.push(request.reply);
        request.at_once
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

    /// Returns the exit status once the daemon is to exit, which may have to wait for the exit-failure
    /// command.
    pub(super) fn exit_code(&self, hook_is_idle: bool) -> Option<ExitCode> {
        let exit = self.exit.filter(|exit| hook_is_idle || !exit.after_hook)?;
        Some(if exit.success {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_waits_for_the_command_unless_the_operator_is_impatient() {
        let mut life = Life::new(
            Ready::default(),
            ServiceManager::new(|_| None),
            mpsc::unbounded_channel().0,
        );
        assert!(life.exit_code(true).is_none());
        let patient = Exit {
            success: true,
            after_hook: true,
        };
        life.exit(patient);
        assert!(life.exit_code(false).is_none());
        assert!(life.exit_code(true).is_some());
        life.exit(Exit {
            after_hook: false,
            ..patient
        });
        assert!(life.exit_code(false).is_some());
    }
}
