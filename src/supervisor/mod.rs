//! The parent process: it owns the listening sockets, the TLS material, the workers and the
//! control socket, and touches no client's bytes.
//!
//! [`plan`] decides. State belongs to owners that do not know each other: `workers`, `loads`,
//! `queries`, `notices` and `life`. This loop passes events to the plan and has the owners carry
//! out the plan's actions. It waits only for its next input: never for a disk, a pipe or a child.

mod activation;
mod adoption;
mod carry_out;
mod clock;
mod control_socket;
mod doors;
pub mod fuzzing;
mod helpers;
mod inputs;
mod legacy;
mod life;
mod loads;
mod notices;
mod operator;
mod orphans;
mod pid_file;
pub mod plan;
mod predecessor;
mod preflight;
mod queries;
mod refusal;
mod requests;
mod sandbox;
pub mod start;
mod state;
mod steps;
mod takeovers;
pub mod trial;
mod upgrade;
mod upgrades;
mod workers;

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use tokio::sync::mpsc;
use tracing::{info, warn};

use self::{
    clock::{Clock, Jump, Moment},
    control_socket::{Called, ControlSocket},
    helpers::Helpers,
    life::{EndRequest, Exited, How, Life},
    loads::Loads,
    notices::Notices,
    orphans::Orphans,
    plan::{Action, Event, Phase, Plan, Slot},
    queries::{Queries, Sources, Witnesses},
    sandbox::Sandbox,
    state::State,
    upgrade::Upgrades,
    workers::Workers,
};
use crate::{
    control::EventKind,
    facts::{Partial, Trigger},
    telemetry::log::Sink,
};

/// The owners of the supervisor's state, and the plan that decides.
struct Supervisor {
    plan: Plan,
    workers: Workers,
    orphans: Orphans,
    helpers: Helpers,
    loads: Loads,
    queries: Queries,
    notices: Notices,
    life: Life,
    upgrades: Upgrades,
    sandbox: Sandbox,
    state: State,
    control_socket: ControlSocket,
    sink: Sink,
}

/// The inputs of the loop.
struct Inputs {
    workers: mpsc::Receiver<workers::Message>,
    resolver: mpsc::Receiver<helpers::ResolverMessage>,
    page: mpsc::Receiver<helpers::PageMessage>,
    loads: mpsc::UnboundedReceiver<loads::Message>,
    queries: mpsc::UnboundedReceiver<queries::Message>,
    notices: mpsc::UnboundedReceiver<notices::Message>,
    ends: mpsc::UnboundedReceiver<EndRequest>,
    state: mpsc::UnboundedReceiver<state::Message>,
    upgrades: mpsc::UnboundedReceiver<upgrade::Message>,
    calls: Called,
    signals: signal_hook_tokio::Signals,
    clock: Clock,
}

impl Supervisor {
    /// Runs until the daemon has ended, or the supervisor alone.
    async fn run(mut self, first: Vec<Action>, mut inputs: Inputs) -> Exited {
        self.follow_backends();
        self.act(first);
        loop {
            self.settle_upgrade();
            self.report_to_manager();
            self.bequeath();
            if let Some(outcome) = self.life.exited(self.notices.hook.is_idle()) {
                // Boxed, because they are large.
                match outcome {
                    Exited::WithAll(_) => Box::pin(self.finish(inputs)).await,
                    Exited::Alone => Box::pin(self.part()).await,
                }
                return outcome;
            }
            let due = self.due().map(|due| self.life.at(due));
            let upgrade_due = self.upgrades.due().map(|due| self.life.at(due));
            let changes_at = self.loads.changes_at();
            tokio::select! {
                Some(message) = inputs.workers.recv() => self.take_worker(message),
                Some(message) = inputs.resolver.recv() => self.take_resolver(message),
                Some(message) = inputs.page.recv() => self.take_page(message),
                Some(message) = inputs.loads.recv() => self.take_load(message),
                Some(message) = inputs.queries.recv() => self.take_query(message),
                Some(message) = inputs.notices.recv() => self.take_notice(message),
                Some(request) = inputs.ends.recv() => {
                    let how = self.life.take(request);
                    self.end(how);
                }
                Some(message) = inputs.state.recv() => self.take_state(message),
                Some(message) = inputs.upgrades.recv() => self.take_upgrade(message),
                Some(call) = inputs.calls.own.recv() => self.answer(call),
                Some(call) = inputs.calls.fixed.recv() => self.answer_fixed(call),
                Some(signal) = inputs.signals.next() => self.signal(signal),
                () = until(due) => self.tick(),
                () = until(upgrade_due) => self.look_for_quiet(&mut inputs.signals),
                moment = inputs.clock.next(changes_at) => self.take_moment(moment),
                () = until(self.life.manager.due()) => {}
                () = until(self.life.leaves_by()) => {}
                () = until(self.state.due()) => {}
                () = until(self.loads.next_end()) => {
                    self.loads.tell_ends(&mut self.notices.events);
                }
                () = until(Some(self.workers.tickets_due())) => self.workers.rotate_tickets(),
            }
        }
    }

