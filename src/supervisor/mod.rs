//! The parent process: it owns the listening sockets, the TLS material, the workers and the
//! control socket, and touches no client's bytes.
//!
//! What it decides is in [`plan`]; this loop carries decisions out and feeds it what happens.

mod disk;
mod events;
mod failure;
mod files;
mod grace;
mod hook;
mod page;
mod pid_file;
mod places;
pub mod plan;
mod preflight;
mod process;
mod ready;
mod refusal;
mod reload;
mod requests;
mod shown;
mod since;
mod sockets;
pub mod start;
mod status;
mod systemd;
mod tickets;
mod verdict;
mod verify;
mod watch;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    process::{ExitCode, ExitStatus},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use self::{
    disk::{Reading, View},
    events::Events,
    files::Files,
    hook::Hook,
    places::Places,
    plan::{Action, AskId, Doing, Event, Failure, Phase, Plan, WorkerId},
    process::{Launcher, Process},
    ready::Ready,
    reload::Report,
    requests::Asker,
    shown::Showing,
    sockets::Sockets,
    tickets::Tickets,
    verify::Found,
    watch::Current,
};
use crate::{
    config::Source,
    control::{
        EventKind, ExitHookRun, ExitStatus as WorkerExit, ListenerCounts, LoadError, Partial,
        Status, Trigger,
        server::{Call, Reply},
    },
    link::{FromWorker, ToWorker},
    sys::orphans,
    telemetry::log::Sink,
    tls::Memo,
};

/// Something that tasks beside the loop tell it.
#[derive(Debug)]
pub enum Message {
    /// The files of TLS material have changed.
    Changed,
    /// The daemon is to end.
    End {
        /// Whether its sessions are not waited for.
        at_once: bool,
        /// Who waits for the end.
        reply: Reply,
    },
    /// A worker's process has ended, or could not be started.
    Exited(WorkerId, Option<ExitStatus>),
    /// A worker said something.
    FromWorker(WorkerId, FromWorker),
    /// What a reload would find is known, and somebody waits to hear of it.
    Found(Reply, Box<Found>),
    /// A run of the exit-failure command is over.
    HookEnded(ExitHookRun),
    /// A load of the disk is over.
    Loaded(Box<Reading>),
    /// What a status needs is there, but perhaps for the disk.
    Looked {
        /// Who asked.
        asker: Asker,
        /// Whether the disk was looked at in time.
        disk_answers: bool,
        /// How often it may be looked at again.
        looks: u32,
    },
    /// The metrics page wants the status.
    Page(oneshot::Sender<Status>),
    /// The disk was looked at.
    Seen(Box<View>),
}

/// The supervisor's whole state.
struct Supervisor {
    source: Arc<Source>,
    memo: Arc<Memo>,
    current: Current,
    plan: Plan,
    began: Instant,
    started_at: Timestamp,
    sockets: Sockets,
    places: Places,
    tickets: Tickets,
    launcher: Launcher,
    sink: Sink,
    processes: HashMap<WorkerId, Process>,
    exits: HashMap<WorkerId, Option<ExitStatus>>,
    retired: BTreeMap<String, ListenerCounts>,
    restarts: u64,
    last_failure: Option<WorkerExit>,
    last_error: Option<LoadError>,
    files: Files,
    loading: Option<Trigger>,
    last_asks: u64,
    asks: HashMap<AskId, Reply>,
    reports: BTreeMap<u64, Report>,
    counting: HashMap<u64, Counting>,
    showing: Showing,
    view: Option<View>,
    /// Those who wait for the look at the disk that is going on, and for the one after it.
    looking: Vec<oneshot::Sender<()>>,
    looking_next: Vec<oneshot::Sender<()>>,
    hook: Hook,
    events: Events,
    ending: Vec<Reply>,
    ready: Ready,
    inbox: mpsc::UnboundedSender<Message>,
    over: Option<ExitCode>,
    hook_first: bool,
}

/// Workers whose counts somebody waits for.
#[derive(Debug)]
struct Counting {
    missing: BTreeSet<WorkerId>,
    /// Dropped when none is missing.
    _done: oneshot::Sender<()>,
}

/// What the loop listens to.
struct Ears {
    inbox: mpsc::UnboundedReceiver<Message>,
    calls: mpsc::Receiver<Call>,
    signals: signal_hook_tokio::Signals,
}

