//! The parent process: it owns the listening sockets, the TLS material, the workers and the
//! control socket, and touches no client's bytes.
//!
//! What it decides is in [`plan`]. State belongs to owners that do not know each other: [`workers`],
//! [`loads`], [`queries`], [`notices`] and [`life`]. This loop feeds the plan what happens and has the
//! owners carry out what it decides. It waits for nothing but its next input: no disk, no pipe, no
//! child.

mod carry_out;
mod control_socket;
mod grounds;
mod inputs;
mod life;
mod loads;
mod notices;
mod page;
mod pid_file;
pub mod plan;
mod preflight;
mod queries;
mod refusal;
mod requests;
pub mod start;
mod workers;

use std::{process::ExitCode, time::Instant};

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use tokio::sync::mpsc;
use tracing::{info, warn};

use self::{
    control_socket::ControlSocket,
    life::{EndRequest, Life},
    loads::Loads,
    notices::Notices,
    plan::{Action, Event, Phase, Plan, Slot},
    queries::{Queries, Sources, Witnesses},
    workers::Workers,
};
use crate::{
    control::{Partial, Trigger, server::Call},
    telemetry::log::Sink,
};

/// The owners of the supervisor's state, and the plan that decides.
struct Supervisor {
    plan: Plan,
    workers: Workers,
    loads: Loads,
    queries: Queries,
    notices: Notices,
    life: Life,
    control_socket: ControlSocket,
    sink: Sink,
}

/// What the loop listens to.
struct Inputs {
    workers: mpsc::UnboundedReceiver<workers::Message>,
    loads: mpsc::UnboundedReceiver<loads::Message>,
    queries: mpsc::UnboundedReceiver<queries::Message>,
    notices: mpsc::UnboundedReceiver<notices::Message>,
    ends: mpsc::UnboundedReceiver<EndRequest>,
    calls: mpsc::Receiver<Call>,
    signals: signal_hook_tokio::Signals,
}

impl Supervisor {
    /// Runs until the daemon has ended.
    async fn run(mut self, first: Vec<Action>, mut inputs: Inputs) -> ExitCode {
        self.act(first);
        loop {
            self.report_to_manager();
            if let Some(code) = self.life.exit_code(self.notices.hook.is_idle()) {
                self.finish().await;
                return code;
            }
            let due = [self.plan.deadline(), self.loads.deadline()];
            let due = due.into_iter().flatten().min().map(|due| self.life.at(due));
            tokio::select! {
                Some(message) = inputs.workers.recv() => self.take_worker(message),
                Some(message) = inputs.loads.recv() => self.take_load(message),
                Some(message) = inputs.queries.recv() => self.take_query(message),
                Some(message) = inputs.notices.recv() => self.take_notice(message),
                Some(request) = inputs.ends.recv() => {
                    let at_once = self.life.take(request);
                    self.end(at_once);
                }
                Some(call) = inputs.calls.recv() => self.answer(call),
                Some(signal) = inputs.signals.next() => self.signal(signal),
                () = until(due) => self.tick(),
                () = until(self.life.manager.due()) => {}
                () = until(Some(self.workers.tickets_due())) => self.workers.rotate_tickets(),
            }
        }
    }

    /// Lets clients have the last events, and files of closed sockets be removed, for a moment.
    async fn finish(mut self) {
        let events = self.notices.events.finish();
        let both = async { tokio::join!(events, self.workers.finish()) };
        let _ = tokio::time::timeout(start::CLEANUP_PATIENCE, both).await;
    }

    /// Tells the plan what happened and does what it decides.
    fn tell(&mut self, event: Event) {
        let actions = self.plan.on(event, self.life.now());
        self.act(actions);
    }

    /// Does what is due by now.
    fn tick(&mut self) {
        if self.loads.is_due(self.life.now()) {
            self.reload_by_watch();
        }
        self.tell(Event::Tick);
    }

    /// Reads the TLS files because they have changed, or should have by now.
    fn reload_by_watch(&mut self) {
        self.tell(Event::Reload {
            ask: None,
            trigger: Trigger::Watch,
            partial: Partial::Allow,
        });
    }

    /// Sends the service manager what is due, with how the daemon is: each time the loop turns, which
    /// feeds its watchdog.
    fn report_to_manager(&mut self) {
        let now = Instant::now();
        if self.life.manager.wants_report(now) {
            let summary = self.sources().summary();
            self.life.manager.report(&summary, now);
        }
        self.life.manager.turn(now);
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            plan: &self.plan,
            workers: &self.workers,
            loads: &self.loads,
            notices: &self.notices,
            life: &self.life,
            lost_lines: self.sink.lost(),
            now: self.life.now(),
        }
    }

    fn signal(&mut self, signal: i32) {
        match signal {
            SIGHUP => {
                info!("reload asked for by signal HUP");
                self.control_socket.renew();
                self.tell(Event::Reload {
                    ask: None,
                    trigger: Trigger::Sighup,
                    partial: Partial::Allow,
                });
            }
            SIGCHLD => inputs::reap_orphans(),
            SIGINT | SIGTERM => self.end(!matches!(
                self.plan.phase(),
                Phase::Starting | Phase::Serving
            )),
            SIGUSR1 => self.sink.reopen(),
            SIGUSR2 => warn!(
                "signal USR2: this version cannot upgrade in place; restart it to run another binary"
            ),
            _ => {}
        }
    }
}

/// Returns what answers questions now.
fn witnesses<'a>(plan: &Plan, workers: &'a Workers, loads: &Loads) -> Witnesses<'a> {
    Witnesses {
        workers,
        serving: plan.slots().iter().filter_map(Slot::serving).collect(),
        reader: loads.reader(),
    }
}

/// Waits until `due`; for ever if there is nothing due.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
