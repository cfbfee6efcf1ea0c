//! The child process: it accepts clients, ends TLS and relays.
//!
//! It starts as a fresh execution of the program with nothing but its link to the supervisor as
//! standard input, reads no file, runs as an unprivileged user, and has one thread.

pub mod backend_probe;
pub mod backends;
pub mod confinement;
pub mod connect;
mod contact;
pub mod context;
pub mod deadline;
mod heir;
mod keeping;
#[cfg(test)]
mod layers;
mod life;
pub mod listener;
pub mod names;
pub mod opening;
#[cfg(feature = "orders")]
pub mod orders;
pub mod places;
mod revoked;
pub mod serve;
pub mod service;
mod sessions;
mod succession;
mod told;

use std::{io, os::fd::OwnedFd, process::ExitCode, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use self::{
    confinement::{Refusals, confine},
    contact::{Contact, Door, Order, Voice},
    heir::{Ends, Heir, Household},
    life::{Ended, Phase},
    listener::Listeners,
    names::Pairs,
    places::{Counting, Places},
    service::{Built, ServeError, Services},
    succession::{Asking, Bequest, Rewriting},
    told::Told,
};
use crate::{
    config::{DRAIN_TIMEOUT, ORPHAN_TIMEOUT},
    facts::Confinement,
    link::{
        FromWorker, Given, Handover, ListenerKey, ToWorker, Unusable, beat_interval,
        board::{Boards, ClientKeys, ClientSecret},
        child::{self, Begun, Worker as Args},
        door::OfWorker,
        end,
    },
    session::table,
    sys::{clock, usage},
    telemetry::log::Pipe,
    tls::stream::warm_up,
};

/// The exit status of a worker that cannot go on working.
pub const BROKEN: i32 = 70;

/// The time between beats until the first generation sets it.
const FIRST_BEAT: Duration = Duration::from_millis(200);

/// The longest reason for which a generation is refused, in characters.
const LONGEST_REASON: usize = 1000;

/// How long the last messages to the supervisor may take.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// How long the last counts may take of a worker whose sessions wait for it to end.
const LAST_COUNTS: Duration = Duration::from_millis(50);

/// Runs a worker; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    #[cfg(feature = "points")]
    crate::sys::upgrade_points::begin_worker();
    match child::begin(c"proxyd-worker", args.log) {
        Ok(Begun { link, log, runtime }) => {
            warm_up();
            clock::coarse();
            match runtime.block_on(run(link, log, args)) {
                Err(error) => {
                    error!(%error, "the link is unusable");
                    ExitCode::FAILURE
                }
                Ok(Ended::Done) => ExitCode::SUCCESS,
                Ok(Ended::HandedOver) => {
                    // Sessions end with their tasks, and another worker goes on with these.
                    std::mem::forget(runtime);
                    ExitCode::SUCCESS
                }
            }
        }
        Err(error) => error.tell(),
    }
}

/// A worker's state beside its sessions.
struct Worker {
    slot: usize,
    services: Arc<Services>,
    /// What it counts sessions with.
    counting: Option<Arc<Counting>>,
    /// A generation that was made ready and is not served yet.
    staged: Option<(Given, Built)>,
    /// Why the generation that was handed over last is not.
    refusal: Option<String>,
    /// The slots that the supervisor was last told of as accepted from.
    accepts: Vec<usize>,
    /// Where its log lines go.
    log: Pipe,
    /// How it is in contact with supervisors.
    contact: Contact,
    /// Tells the supervisor things.
    voice: Voice,
    phase: Phase,
    /// Until when it serves without a supervisor, while there is none.
    alone_until: Option<Instant>,
    /// What is heard of workers whose sessions this one is to go on with; a new one takes its place when another supervisor
    /// has come.
    ends: watch::Sender<Ends>,
    /// What it has for the next supervisor.
    bequest: Bequest,
    /// The answer to a supervisor that asks for all, until that is complete.
    telling: Option<Asking>,
    /// There until all records are in the version that it was told.
    rewriting: Option<Rewriting>,
    /// The generation to which the supervisor hands over the next one as a difference.
    given: Option<Given>,
    listeners: Listeners,
    sessions: TaskTracker,
    /// What workers that have ended have left to this one.
    heir: Heir,
    told: Told,
    beat: Duration,
    /// The default until it serves, because it may have taken sessions over before that.
    drain_timeout: Duration,
    /// How long it serves without a supervisor; the default until it serves.
    orphan_timeout: Duration,
    refusals: Refusals,
    /// Where pairs to the resolver go.
    pairs: Pairs,
}

