//! The worker processes, and what the supervisor hands them: sockets, boards, secrets, generations.
//!
//! Descriptors that are handed over stay open here, so that a handover takes no new descriptor of the
//! supervisor and cannot fail on its side.

mod admission;
mod boards;
mod found;
mod handovers;
mod heard;
mod keeping;
mod legacy;
mod numbers;
mod origins;
mod orphans;
mod passed;
mod process;
mod records;
mod repair;
mod resources;
mod sessions;
mod sessions_kept;
mod sockets;
mod spares;
mod tickets;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::OwnedFd,
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use tracing::{debug, error, info};

pub(super) use self::{
    boards::Boards,
    found::{FoundSockets, listens_for},
    heard::text,
    keeping::{Keeping, Pair, is_stream, pairs},
    process::Process,
    resources::{Acquired, Acquirer},
    sessions_kept::Handed,
    sockets::{explain, probe, when_free},
    tickets::Tickets,
};
use self::{
    handovers::Handovers,
    heard::Known,
    numbers::Numbers,
    origins::Origins,
    process::Joined,
    repair::Repair,
    sockets::{SocketFile, Sockets},
};
use super::{
    activation::PassedSockets,
    doors::Doors,
    plan::{End, WorkerId},
    state::Book,
};
use crate::{
    children::{self, Along, Inbox, Launched, Launcher, Role},
    config::Listener,
    facts::{BackendStatus, ConnectionCounts, ListenerCounts, amount},
    link::{FromWorker, Generation, ListenerKey, ToWorker},
    session::record,
    telemetry::log::Sink,
};

/// What happens to worker processes.
pub(super) type Message = children::Message<FromWorker>;

/// The worker processes and what they are handed.
#[derive(Debug)]
pub(super) struct Workers {
    processes: HashMap<WorkerId, Process>,
    sockets: Sockets,
    boards: Boards,
    keeping: Keeping,
    numbers: Numbers,
    repair: Repair,
    /// The resources that the staged generation needs beyond those in force.
    staged: Acquired,
    handovers: Handovers,
    tickets: Tickets,
    launcher: Launcher,
    sink: Sink,
    /// What workers may speak of.
    known: Known,
    /// The counts of workers that have ended.
    retired: BTreeMap<String, ListenerCounts>,
    /// System calls that workers that have ended were refused.
    denied_calls: u64,
    /// How many workers were started in the place of one that failed.
    restarts: u64,
    /// The version in which they write records of sessions.
    records: u16,
    origins: Origins,
    doors: Doors,
    /// How often workers, or what they are handed, have changed.
    changes: u64,
    /// What they keep for the next supervisor.
    left: Vec<Arc<OwnedFd>>,
    /// The tasks that remove the files of closed sockets.
    removing: Vec<tokio::task::JoinHandle<()>>,
    inbox: Inbox<FromWorker>,
}

impl Workers {
    /// Keeps so many slots, with the resources that were `acquired` and the sockets that systemd has `passed`; goes on with
    /// what is in the book of an earlier supervisor.
    pub(super) fn new(
        (slots, passed): (usize, PassedSockets),
        acquired: Acquired,
        listeners: &[Listener],
        (tickets, boards, keeping): (Tickets, Boards, Keeping),
        (launcher, sink, doors): (Launcher, Sink, Doors),
        inbox: Inbox<FromWorker>,
        book: &Book,
    ) -> Self {
        let mut workers = Self {
            processes: HashMap::new(),
            sockets: Sockets::new(slots, passed),
            boards,
            keeping,
            numbers: Numbers::resume(&book.ids),
            repair: Repair::default(),
            staged: acquired,
            handovers: Handovers::new(),
            tickets,
            launcher,
            sink,
            known: Known::default(),
            retired: book.workers.retired.clone(),
            denied_calls: book.workers.denied,
            restarts: book.restarts.total,
            records: record::VERSION,
            origins: Origins::resume(&book.ids),
            doors,
            changes: 0,
            left: Vec::new(),
            removing: Vec::new(),
            inbox,
        };
        workers.commit(listeners);
        workers
    }

    /// Returns the acquirer of resources for a new configuration, which any thread may use.
    pub(super) fn acquirer(&self) -> Acquirer {
        Acquirer {
            binder: self.sockets.binder(),
            numbers: self.numbers.clone(),
            boards: self.boards.all(),
        }
    }

