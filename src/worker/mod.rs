//! The child process: it accepts clients, ends TLS and relays.
//!
//! It starts as a fresh execution of the program with nothing but its link to the supervisor as
//! standard input, reads no file, runs as an unprivileged user, and has one thread.

pub mod backend_probe;
pub mod backends;
pub mod confinement;
pub mod connect;
pub mod context;
pub mod deadline;
mod draining;
mod heir;
mod keeping;
#[cfg(test)]
mod layers;
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
mod told;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, time::interval};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use self::{
    confinement::{Refusals, confine},
    heir::{Heir, Household},
    keeping::Parcel,
    listener::Listeners,
    names::Pairs,
    places::{Counting, Places},
    service::{Built, ServeError, Services},
    told::Told,
};
use crate::{
    config::DRAIN_TIMEOUT,
    link::{
        Fault, FromWorker, Given, Handover, ListenerKey, Received, ToWorker, Unusable,
        beat_interval,
        board::{Boards, ClientKeys, ClientSecret},
        child::{self, Begun, Worker as Args},
        end::{self, Receiver, Sender},
        worker::MOST_OF_GENERATION,
    },
    session::{
        record,
        table::{self, Table, with_table},
    },
    sys::clock,
    tls::stream::warm_up,
};

/// The exit status of a worker that cannot go on working.
pub const BROKEN: i32 = 70;

/// The time between beats until the first generation sets it.
const FIRST_BEAT: Duration = Duration::from_millis(200);

/// The longest reason for which a generation is refused, in characters.
const LONGEST_REASON: usize = 1000;

/// Messages of the supervisor that may wait for the worker.
const ORDERS: usize = 64;