/// Why a worker does not serve the generation that it was handed.
#[derive(Debug, thiserror::Error)]
enum SwapError {
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("not all listening sockets of its slot have arrived; it may be short of descriptors")]
    NoSocket,
}

async fn run(link: OwnedFd, log: Pipe, args: &Args) -> io::Result<Ended> {
    let link = end::open(link)?;
    // Whatever opens a file or changes a descriptor has happened.
    let confinement = confine();
    Ok(work(link, log, confinement, (args.slot, args.origin)).await)
}

/// Does a worker's work in a slot, over the link of the supervisor that has started it; the ids of its sessions begin with
/// `origin`. Returns once the supervisor has its last message.
async fn work(
    (receiver, sender): OfWorker,
    log: Pipe,
    confinement: Confinement,
    (slot, origin): (usize, u64),
) -> Ended {
    let (voice, speaking) = Voice::new(sender);
    voice.tell(FromWorker::Confined(confinement));
    let services = Arc::new(Services::new(origin));
    let pairs = Pairs::new(services.dialer.names());
    let sessions = TaskTracker::new();
    let mut worker = Worker {
        slot,
        counting: None,
        staged: None,
        refusal: None,
        accepts: Vec::new(),
        log,
        contact: Contact::new(receiver, voice.clone()),
        voice,
        phase: Phase::Serving,
        alone_until: None,
        ends: watch::Sender::default(),
        bequest: Bequest::default(),
        telling: None,
        rewriting: None,
        listeners: Listeners::new(Arc::clone(&services), sessions.clone()),
        services,
        given: None,
        sessions,
        heir: Heir::default(),
        told: Told::default(),
        beat: FIRST_BEAT,
        drain_timeout: DRAIN_TIMEOUT,
        orphan_timeout: ORPHAN_TIMEOUT,
        refusals: Refusals::default(),
        pairs,
    };
    let ended = worker.live().await;
    match ended {
        Ended::Done => {
            worker.tell_refusals();
            // The supervisor must get the last messages before the worker ends.
            drop(worker);
            let _ = tokio::time::timeout(LAST_MESSAGES, speaking).await;
        }
        Ended::HandedOver => {
            worker.count(None);
            let _ = tokio::time::timeout(LAST_COUNTS, worker.voice.has_sent()).await;
        }
    }
    ended
}

impl Worker {
    /// Takes a message that neither ends this worker's work nor asks for all that it has.
    fn take(&mut self, order: Order) {
        let mut fds = order.descriptors.into_iter();
        match order.message {
            ToWorker::Accept { key, slot } => {
                if let Some(socket) = fds.next() {
                    self.listeners.add(key, slot, socket);
                } else {
                    error!(slot, "a listening socket did not arrive");
                }
            }
            ToWorker::Board { secret } => self.take_board(&secret, fds.next()),
            ToWorker::AddBoard { worker } => self.add_board(worker, fds.next()),
            ToWorker::RemoveBoard { worker } => {
                if let Some(counting) = &self.counting {
                    counting.boards.remove(worker);
                }
            }
            ToWorker::Number { listener, number } => {
                if let Some(counting) = &self.counting {
                    let places = Places::new(number, Arc::clone(counting));
                    self.services.set_places(listener, places);
                }
            }
            ToWorker::Resolver => self.pairs.give(fds.next()),
            ToWorker::Release { slot } => self.listeners.release(slot),
            ToWorker::Tickets(secrets) => self.services.set_ticket_secrets(secrets),
            ToWorker::Stage { offer } => self.stage(offer, fds.collect()),
            ToWorker::Serve { generation } => self.serve_staged(generation),
            ToWorker::Withdraw => self.withdraw(),
            ToWorker::Count { ask } => self.count(Some(ask)),
            ToWorker::Probe { ask } => self.probe(ask),
            ToWorker::FindRevoked { ask } => {
                revoked::find(&self.services, ask, &self.voice.outbox);
            }
            message @ (ToWorker::Sessions { .. } | ToWorker::End { .. }) => {
                sessions::answer(message, &self.services.sessions, &self.voice.outbox);
            }
            ToWorker::Table { number } => self.take_table(number, fds.next()),
            message
            @ (ToWorker::Inherit { .. } | ToWorker::Sockets { .. } | ToWorker::TakeOver) => {
                let household = self.household();
                self.heir
                    .take(message, fds.collect(), household, &self.voice);
            }
            ToWorker::Records { version } => self.change_records(version),
            ToWorker::Door { owner } => self.take_door(owner, fds.next()),
            ToWorker::Spare { key, slot } => {
                if let Some(socket) = fds.next() {
                    self.listeners.spare(key, slot, socket);
                } else {
                    warn!(slot, "a listening socket of another slot did not arrive");
                }
            }
            ToWorker::Ended { table } => self.ends.send_modify(|it| {
                it.tables.insert(table);
            }),
            ToWorker::State => self.bequest.set_state(fds.collect()),
            ToWorker::Log => {
                let pipe = fds
                    .next()
                    .ok_or_else(|| io::Error::other("it did not arrive"));
                if let Err(error) = pipe.and_then(|pipe| self.log.lead_to(pipe)) {
                    warn!(%error, "the pipe for log lines of this worker is unusable");
                }
            }
            // The receiver has done the first, and the others are obeyed elsewhere.
            ToWorker::MakeRoom
            | ToWorker::Tell
            | ToWorker::HandOver { .. }
            | ToWorker::Leave
            | ToWorker::Drain { .. } => {}
        }
    }

