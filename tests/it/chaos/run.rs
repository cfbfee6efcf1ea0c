//! What the threads of a run share: the daemon, the truth about it, and the tally.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Condvar, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    deaths::{Blow, Deaths},
    disk::{Disk, State},
    identities::Identity,
    journal::{Entry, Journal},
    pump::Pump,
    small_disk::SmallDisk,
    tally::Tally,
    truth::Truth,
};
use crate::support::{
    client::Client,
    daemon::TestDaemon,
    pki::{Ca, Leaf},
    process,
    scene::NAME,
};

/// A name that clients ask for at a listener, and the certificate that they must be shown.
pub(crate) struct Door {
    /// The identity of the right certificate.
    pub(crate) identity: &'static str,
    /// A client that asks for the name.
    pub(crate) client: Client,
}

/// A listener of the configuration that is never taken away.
pub(crate) struct Place {
    /// Its name.
    pub(crate) name: &'static str,
    /// The address at which it listens, with the real port.
    pub(crate) address: SocketAddr,
    /// The names that clients ask for there.
    pub(crate) doors: Vec<Door>,
}

/// Where the daemon logs to.
pub(crate) enum LogTo {
    /// A pipe with a reader that may pause.
    Pipe(Pump),
    /// A file at this path.
    File(PathBuf),
}

/// What the threads of a run share.
pub(crate) struct Run<'act> {
    /// The daemon.
    pub(crate) daemon: &'act TestDaemon,
    /// The authority that issues the certificates.
    pub(crate) ca: &'act Ca,
    /// The listeners that are always there.
    pub(crate) places: Vec<Place>,
    /// The address of the metrics page.
    pub(crate) page: SocketAddr,
    /// Where the daemon logs to.
    pub(crate) log: &'act LogTo,
    /// The disk that holds its state and its log; `None` where none can be mounted.
    pub(crate) small_disk: Option<&'act SmallDisk>,
    /// The names of the identities.
    pub(crate) names: Vec<&'static str>,
    /// The identities; a fault that changes the files of one holds its lock.
    pub(crate) identities: Vec<Mutex<Identity>>,
    /// Held by a fault that changes the configuration file.
    pub(crate) configuration: Mutex<()>,
    /// Held by a fault that changes the exit-failure command.
    pub(crate) hook: Mutex<()>,
    /// The workers that the daemon started with.
    pub(crate) first_workers: Vec<u32>,
    /// Held shared by each strike of a fault, so that a check can wait until all are over.
    pub(crate) faults: RwLock<()>,
    /// Held shared by each handshake and command, for the same reason.
    pub(crate) traffic: RwLock<()>,
    /// The counts and the findings.
    pub(crate) tally: &'act Tally,
    /// The timeline of faults.
    pub(crate) journal: &'act Mutex<Journal>,
    truths: Mutex<BTreeMap<&'static str, Truth>>,
    disk: Mutex<Disk>,
    deaths: Mutex<Deaths>,
    closings: AtomicU64,
    over: Mutex<bool>,
    ended: Condvar,
}

/// The arguments of [`Run::new`].
pub(crate) struct Parts<'act> {
    pub(crate) daemon: &'act TestDaemon,
    pub(crate) ca: &'act Ca,
    pub(crate) places: Vec<Place>,
    pub(crate) page: SocketAddr,
    pub(crate) log: &'act LogTo,
    pub(crate) small_disk: Option<&'act SmallDisk>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) tally: &'act Tally,
    pub(crate) journal: &'act Mutex<Journal>,
}