impl Supervisor {
    /// Time since the daemon's start, by which the plan goes.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs until the daemon has ended.
    async fn run(mut self, first: Vec<Action>, mut ears: Ears) -> ExitCode {
        self.act(first);
        loop {
            // Whatever ended it, the exit-failure command tells of it first.
            if let Some(code) = self
                .over
                .filter(|_| !self.hook_first || self.hook.is_idle())
            {
                return code;
            }
            let due = [self.plan.deadline(), self.files.grace.deadline()];
            let due = due.into_iter().flatten().min().map(|due| self.began + due);
            tokio::select! {
                Some(message) = ears.inbox.recv() => self.take(message),
                Some(call) = ears.calls.recv() => self.answer(call),
                Some(signal) = ears.signals.next() => self.signal(signal),
                () = until(due) => self.tick(),
                () = until(Some(self.tickets.due())) => self.rotate_tickets(),
            }
        }
    }

    /// Tells the plan what happened and does what it decides.
    fn tell(&mut self, event: Event) {
        let now = self.now();
        let actions = self.plan.on(event, now);
        self.act(actions);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Changed => self.reload_by_watch(),
            Message::End { at_once, reply } => {
                self.ending.push(reply);
                self.end(at_once);
            }
            Message::Exited(id, status) => self.exited(id, status),
            Message::FromWorker(id, message) => self.heard(id, message),
            Message::HookEnded(run) => {
                let failed = run.exit_code != Some(0);
                let message = self.hook.ended(run);
                if failed {
                    warn!("{message}");
                } else {
                    info!("{message}");
                }
                self.events.add(EventKind::ExitHook, message);
                self.reap_orphans();
            }
            Message::Loaded(reading) => {
                self.loaded(*reading);
                // A program that was asked for a passphrase may have hidden them.
                self.reap_orphans();
            }
            Message::Looked {
                asker,
                disk_answers,
                looks,
            } => self.looked(asker, disk_answers, looks),
            Message::Page(reply) => self.look(Asker::Page(reply)),
            Message::Found(reply, found) => self.found(reply, *found),
            Message::Seen(view) => self.seen(*view),
        }
    }

    fn heard(&mut self, id: WorkerId, message: FromWorker) {
        match message {
            FromWorker::Beat => self.tell(Event::Heard(id)),
            FromWorker::Serving { generation } => self.serving(id, generation),
            FromWorker::Refused { generation, reason } => {
                error!(generation, "a worker cannot serve a generation: {reason}");
                self.tell(Event::Unable(id));
            }
            FromWorker::Counts { ask, counts } => {
                self.places.settle();
                if let Some(process) = self.processes.get_mut(&id) {
                    process.counts = counts;
                }
                self.note_fits();
                self.counted(id, ask);
            }
            FromWorker::Visited { ask } => self.showing.visited(ask),
        }
    }

    fn serving(&mut self, id: WorkerId, generation: u64) {
        let first = self
            .plan
            .slots()
            .iter()
            .all(|slot| slot.serving() != Some(id));
        if let (true, Some(process)) = (first, self.processes.get(&id)) {
            let (slot, pid) = (process.slot, process.pid);
            info!(slot, pid, generation, "a worker serves");
            self.events.add(
                EventKind::WorkerServing,
                format!("Worker {pid} in slot {slot} serves generation {generation}."),
            );
        }
        self.tell(Event::Serving {
            worker: id,
            generation,
        });
    }

    /// Notes that a worker has sent its counts for `ask`, or will not.
    fn counted(&mut self, id: WorkerId, ask: Option<u64>) {
        self.counting.retain(|this, counting| {
            if ask.is_none_or(|ask| ask == *this) {
                counting.missing.remove(&id);
            }
            !counting.missing.is_empty()
        });
    }

    fn exited(&mut self, id: WorkerId, status: Option<ExitStatus>) {
        if let Some(process) = self.processes.get(&id) {
            for (name, counts) in &process.counts {
                let sum = self.retired.entry(name.clone()).or_default();
                sum.add(counts);
                sum.connections.open = 0;
            }
            for held in &process.held {
                self.places.take_back(held);
            }
        }
        self.exits.insert(id, status);
        self.note_death_in_drain(id, status);
        self.counting.retain(|_, counting| {
            counting.missing.remove(&id);
            !counting.missing.is_empty()
        });
        self.showing.exited(id);
        self.tell(Event::Exited(id));
        self.processes.remove(&id);
        self.exits.remove(&id);
        self.reap_orphans();
    }

    /// Reports a worker that died while it finished its sessions; none takes its place.
    fn note_death_in_drain(&mut self, id: WorkerId, status: Option<ExitStatus>) {
        let slots = self.plan.slots().iter().enumerate();
        let draining = slots
            .filter_map(|(slot, state)| Some((slot, state.worker()?)))
            .find(|(_, worker)| worker.id == id && worker.doing == Doing::Draining);
        if let (Some((slot, _)), false) = (draining, status.is_some_and(|status| status.success()))
        {
            self.hook_first = true;
            self.report_failure(Failure {
                slot,
                worker: id,
                condemned: None,
                served: true,
                failures: 1,
                wait: None,
            });
        }
    }

    /// Ends what became of orphans whom process 1 of a container is given.
    fn reap_orphans(&self) {
        if std::process::id() != 1 {
            return;
        }
        orphans::reap(|pid| {
            self.hook.is_running(pid) || self.processes.values().any(|process| process.pid == pid)
        });
    }

    fn signal(&mut self, signal: i32) {
        match signal {
            SIGHUP => {
                info!("reload asked for by signal HUP");
                self.tell(Event::Reload {
                    ask: None,
                    trigger: Trigger::Sighup,
                    partial: Partial::Allow,
                });
            }
            SIGCHLD => self.reap_orphans(),
            SIGINT | SIGTERM => self.end(!matches!(
                self.plan.phase(),
                Phase::Starting | Phase::Serving
            )),
            SIGUSR1 => match self.sink.reopen() {
                Ok(()) => info!("log file opened anew"),
                Err(error) => {
                    error!(%error, "the log file cannot be opened anew; going on as before");
                }
            },
            SIGUSR2 => warn!(
                "signal USR2: this version cannot upgrade in place; restart it to run another binary"
            ),
            _ => {}
        }
    }

    /// Ends the daemon: when its sessions have ended, or at once.
    fn end(&mut self, at_once: bool) {
        systemd::tell(&[sd_notify::NotifyState::Stopping]);
        if at_once {
            self.hook_first = false;
            self.say(EventKind::Ending, "The daemon ends at once.");
            self.tell(Event::Stop);
        } else {
            let within = self.current.borrow().config.drain_timeout;
            let message = format!(
                "The daemon ends when its sessions have, within {} s.",
                within.as_secs_f64()
            );
            self.say(EventKind::Ending, &message);
            self.tell(Event::Drain { within });
        }
        self.sockets.close();
    }

    /// Logs a sentence and remembers it as an event.
    fn say(&mut self, kind: EventKind, message: &str) {
        info!("{message}");
        self.events.add(kind, message.to_owned());
    }

    /// Does what the plan decided.
    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Load {
                    trigger, partial, ..
                } => self.load(trigger, partial),
                Action::Start {
                    slot,
                    worker,
                    again,
                } => self.start(slot, worker, again),
                Action::Serve(worker) => self.serve(worker),
                Action::Cover { worker, slot } => self.hand_sockets(worker, slot),
                Action::Release { worker, slot } => {
                    self.send(worker, ToWorker::Release { slot });
                }
                Action::Kill(worker) => self.kill(worker),
                Action::Drain(worker) => self.send(worker, ToWorker::Drain),
                Action::Answer { asks, answer } => self.answer_asks(asks, answer),
                Action::Report(failure) => self.report_failure(failure),
                Action::Ready => self.say_ready(),
                Action::GiveUp => self.give_up(),
                Action::Exit => self.over = self.over.or(Some(ExitCode::SUCCESS)),
            }
        }
    }

    fn say_ready(&mut self) {
        self.say(EventKind::Started, "The daemon serves.");
        systemd::tell(&[sd_notify::NotifyState::Ready]);
        self.ready.succeed();
    }

    fn give_up(&mut self) {
        let reason = "no worker could be started; the log says why";
        error!("{reason}");
        self.ready.fail(reason);
        self.sockets.close();
        self.over = Some(ExitCode::FAILURE);
        self.hook_first = true;
    }
}

/// Waits until `due`; for ever if there is nothing due.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