    /// Drops what was made ready and is not served yet.
    fn withdraw(&mut self) {
        self.staged = None;
        self.listeners.drop_waiting();
        self.services.drop_places();
    }

    /// Lets the next supervisor in by this door, when that comes.
    fn take_door(&mut self, owner: u32, door: Option<OwnedFd>) {
        let door = door.ok_or_else(|| io::Error::other("it did not arrive"));
        match door.and_then(|door| Door::new(door, owner)) {
            Ok(door) => self.contact.set_door(door),
            Err(error) => warn!(
                %error,
                "the door of this worker is unusable; should the supervisor end, the next one will not find this worker"
            ),
        }
    }

    /// Counts sessions on its board from now on, and says so, or why it cannot serve without.
    fn take_board(&mut self, secret: &ClientSecret, board: Option<OwnedFd>) {
        let board = board.ok_or_else(|| io::Error::other("it did not arrive"));
        match board.and_then(|board| Ok((Boards::new(&board)?, board))) {
            Ok((boards, board)) => {
                self.bequest.board = Some(Arc::new(board));
                self.counting = Some(Arc::new(Counting {
                    boards: Arc::new(boards),
                    keys: ClientKeys::new(secret),
                }));
                self.tell(FromWorker::HasBoard);
            }
            Err(error) => self.tell(FromWorker::Refused {
                offer: 0,
                reason: format!("the board on which it counts sessions is unusable: {error}"),
            }),
        }
    }

    /// Keeps sessions in a table from now on; without one, they end with this worker.
    fn take_table(&mut self, number: u64, table: Option<OwnedFd>) {
        let table = table.ok_or_else(|| io::Error::other("it did not arrive"));
        let origin = self.services.sessions.origin();
        match table.and_then(|table| table::begin(table, origin)) {
            Ok(()) => {
                self.bequest.table = Some(number);
                let changes = Arc::clone(&self.services.sessions.changes);
                let keeper = keeping::begin(self.voice.clone(), changes);
                let _ = self.services.keeper.set(keeper);
            }
            Err(error) => warn!(
                table = number, %error,
                "the table for this worker's sessions is unusable; they will end with the worker"
            ),
        }
    }

    /// Returns what it takes to go on with sessions of other workers; `None` without a board or a table.
    fn household(&self) -> Option<Household> {
        Some(Household {
            services: Arc::clone(&self.services),
            counting: Arc::clone(self.counting.as_ref()?),
            keeper: Arc::clone(self.services.keeper.get()?),
            tasks: self.sessions.clone(),
            voice: self.voice.clone(),
            told: self.told.clone(),
            ends: self.ends.subscribe(),
        })
    }

