//! The daemon of a run, its files, and the names that clients ask for at its listeners.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::{
    disk::State,
    faults::{
        control::write_hooks,
        files::{AUTHORITIES, AUTHORITIES_FILE},
    },
    identities::Identity,
    journal::Journal,
    pump::Pump,
    run::{Door, LogTo, Parts, Place, Run, host_of},
    small_disk::SmallDisk,
    tally::Tally,
};
use crate::{
    metrics,
    support::{
        builder::Builder,
        client::Client,
        configuration::Listener,
        daemon::TestDaemon,
        pki::{Ca, Leaf},
        scene::NAME,
    },
};

/// Where a daemon logs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Log {
    /// A pipe that is its standard error.
    Pipe,
    /// A file.
    File,
}

impl Log {
    /// Returns its name in the summary.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pipe => "a pipe",
            Self::File => "a file",
        }
    }
}

/// The identities.
const IDENTITIES: [&str; 3] = ["alpha", "beta", "gamma"];

/// The listeners: their names and their identities. The last asks clients for a certificate.
const LISTENERS: [(&str, &[&str]); 3] = [
    ("plain", &["alpha"]),
    ("names", &["beta", "gamma"]),
    ("known", &["gamma"]),
];

/// The listener that asks clients for a certificate.
const KNOWN: &str = "known";

/// The folder, in the daemon's folder, at which a small disk is mounted.
const SMALL: &str = "small";

/// A daemon that serves, and its files and disk.
pub(crate) struct Scenery {
    // Unmounted before the daemon's folder is removed.
    small_disk: Option<SmallDisk>,
    /// The daemon.
    pub(crate) daemon: TestDaemon,
    ca: Ca,
    client: Leaf,
    log: LogTo,
    identities: Vec<Identity>,
}

impl Scenery {
    /// Starts a daemon that logs to a pipe or a file.
    pub(crate) fn build(log: Log) -> Self {
        let ca = Ca::new("authority");
        let builder = TestDaemon::builder();
        let identities = IDENTITIES.map(|name| {
            let leaf = ca.request(&[NAME, &host_of(name)]).issue();
            Identity::create(builder.folder(), name, leaf)
        });
        let hook = write_hooks(builder.folder());
        let small = builder.folder().join(SMALL);
        fs::create_dir(&small).unwrap();
        let small_disk = SmallDisk::mount(&small);
        let log_line = match log {
            Log::Pipe => "{ sessions = false }".to_owned(),
            Log::File => format!("{{ file = \"{SMALL}/log\", sessions = false }}"),
        };
        let builder = builder
            .workers(3)
            .watch()
            .set("watch_grace", "\"1s\"")
            .set("heartbeat_timeout", "\"2s\"")
            .set("drain_timeout", "\"5s\"")
            .set("state_dir", &format!("\"{SMALL}/state\""))
            .set("log", &log_line)
            .set("metrics", "{ bind = \"127.0.0.1:0\" }")
            .set("on_exit_failure", &hook)
            .file(AUTHORITIES_FILE, ca.pem());
        let builder = identities
            .iter()
            .fold(builder, |builder, it| builder.table(&it.table()));
        let mut daemon = add_listeners(builder).prepare();
        let log = start(&mut daemon, log);
        Self {
            client: ca.leaf("client"),
            ca,
            daemon,
            log,
            small_disk,
            identities: identities.into(),
        }
    }

    /// Begins a run with the daemon, once.
    pub(crate) fn run<'act>(
        &'act mut self,
        tally: &'act Tally,
        journal: &'act Mutex<Journal>,
    ) -> Run<'act> {
        let identities = std::mem::take(&mut self.identities);
        let places = LISTENERS.map(|(name, identities)| Place {
            name,
            address: self.daemon.address_of(name),
            doors: identities
                .iter()
                .map(|identity| self.door(name, identity))
                .collect(),
        });
        let run = Run::new(Parts {
            daemon: &self.daemon,
            ca: &self.ca,
            places: places.into(),
            page: metrics::page(&self.daemon),
            log: &self.log,
            small_disk: self.small_disk.as_ref(),
            identities,
            tally,
            journal,
        });
        run.on_disk(AUTHORITIES, State::Good(0));
        run
    }

    /// Returns the whole log of the daemon, which has ended.
    pub(crate) fn log(&self) -> String {
        if let LogTo::File(path) = &self.log {
            keep_lines(path, &self.daemon.path("log"));
        }
        self.daemon.log()
    }

    fn door(&self, listener: &str, identity: &'static str) -> Door {
        let client = Client::new(&self.ca).name(&host_of(identity));
        let client = if listener == KNOWN {
            client.present(&self.client)
        } else {
            client
        };
        // The client keeps its configuration, so that a daemon that resumed sessions would be noticed.
        Door {
            identity,
            client: client.resuming(),
        }
    }
}

/// Moves the lines of a log to the end of those that are kept already.
pub(crate) fn keep_lines(log: &Path, kept: &Path) {
    let lines = fs::read(log).unwrap_or_default();
    let kept = OpenOptions::new().create(true).append(true).open(kept);
    kept.unwrap().write_all(&lines).unwrap();
    let _ = fs::remove_file(log);
}

fn add_listeners(builder: Builder) -> Builder {
    // By its name, so that each session needs the resolver.
    let backend = builder
        .backend()
        .address()
        .replace("127.0.0.1", "localhost");
    LISTENERS
        .iter()
        .fold(builder, |builder, (name, identities)| {
            let listener =
                Listener::tcp(name, &backend).line(&format!("identities = {identities:?}"));
            let auth =
                format!("client_auth = {{ mode = \"required\", ca = {AUTHORITIES_FILE:?} }}");
            builder.listener(if *name == KNOWN {
                listener.line(&auth)
            } else {
                listener
            })
        })
}

/// Starts a daemon; its standard error is a pipe if it is to log there.
fn start(daemon: &mut TestDaemon, log: Log) -> LogTo {
    let stderr: PathBuf = daemon.path("stderr");
    match log {
        Log::File => {
            daemon.start();
            LogTo::File(daemon.path(SMALL).join("log"))
        }
        Log::Pipe => {
            let pump = Pump::start(&stderr);
            daemon.start();
            Pump::rename(&stderr);
            LogTo::Pipe(pump)
        }
    }
}