impl<'act> Run<'act> {
    /// Takes a daemon that serves; the certificates on disk now count as confirmed.
    pub(crate) fn new(parts: Parts<'act>) -> Self {
        let now = Instant::now();
        let (mut truths, mut disk) = (BTreeMap::<_, Truth>::new(), Disk::default());
        for identity in &parts.identities {
            let number = truths
                .entry(identity.name)
                .or_default()
                .issue(&identity.newest.sha256);
            disk.set(identity.name, now, State::Good(number));
        }
        disk.set(super::disk::CONFIGURATION, now, State::Good(0));
        Self {
            first_workers: parts.daemon.workers(),
            daemon: parts.daemon,
            ca: parts.ca,
            places: parts.places,
            page: parts.page,
            log: parts.log,
            small_disk: parts.small_disk,
            names: parts.identities.iter().map(|it| it.name).collect(),
            identities: parts.identities.into_iter().map(Mutex::new).collect(),
            configuration: Mutex::new(()),
            hook: Mutex::new(()),
            faults: RwLock::new(()),
            traffic: RwLock::new(()),
            tally: parts.tally,
            journal: parts.journal,
            truths: Mutex::new(truths),
            disk: Mutex::new(disk),
            deaths: Mutex::default(),
            closings: AtomicU64::new(0),
            over: Mutex::new(false),
            ended: Condvar::new(),
        }
    }

    /// Waits for a while; returns early if the run is over.
    pub(crate) fn wait(&self, time: Duration) {
        let over = self.over.lock().unwrap();
        let waited = self.ended.wait_timeout_while(over, time, |over| !*over);
        drop(waited.unwrap());
    }

    /// Ends the run.
    pub(crate) fn end(&self) {
        *self.over.lock().unwrap() = true;
        self.ended.notify_all();
    }

    /// Returns whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        *self.over.lock().unwrap()
    }

    /// Asks the holders of sessions to close them; none is opened while [`Self::traffic`] is held.
    pub(crate) fn close_sessions(&self) {
        self.closings.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often held sessions were asked to close.
    pub(crate) fn closings(&self) -> u64 {
        self.closings.load(Ordering::SeqCst)
    }

    /// Calls `look` with the right certificates of an identity.
    pub(crate) fn truth<T>(&self, identity: &str, look: impl FnOnce(&mut Truth) -> T) -> Option<T> {
        self.truths.lock().unwrap().get_mut(identity).map(look)
    }

    /// Issues a certificate for an identity, and notes that it may be shown.
    pub(crate) fn issue(&self, identity: &'static str) -> (Leaf, usize) {
        let leaf = self.ca.request(&[NAME, &host_of(identity)]).issue();
        let number = self.truth(identity, |it| it.issue(&leaf.sha256)).unwrap();
        (leaf, number)
    }

    /// Notes what is on disk from now on.
    pub(crate) fn on_disk(&self, subject: &'static str, state: State) {
        let mut disk = self.disk.lock().unwrap();
        disk.set(subject, Instant::now(), state);
    }

    /// Calls `look` with the states on disk.
    pub(crate) fn disk<T>(&self, look: impl FnOnce(&Disk) -> T) -> T {
        look(&self.disk.lock().unwrap())
    }

    /// Notes that a fault is about to strike a worker.
    pub(crate) fn strike(&self, worker: u32, blow: Blow) {
        let mut deaths = self.deaths.lock().unwrap();
        deaths.begin(worker, blow, Instant::now());
    }

    /// Notes that the fault is over.
    pub(crate) fn struck(&self, worker: u32) {
        let dead = !process::is_alive(worker);
        let mut deaths = self.deaths.lock().unwrap();
        deaths.end(worker, Instant::now(), dead);
    }

    /// Calls `look` with the faults that struck workers.
    pub(crate) fn deaths<T>(&self, look: impl FnOnce(&Deaths) -> T) -> T {
        look(&self.deaths.lock().unwrap())
    }

    /// Adds details of a strike to the timeline.
    pub(crate) fn note(&self, entry: Entry, note: impl Into<String>) {
        self.journal.lock().unwrap().note(entry, note.into());
    }

    /// Returns whether a fault excuses the refusal of commands in this time.
    pub(crate) fn excuses(&self, begun: Instant, ended: Instant) -> bool {
        self.journal.lock().unwrap().excuses(begun, ended)
    }
}

/// Returns the name that clients ask for to be shown an identity's certificate.
pub(crate) fn host_of(identity: &str) -> String {
    format!("{identity}.test")
}