    /// Keeps the resources that the staged generation needs beyond those in force.
    pub(super) fn stage(&mut self, acquired: Acquired) {
        self.staged = acquired;
    }

    /// Puts the staged resources in force, and closes the sockets that `listeners` no longer name.
    pub(super) fn commit(&mut self, listeners: &[Listener]) {
        let Acquired { bindings, numbers } = std::mem::take(&mut self.staged);
        let new = bindings.keys();
        self.changes += 1;
        let files = self.sockets.commit(bindings, listeners);
        self.remove(files);
        self.hand_spares(Some(&new));
        self.numbers.commit(numbers, listeners);
        self.known = Known::new(listeners);
        self.retired.retain(|name, _| self.known.has(name));
    }

    /// Drops the staged resources, and what was written of the staged generation; `current` stays.
    pub(super) fn discard(&mut self, current: &Arc<Generation>) {
        self.handovers.keep(current);
        let files = std::mem::take(&mut self.staged).bindings.discard();
        self.remove(files);
    }

    /// Mends listening sockets that a worker has shut down or set to block; returns whether workers have to
    /// be handed sockets again. A worker's death makes it urgent.
    pub(super) fn repair_sockets(&mut self, urgent: bool) -> bool {
        let looked = self.repair.look(&mut self.sockets, urgent, Instant::now());
        self.remove(looked.unwanted);
        looked.replaced
    }

    /// Returns each listening socket of the generation in force that is the daemon's own, with its slot.
    pub(super) fn sockets(&self) -> Vec<(ListenerKey, usize, Arc<OwnedFd>)> {
        self.sockets.own()
    }

    /// Returns the listening sockets that systemd has passed.
    pub(super) fn passed_sockets(&self) -> PassedSockets {
        self.sockets.passed().clone()
    }

    /// Returns the `bind` of each listener whose socket systemd has passed.
    pub(super) fn binds_of_systemd(&self) -> Vec<String> {
        self.sockets.binds_of_systemd()
    }

    /// Closes all listening sockets.
    pub(super) fn close_sockets(&mut self) {
        let files = self.sockets.close();
        self.remove(files);
    }

    /// Removes files of Unix listeners on other threads, because the disk may not answer.
    fn remove(&mut self, files: Vec<SocketFile>) {
        if !files.is_empty() {
            self.removing.retain(|removal| !removal.is_finished());
            let removal = move || files.iter().for_each(SocketFile::remove);
            self.removing.push(tokio::task::spawn_blocking(removal));
        }
    }

    /// Waits until the files of closed sockets are removed.
    pub(super) async fn finish(mut self) {
        let unwanted = self.repair.finish().await;
        self.remove(unwanted);
        for removal in self.removing {
            let _ = removal.await;
        }
        self.doors.finish().await;
    }

    /// Starts a worker in a slot, which may be `held_back` until [`Self::admit`]; `again` tells whether it takes
    /// the place of one that failed.
    pub(super) fn start(&mut self, (slot, held_back): (usize, bool), id: WorkerId, again: bool) {
        self.changes += 1;
        self.restarts += u64::from(again);
        let origin = self.origins.next(Timestamp::now());
        let process = Process::starting((slot, held_back), origin);
        self.processes.insert(id, process);
        let role = Role::Worker { slot, origin };
        self.launcher.launch(id, role, self.inbox.clone());
    }

    /// Takes a worker that was started, and hands it its board, table, sockets and secrets; once it has mapped the
    /// board, [`Self::has_board`] follows. If it could not be started, logs why and reports its end.
    pub(super) fn launched(&mut self, id: WorkerId, launched: io::Result<Launched>) {
        self.changes += 1;
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let (slot, held_back) = (process.slot, process.held_back);
        let run = launched.and_then(|it| {
            let runs = process.child.run(id, it, &self.sink, &self.inbox)?;
            if runs {
                self.boards.hand_over(id, &process.child)?;
            }
            Ok(runs)
        });
        match run {
            Ok(true) => {
                self.tell_records(id);
                self.hand_table(id);
                if !held_back {
                    self.hand_sockets(id, slot);
                    self.hand_spares_to(id, None);
                }
                self.prepare_orphanhood(id);
                self.tell(id, ToWorker::Tickets(self.tickets.secrets().clone()));
                self.hand_left(id);
            }
            Ok(false) => {}
            Err(error) => self.not_started(id, slot, &error),
        }
    }