    /// Ends the helpers, and waits for a moment until clients have the last events and the files of closed
    /// sockets are removed.
    async fn finish(mut self, mut inputs: Inputs) {
        let counts = self.life.count(self.workers.keeping().lost.sum());
        if let Some(counts) = counts {
            let sentence = format!("The daemon has ended: {counts}.");
            self.notices.say(EventKind::Ending, &sentence);
        }
        let helpers = self.helpers.end(&mut inputs.resolver, &mut inputs.page);
        let events = self.notices.events.finish();
        let told = async {
            if let Some(counts) = counts {
                self.life.tell_end(counts).await;
            }
        };
        let all = async { tokio::join!(helpers, events, told, self.workers.finish()) };
        let _ = tokio::time::timeout(start::CLEANUP_PATIENCE, all).await;
    }

    /// Leaves the workers to the next supervisor: the links to them end with this process. Waits for a moment until
    /// clients have the last events.
    async fn part(mut self) {
        self.take_leave();
        let events = self.notices.events.finish();
        let _ = tokio::time::timeout(start::CLEANUP_PATIENCE, events).await;
    }

    /// Passes an event to the plan and carries out its actions.
    fn tell(&mut self, event: Event) {
        let actions = self.plan.on(event, self.life.now());
        self.go_back_if_failed();
        self.act(actions);
        self.relieve_orphans();
    }

    /// Returns when something is due, as the time since the daemon's start.
    fn due(&self) -> Option<Duration> {
        let patience = self.loads.current().config.heartbeat_timeout;
        let all = [
            self.plan.deadline(),
            self.orphans.due(),
            self.loads.deadline(),
            self.helpers.due(patience),
        ];
        all.into_iter().flatten().min()
    }

    /// Does everything that is due now.
    fn tick(&mut self) {
        let patience = self.loads.current().config.heartbeat_timeout;
        self.helpers.tick(self.life.now(), patience);
        if self.loads.is_due(self.life.now()) {
            self.reload_by_watch();
        }
        self.tell_orphans(orphans::Event::Tick);
        self.tell(Event::Tick);
    }

    /// Judges certificates again, because time has passed or the wall clock was set.
    fn take_moment(&mut self, moment: Moment) {
        self.loads.forget_change();
        match moment {
            Moment::Due => self.reload_by_watch(),
            Moment::Jumped(jump) => self.clock_jumped(jump),
        }
    }

    /// Tells that the wall clock has jumped, and judges certificates by what it shows now.
    fn clock_jumped(&mut self, jump: Jump) {
        let watches = self.loads.current().config.watch;
        let then = if watches {
            "the TLS files are judged again by what it shows now"
        } else {
            "files are not watched, so the next reload judges them by what it shows then"
        };
        let message = format!("The clock jumped {jump}; {then}.");
        warn!("{message}");
        self.notices.events.add(EventKind::ClockJumped, message);
        self.queries.forget_view();
        if watches {
            self.reload_by_watch();
        }
    }

    /// Begins to read the TLS files because they have changed, or should have been mended by now.
    fn reload_by_watch(&mut self) {
        self.tell(Event::Reload {
            ask: None,
            trigger: Trigger::Watch,
            partial: Partial::Allow,
        });
    }

    /// Sends the service manager what is due, and a summary of the daemon's state. Comes each time the
    /// loop turns, because this feeds the watchdog.
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
            orphans: &self.orphans,
            loads: &self.loads,
            notices: &self.notices,
            life: &self.life,
            upgrades: &self.upgrades,
            sandbox: &self.sandbox,
            helpers: &self.helpers,
            keeping: self.workers.keeping(),
            unsupported: self.workers.keeps_none(),
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
            SIGINT | SIGTERM => self.end(match self.plan.phase() {
                Phase::Starting | Phase::Serving => How::Drain,
                Phase::Draining { .. } | Phase::Stopping { .. } => How::AtOnce,
            }),
            SIGUSR1 => self.sink.reopen(),
            SIGUSR2 => self.upgrade_by_signal(),
            _ => {}
        }
    }
}

/// Returns the sources of answers to requests.
fn witnesses<'a>(plan: &Plan, workers: &'a Workers, loads: &Loads) -> Witnesses<'a> {
    Witnesses {
        workers,
        serving: plan.slots().iter().filter_map(Slot::serving).collect(),
        reader: loads.reader(),
    }
}

/// Waits until `due`, or for ever if there is no such time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