/// How long the last messages to the supervisor may take.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// Runs a worker; returns its exit status.
pub fn main(args: &Args) -> ExitCode {
    match child::begin(c"proxyd-worker", args.log) {
        Ok(Begun { link, runtime, .. }) => {
            warm_up();
            clock::coarse();
            runtime.block_on(run(link, args))
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
    /// The generation to which the supervisor hands over the next one as a difference.
    given: Option<Given>,
    listeners: Listeners,
    sessions: TaskTracker,
    outbox: mpsc::UnboundedSender<FromWorker>,
    /// For messages with descriptors, and for those that have to keep their order among these.
    parcels: mpsc::UnboundedSender<Parcel>,
    /// What workers that have ended have left to this one.
    heir: Heir,
    told: Told,
    beat: Duration,
    /// The default until it serves, because it may have taken sessions over before that.
    drain_timeout: Duration,
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

/// Whether the worker goes on serving after a message.
enum Then {
    Serve,
    Drain,
}

async fn run(link: OwnedFd, args: &Args) -> ExitCode {
    let (receiver, sender) = match end::open(link) {
        Ok(halves) => halves,
        Err(error) => {
            error!(%error, "the link is unusable");
            return ExitCode::FAILURE;
        }
    };
    // Whatever opens a file or changes a descriptor has happened.
    let confinement = confine();
    let (outbox, messages) = mpsc::unbounded_channel();
    let _ = outbox.send(FromWorker::Confined(confinement));
    let (parcels, along) = mpsc::unbounded_channel();
    let sending = tokio::spawn(send(sender, messages, along));
    let (told, orders) = mpsc::channel(ORDERS);
    tokio::spawn(receive(receiver, told));
    let services = Arc::new(Services::new(args.origin));
    let pairs = Pairs::new(services.dialer.names());
    let sessions = TaskTracker::new();
    let mut worker = Worker {
        slot: args.slot,
        counting: None,
        staged: None,
        refusal: None,
        accepts: Vec::new(),
        listeners: Listeners::new(Arc::clone(&services), sessions.clone()),
        services,
        given: None,
        sessions,
        outbox,
        parcels,
        heir: Heir::default(),
        told: Told::default(),
        beat: FIRST_BEAT,
        drain_timeout: DRAIN_TIMEOUT,
        refusals: Refusals::default(),
        pairs,
    };
    let code = worker.serve(orders).await;
    worker.tell_refusals();
    // The supervisor must get the last messages before the worker ends.
    drop(worker);
    let _ = tokio::time::timeout(LAST_MESSAGES, sending).await;
    code
}

/// A message that came over the link, with its descriptors.
type Order = Received<ToWorker>;

/// Sends the messages of both queues until the first queue is closed.
async fn send(
    link: Sender<FromWorker>,
    mut messages: mpsc::UnboundedReceiver<FromWorker>,
    mut parcels: mpsc::UnboundedReceiver<Parcel>,
) {
    loop {
        let parcel = tokio::select! {
            biased;
            message = messages.recv() => match message {
                Some(message) => message.into(),
                None => return,
            },
            Some(parcel) = parcels.recv() => parcel,
        };
        let along: Vec<_> = parcel.along.iter().map(AsFd::as_fd).collect();
        let sent = link.send(&parcel.message, &along).await;
        drop(parcel.until_sent);
        if matches!(parcel.message, FromWorker::TookOver { .. }) {
            // The supervisor gives the tables that were taken over to no other worker any more.
            with_table(Table::forget_ends);
        }
        match sent {
            Ok(()) => {}
            Err(Fault::Io(_)) => return,
            // The message was not sent, and the link still works.
            Err(fault) => warn!(%fault, "this worker could not send the supervisor a message"),
        }
    }
}

async fn receive(receiver: Receiver<ToWorker>, orders: mpsc::Sender<Order>) {
    // A worker whose sessions have taken all descriptors must still get new certificates.
    let mut receiver = receiver.keep_back(MOST_OF_GENERATION);
    loop {
        match receiver.receive().await {
            Ok(Some(order)) => {
                if let ToWorker::MakeRoom = order.message {
                    receiver.make_room();
                }
                if orders.send(order).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                error!(%error, "the link to the supervisor broke");
                return;
            }
        }
    }
}

impl Worker {
    /// Serves until it is told to drain or the supervisor is gone; then drains.
    async fn serve(&mut self, mut orders: mpsc::Receiver<Order>) -> ExitCode {
        let mut beats = interval(self.beat);
        let mut period = self.beat;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => {
                        info!("the supervisor is gone; this worker finishes its sessions and exits");
                        return self.drain().await;
                    }
                    Some(order) => {
                        if let Then::Drain = self.take(order) {
                            return self.drain_and_beat(orders).await;
                        }
                        self.tell_accepts();
                    }
                },
                _ = beats.tick() => self.beat(),
            }
            if period != self.beat {
                period = self.beat;
                beats = interval(period);
            }
        }
    }

    fn take(&mut self, order: Order) -> Then {
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
            // The receiver has done so.
            ToWorker::MakeRoom => {}
            ToWorker::Stage { offer } => self.stage(offer, fds.collect()),
            ToWorker::Serve { generation } => self.serve_staged(generation),
            ToWorker::Withdraw => {
                self.staged = None;
                self.listeners.drop_waiting();
                self.services.drop_places();
            }
            ToWorker::Count { ask } => self.count(Some(ask)),
            ToWorker::Probe { ask } => self.probe(ask),
            ToWorker::FindRevoked { ask } => revoked::find(&self.services, ask, &self.outbox),
            message @ (ToWorker::Sessions { .. } | ToWorker::End { .. }) => {
                sessions::answer(message, &self.services.sessions, &self.outbox);
            }
            ToWorker::Table { number } => self.take_table(number, fds.next()),
            message
            @ (ToWorker::Inherit { .. } | ToWorker::Sockets { .. } | ToWorker::TakeOver) => {
                let household = self.household();
                self.heir
                    .take(message, fds.collect(), household, &self.parcels);
            }
            ToWorker::Records { version } => record::version::write(version),
            ToWorker::Door { .. }
            | ToWorker::Spare { .. }
            | ToWorker::State
            | ToWorker::Log
            | ToWorker::Tell
            | ToWorker::HandOver { .. } => {}
            ToWorker::Drain { within_ms } => {
                self.drain_timeout = Duration::from_millis(within_ms);
                return Then::Drain;
            }
        }
        Then::Serve
    }

    /// Counts sessions on its board from now on, and says so, or why it cannot serve without.
    fn take_board(&mut self, secret: &ClientSecret, board: Option<OwnedFd>) {
        let board = board.ok_or_else(|| io::Error::other("it did not arrive"));
        match board.and_then(Boards::new) {
            Ok(boards) => {
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
        match table.and_then(table::begin) {
            Ok(()) => {
                let keeper = keeping::begin(self.parcels.clone());
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
            outbox: self.parcels.clone(),
            counts: (self.told.clone(), self.outbox.clone()),
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
        self.listeners.follow();
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
        self.tell(FromWorker::Beat);
        self.tell(FromWorker::Accepts {
            slots: self.accepts.clone(),
        });
        if self.pairs.are_needed() {
            self.tell(FromWorker::NeedsResolver);
        }
        self.count(None);
    }

    /// Reports the counts, and the refused calls that were made before.
    fn count(&mut self, ask: Option<u64>) {
        self.tell_refusals();
        self.told.count(&self.services, ask, &self.outbox);
    }

    /// Probes backends in a task of its own; then sends the counts and reports the end of the probe.
    fn probe(&self, ask: u64) {
        let (services, tasks) = (Arc::clone(&self.services), self.sessions.clone());
        let (told, outbox) = (self.told.clone(), self.outbox.clone());
        tokio::spawn(async move {
            backend_probe::probe(&services, &tasks).await;
            told.count(&services, None, &outbox);
            let _ = outbox.send(FromWorker::Probed { ask });
        });
    }

    fn tell(&self, message: FromWorker) {
        // If the supervisor is gone, messages are dropped.
        let _ = self.outbox.send(message);
    }
}