    fn not_started(&mut self, id: WorkerId, slot: usize, error: &io::Error) {
        error!(slot, %error, "a worker could not be started");
        let pid = self.processes.get(&id).and_then(Process::pid);
        match pid {
            // Its end is reported when the process has ended.
            Some(_) => self.kill(id),
            None => self.report(Message::Exited(id, End::NotStarted)),
        }
    }

    /// Puts a message into the inbox, beside the loop, which would wait for itself if the inbox is full.
    fn report(&self, message: Message) {
        let inbox = self.inbox.clone();
        tokio::task::spawn_local(async move { inbox.send(message).await });
    }

    /// Hands over a generation, as a difference to what the worker has, to answer this `offer`; if that
    /// cannot be done, the worker counts as having refused it.
    fn hand_over(&mut self, id: WorkerId, generation: &Arc<Generation>, offer: u64) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        match self.handovers.get(process.given.base(), generation) {
            Ok(along) => {
                process.child.send(ToWorker::MakeRoom);
                process.child.send_with(ToWorker::Stage { offer }, along);
            }
            Err(error) => {
                let reason = format!("it cannot be put into memory that workers share: {error}");
                let refused = FromWorker::Refused { offer, reason };
                self.report(Message::Said(id, refused, Along::default()));
            }
        }
    }

    /// Hands a worker the staged generation and the resources that it needs for that.
    pub(super) fn offer(
        &mut self,
        id: WorkerId,
        slots: &[usize],
        staged: &Arc<Generation>,
        offer: u64,
    ) {
        self.tell_numbers(id, true);
        for slot in slots {
            let sockets = self.staged.bindings.of_slot(*slot);
            self.send_sockets(id, *slot, sockets);
        }
        self.hand_over(id, staged, offer);
        if let Some(process) = self.processes.get_mut(&id) {
            process.given.staged = Some(Arc::clone(staged));
        }
    }

    /// Lets a worker drop the staged generation, with what it was handed for that.
    pub(super) fn withdraw(&mut self, id: WorkerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.given.staged = None;
            let given = self.numbers.all();
            process
                .numbers
                .retain(|name, number| given.get(name) == Some(number));
            process.child.send(ToWorker::Withdraw);
        }
    }

    /// Tells a worker to serve the generation in force, and hands that over unless the worker has made
    /// it ready before.
    pub(super) fn serve(&mut self, id: WorkerId, current: &Arc<Generation>) {
        self.tell_numbers(id, false);
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let staged = process.given.staged.take();
        if !staged.is_some_and(|staged| Arc::ptr_eq(&staged, current)) {
            self.hand_over(id, current, 0);
        }
        self.handovers.keep(current);
        let generation = current.number;
        if let Some(process) = self.processes.get_mut(&id) {
            process.given.unconfirmed = Some(Arc::clone(current));
            process.child.send(ToWorker::Serve { generation });
        }
    }

    /// Notes that a worker serves a generation; returns whether it was told to. A worker that was not is
    /// killed.
    pub(super) fn confirmed(&mut self, id: WorkerId, generation: u64) -> bool {
        let Some(process) = self.processes.get_mut(&id) else {
            return false;
        };
        if process.given.newest() < generation {
            let pid = process.pid();
            error!(
                pid,
                generation,
                "a worker says that it serves a generation that it was never told to serve; it is killed"
            );
            process.child.kill();
            return false;
        }
        let given = &mut process.given;
        if let Some(confirmed) = given.unconfirmed.take_if(|it| it.number == generation) {
            given.confirmed = Some(confirmed);
        }
        true
    }

    /// Notes and logs that a worker has refused a generation: what it was handed may not have arrived.
    pub(super) fn refused(&mut self, id: WorkerId, reason: &str) {
        if let Some(process) = self.processes.get_mut(&id) {
            if process.logs_refusal(Instant::now()) {
                let (slot, pid) = (process.slot, process.pid());
                error!(slot, pid, "a worker cannot serve a generation: {reason}");
            }
            process.given.staged = None;
            process.numbers.clear();
        }
    }

    /// Tells a worker the numbers of listeners that it does not know yet, those of the staged generation
    /// included if it is `offered` that.
    fn tell_numbers(&mut self, id: WorkerId, offered: bool) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if process.pid().is_none() {
            return;
        }
        let mut all = self.numbers.all().clone();
        if offered {
            let new = self.staged.numbers.all();
            all.extend(new.iter().map(|(name, number)| (name.clone(), *number)));
        }
        for (listener, number) in &all {
            if process.numbers.get(listener) != Some(number) {
                let (listener, number) = (listener.clone(), *number);
                process.child.send(ToWorker::Number { listener, number });
            }
        }
        process.numbers = all;
    }

    /// Lets a worker accept from all sockets of a slot, those of the staged generation included if it
    /// was offered that.
    pub(super) fn hand_sockets(&self, id: WorkerId, slot: usize) {
        for socket in self.sockets.of_slot(slot) {
            // They may replace others, and clients wait for that even if sessions have taken all of the
            // worker's descriptors.
            self.tell(id, ToWorker::MakeRoom);
            self.send_sockets(id, slot, vec![socket]);
        }
        let process = self.processes.get(&id);
        if process.is_some_and(|process| process.given.staged.is_some()) {
            self.send_sockets(id, slot, self.staged.bindings.of_slot(slot));
        }
    }

    fn send_sockets(&self, id: WorkerId, slot: usize, sockets: Vec<(ListenerKey, Arc<OwnedFd>)>) {
        if let Some(process) = self.processes.get(&id) {
            for (key, socket) in sockets {
                process
                    .child
                    .send_with(ToWorker::Accept { key, slot }, vec![socket]);
            }
        }
    }

    /// Sends a message to a worker.
    pub(super) fn tell(&self, id: WorkerId, message: ToWorker) {
        if let Some(process) = self.processes.get(&id) {
            process.child.send(message);
        }
    }

    /// Returns the workers that were started.
    pub(super) fn running(&self) -> impl Iterator<Item = WorkerId> {
        let all = self.processes.iter();
        all.filter(|(_, it)| it.pid().is_some()).map(|(id, _)| *id)
    }

    /// Whether a worker may have a link to the resolver in the place of the one that it was given before.
    pub(super) fn may_have_resolver(&self, id: WorkerId) -> bool {
        let process = self.processes.get(&id);
        process.is_some_and(|it| it.resolver.may_have_another(Instant::now()))
    }

    /// Has a worker ask the resolver over this link.
    pub(super) fn give_resolver(&mut self, id: WorkerId, link: Arc<OwnedFd>) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.resolver = Joined(Some(Instant::now()));
            process.child.send(ToWorker::MakeRoom);
            process.child.send_with(ToWorker::Resolver, vec![link]);
        }
    }

    /// Kills a worker.
    pub(super) fn kill(&mut self, id: WorkerId) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.child.kill();
        }
    }

    /// Does what could not be done before: keeps descriptors back again.
    pub(super) fn tidy(&mut self) {
        self.boards.refill();
        self.keeping.refill();
        self.launcher.refill();
    }

    /// Notes a worker's counts of a listener, as far as they are possible.
    pub(super) fn counted(&mut self, id: WorkerId, listener: String, counts: &ConnectionCounts) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        // Sessions of a listener that was removed go on and end.
        if self.known.has(&listener) || process.counts.contains_key(&listener) {
            let counts = heard::possible(counts, process.child.started.elapsed());
            process.counts.entry(listener).or_default().connections = counts;
        }
    }

    /// Notes what a worker knows of a listener's backend, as far as that is possible; returns whether the
    /// backend has shown another certificate than before.
    pub(super) fn backend(
        &mut self,
        id: WorkerId,
        listener: String,
        status: BackendStatus,
    ) -> bool {
        let Some(process) = self.processes.get_mut(&id) else {
            return false;
        };
        let times = (Timestamp::now(), process.child.started.elapsed());
        let Some(status) = self.known.backend(&listener, status, times) else {
            return false;
        };
        let counts = process.counts.entry(listener).or_default();
        let before = counts.backend(status.address.clone()).certificate;
        let is_new = before != status.certificate;
        counts.set(status);
        is_new
    }

    /// Notes how many system calls a worker was refused, by what it says and as far as that is possible.
    pub(super) fn denied(&mut self, id: WorkerId, calls: u64) {
        if let Some(process) = self.processes.get_mut(&id) {
            let calls = heard::denied(calls, process.child.started.elapsed());
            process.denied_calls = process.denied_calls.max(calls);
        }
    }

    /// Notes how much memory a worker takes, in bytes, by what it says.
    pub(super) fn takes(&mut self, id: WorkerId, resident: u64) {
        if let Some(process) = self.processes.get_mut(&id) {
            process.resident = Some(resident);
        }
    }

    /// Returns how many system calls all workers were refused.
    pub(super) fn denied_calls(&self) -> u64 {
        let running = self.processes.values().map(|it| it.denied_calls);
        running.fold(self.denied_calls, u64::saturating_add)
    }

    /// Removes a worker that has ended; returns what is known of its process.
    pub(super) fn exited(&mut self, id: WorkerId) -> Option<Process> {
        let process = self.processes.remove(&id)?;
        self.changes += 1;
        self.denied_calls = self.denied_calls.saturating_add(process.denied_calls);
        ListenerCounts::retire(&mut self.retired, &process.counts);
        let others = self.processes.values().map(|process| &process.child);
        self.boards.remove(id, others);
        self.doors.remove(process.origin);
        Some(process)
    }

    /// Returns what is known of a worker's process.
    pub(super) fn get(&self, id: WorkerId) -> Option<&Process> {
        self.processes.get(&id)
    }

    /// Returns how many workers were started in the place of one that failed.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Returns how many sessions are open, by the last counts of the workers.
    pub(super) fn sessions(&self) -> u64 {
        let counts = self.processes.values().flat_map(|it| it.counts.values());
        counts.map(|counts| counts.connections.open).sum()
    }

    /// Returns how many sessions are open now, by the boards of the workers and as far as that is possible.
    pub(super) fn sessions_now(&self) -> u64 {
        let all = self.processes.iter().map(|(id, process)| {
            let most = heard::most(process.child.started.elapsed());
            self.boards.sessions(*id).min(most)
        });
        all.fold(0, u64::saturating_add)
    }

    /// Returns how many sessions these workers have open, by their last counts.
    pub(super) fn sessions_of(&self, workers: impl Iterator<Item = WorkerId>) -> u64 {
        let processes = workers.filter_map(|it| self.processes.get(&it));
        let counts = processes.flat_map(|it| it.counts.values());
        counts.map(|counts| counts.connections.open).sum()
    }

    /// Returns the sum of all counts, including those of workers that have ended.
    pub(super) fn counts(&self) -> BTreeMap<String, ListenerCounts> {
        let mut sums = self.retired.clone();
        for process in self.processes.values() {
            for (name, counts) in &process.counts {
                sums.entry(name.clone()).or_default().add(counts);
            }
        }
        sums
    }

    /// Returns the address that clients of `listener` connect to, with the real port.
    pub(super) fn address(&self, listener: &Listener) -> String {
        self.sockets.address(listener)
    }

    /// Returns when the secrets of tickets are to change.
    pub(super) fn tickets_due(&self) -> Instant {
        self.tickets.due()
    }

    /// Changes the secrets of tickets and hands them to every worker.
    pub(super) fn rotate_tickets(&mut self) {
        match self.tickets.rotate(Instant::now()) {
            Ok(()) => {
                self.changes += 1;
                debug!("the secrets of tickets have changed");
                for process in self.processes.values() {
                    process
                        .child
                        .send(ToWorker::Tickets(self.tickets.secrets().clone()));
                }
            }
            Err(error) => error!(%error, "the secrets of tickets could not be changed"),
        }
    }

    /// Logs how many sessions a worker has cut at the end of the drain, as far as that is possible; returns that, also
    /// as a sentence. `None` if the worker has said so before.
    pub(super) fn drained(&mut self, id: WorkerId, cut: u64) -> Option<(u64, String)> {
        let process = self.processes.get_mut(&id)?;
        if std::mem::replace(&mut process.has_drained, true) {
            return None;
        }
        let (slot, pid) = (process.slot, process.pid()?);
        let cut = cut.min(heard::most(process.child.started.elapsed()));
        let message = match cut {
            0 => format!("All sessions of worker {pid} in slot {slot} have ended."),
            _ => format!(
                "Worker {pid} in slot {slot} cut {}, because the drain timeout was over.",
                amount(cut, "session")
            ),
        };
        info!(slot, pid, cut, "{message}");
        Some((cut, message))
    }

    /// Logs that a worker serves for the first time; returns that as a sentence.
    pub(super) fn first_served(&self, id: WorkerId, generation: u64) -> Option<String> {
        let process = self.processes.get(&id)?;
        let (slot, pid) = (process.slot, process.pid()?);
        info!(slot, pid, generation, "a worker serves");
        Some(format!(
            "Worker {pid} in slot {slot} serves generation {generation}."
        ))
    }
}