    /// Counts from now on what another worker has on its board.
    fn add_board(&self, worker: u64, board: Option<OwnedFd>) {
        let Some(counting) = &self.counting else {
            return;
        };
        let board = board.ok_or_else(|| io::Error::other("it did not arrive"));
        if let Err(error) = board.and_then(|board| counting.boards.add(worker, board)) {
            error!(
                worker, %error,
                "another worker's board is unusable; limits do not count its sessions here"
            );
        }
    }

    /// Makes ready the generation that was handed over, and reports that, or why it cannot.
    fn stage(&mut self, offer: u64, arrived: Vec<OwnedFd>) {
        let made = self.make_ready(arrived).map_err(|error| {
            let reason = error.to_string();
            reason.chars().take(LONGEST_REASON).collect()
        });
        (self.staged, self.refusal) = match made {
            Ok(staged) => (Some(staged), None),
            Err(reason) => (None, Some(reason)),
        };
        // What is in force already is confirmed, or refused, when it is to be served.
        if offer != 0 {
            self.tell(match self.refusal.clone() {
                None => FromWorker::Staged { offer },
                Some(reason) => FromWorker::Refused { offer, reason },
            });
        }
    }

    fn make_ready(&self, arrived: Vec<OwnedFd>) -> Result<(Given, Built), SwapError> {
        let (handover, packs) = Handover::read(arrived)?;
        let generation = handover.complete(self.given.as_ref(), packs)?;
        let keys = generation.config.listeners.iter().map(ListenerKey::of);
        let keys: Vec<_> = keys.collect();
        if !self.listeners.has_all(self.slot, keys.iter()) {
            return Err(SwapError::NoSocket);
        }
        let built = self.services.build(&generation)?;
        Ok((generation, built))
    }

    /// Serves what is ready, and says so, or why it is not ready.
    fn serve_staged(&mut self, number: u64) {
        let staged = self.staged.take_if(|(staged, _)| staged.number == number);
        let Some((generation, built)) = staged else {
            let reason = self.refusal.take();
            let reason = reason.unwrap_or_else(|| "it was never handed over".to_owned());
            return self.tell(FromWorker::Refused { offer: 0, reason });
        };
        self.services.install(built);
        self.beat = beat_interval(generation.config.heartbeat_timeout);
        self.drain_timeout = generation.config.drain_timeout;
        self.orphan_timeout = generation.config.orphan_timeout;
        self.listeners.follow();
        self.listeners.drop_idle_spares();
        // What is left is of listeners that are gone.
        self.listeners.drop_waiting();
        self.given = Some(generation);
        // Before the confirmation, which would else stand on what was accepted from until now.
        self.tell_accepts();
        self.tell(FromWorker::Serving { generation: number });
    }

    /// Reports system calls that the worker was refused.
    fn tell_refusals(&mut self) {
        self.refusals.tell();
        if let Some(calls) = self.refusals.count() {
            self.tell(FromWorker::Denied { calls });
        }
    }

    /// Reports for which slots the worker accepts, if that has changed.
    fn tell_accepts(&mut self) {
        let slots = self.listeners.slots();
        if self.accepts != slots {
            self.accepts.clone_from(&slots);
            self.tell(FromWorker::Accepts { slots });
        }
    }

    fn beat(&mut self) {
        self.log.go_on();
        self.tell(FromWorker::Beat);
        if let Phase::Serving = self.phase {
            self.tell(FromWorker::Accepts {
                slots: self.accepts.clone(),
            });
        }
        if self.pairs.are_needed() {
            self.tell(FromWorker::NeedsResolver);
        }
        self.count(None);
    }

    /// Reports the counts, and the refused calls that were made before.
    fn count(&mut self, ask: Option<u64>) {
        self.tell_refusals();
        if ask.is_some()
            && let Some(resident) = usage::resident()
        {
            self.tell(FromWorker::Memory { resident });
        }
        self.told.count(&self.services, ask, &self.voice.outbox);
    }

    /// Probes backends in a task of its own; then sends the counts and reports the end of the probe.
    fn probe(&self, ask: u64) {
        let (services, tasks) = (Arc::clone(&self.services), self.sessions.clone());
        let (told, outbox) = (self.told.clone(), self.voice.outbox.clone());
        tokio::spawn(async move {
            backend_probe::probe(&services, &tasks).await;
            told.count(&services, None, &outbox);
            let _ = outbox.send(FromWorker::Probed { ask });
        });
    }

    fn tell(&self, message: FromWorker) {
        self.voice.tell(message);
    }
}
