//! Every way in which files change under a daemon that watches them.
//!
//! Somebody shakes hands all the time meanwhile. No handshake may fail, each change makes one new
//! generation, and what is shown in the end is right.

mod folder;
mod grace;
mod hops;
mod in_place;
mod many;
mod stamps;
mod starved;
mod tools;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    builder::Builder,
    client::Client,
    daemon::TestDaemon,
    pki::{Ca, Leaf},
    scene::Scene,
    until,
};

/// Handshakes in a row that are taken for all workers.
const IN_A_ROW: usize = 12;

/// A daemon that watches, and somebody who shakes hands with it all the time.
struct Rotation {
    daemon: TestDaemon,
    guest: Guest,
    generation: u64,
    /// Whose certificates may be shown.
    known: BTreeSet<String>,
}

impl Rotation {
    /// Starts a daemon of two workers and the handshakes.
    fn begin() -> (Ca, Self) {
        Self::with(|builder| builder)
    }

    /// The same, with a daemon changed by `change` before.
    fn with(change: impl FnOnce(Builder) -> Builder) -> (Ca, Self) {
        let scene = Scene::with(|builder| change(watching(builder)));
        let rotation = Self::of(scene.daemon, &scene.ca, &scene.old);
        (scene.ca, rotation)
    }

    /// Starts the handshakes with a daemon that serves `leaf`.
    fn of(daemon: TestDaemon, ca: &Ca, leaf: &Leaf) -> Self {
        Self::trusting(daemon, Client::new(ca), &leaf.sha256)
    }

    fn trusting(daemon: TestDaemon, client: Client, sha256: &str) -> Self {
        Self {
            guest: Guest::start(&daemon, client),
            daemon,
            generation: 1,
            known: BTreeSet::from([sha256.to_owned()]),
        }
    }

    /// Changes files and waits until `leaf` is shown, by one new generation.
    #[track_caller]
    fn turn(&mut self, leaf: &Leaf, change: impl FnOnce(&TestDaemon)) {
        self.turn_to(|daemon| {
            change(daemon);
            leaf.sha256.clone()
        });
    }

    /// The same for who knows only afterwards what is to be shown.
    #[track_caller]
    fn turn_to(&mut self, change: impl FnOnce(&TestDaemon) -> String) {
        let sha256 = change(&self.daemon);
        self.known.insert(sha256.clone());
        // A status would look at the disk, which the watch is to do by itself.
        self.guest.await_shown(&sha256);
        self.generation += 1;
        let status = self.daemon.status();
        assert_eq!(status["tls"]["trigger"], "watch");
        assert_eq!(status["tls"]["generation"], self.generation);
        self.stands();
    }

    /// Sees to it that nothing on disk waits for being served: no further generation can come.
    #[track_caller]
    fn stands(&self) {
        let report = self.daemon.json(&["reload-tls"]);
        assert_eq!(report["changed"], false, "{report:#}");
        assert_eq!(report["problems"], serde_json::json!([]));
        assert_eq!(report["generation"], self.generation);
        assert_eq!(self.daemon.status()["tls"]["disk"]["state"], "same");
    }

    /// Ends the handshakes, none of which may have failed or shown what is not known.
    #[track_caller]
    fn end(self) -> TestDaemon {
        let (shown, failures) = self.guest.enough();
        assert_eq!(failures, [] as [String; 0]);
        assert!(shown.is_subset(&self.known), "{shown:#?}");
        self.daemon
    }

    /// The same, and nothing may ever have been reported as an error.
    #[track_caller]
    fn end_in_peace(self) {
        let daemon = self.end();
        let kinds = reported(&daemon);
        assert!(
            !kinds.iter().any(|kind| kind == "reload-failed"),
            "{kinds:?}"
        );
        let log = daemon.log();
        assert!(!log.contains("ERROR"), "{log}");
        assert_eq!(daemon.status()["tls"]["last_error"], Value::Null);
    }
}

/// Has a daemon hear of changes, and compare files too seldom for anybody to wait for it.
fn watching(builder: Builder) -> Builder {
    builder.workers(2).watch().set("watch_interval", "\"1h\"")
}

/// Returns the kinds of all events.
fn reported(daemon: &TestDaemon) -> Vec<String> {
    let events = daemon.events();
    let kind = |event: &Value| event["kind"].as_str().unwrap().to_owned();
    events.iter().map(kind).collect()
}

/// Lets time pass, because that is what happens to the files.
fn let_pass(time: Duration) {
    let end = Instant::now() + time;
    until("time passes", || Instant::now() >= end);
}

/// Somebody who shakes hands all the time.
struct Guest {
    enough: Arc<AtomicBool>,
    met: Arc<Mutex<Met>>,
    thread: JoinHandle<()>,
}

/// What came of it.
#[derive(Default)]
struct Met {
    shown: BTreeSet<String>,
    last: String,
    in_a_row: usize,
    failures: Vec<String>,
}

impl Guest {
    fn start(daemon: &TestDaemon, client: Client) -> Self {
        let address = daemon.address();
        let enough = Arc::new(AtomicBool::new(false));
        let met = Arc::new(Mutex::new(Met::default()));
        let (told, to) = (Arc::clone(&enough), Arc::clone(&met));
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let session = client.connect(address).and_then(|mut session| {
                    session.echo("hello")?;
                    Ok(session.shown().sha256)
                });
                to.lock().unwrap().take(session);
                // It is the handshakes that count, not how busy the machine is.
                until("a moment passes", {
                    let end = Instant::now() + Duration::from_millis(10);
                    move || Instant::now() >= end
                });
            }
        });
        Self {
            enough,
            met,
            thread,
        }
    }

    /// Waits until everybody is shown this certificate.
    #[track_caller]
    fn await_shown(&self, sha256: &str) {
        until("the certificate is shown", || {
            let met = self.met.lock().unwrap();
            met.last == sha256 && met.in_a_row >= IN_A_ROW
        });
    }

    fn enough(self) -> (BTreeSet<String>, Vec<String>) {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let met = std::mem::take(&mut *self.met.lock().unwrap());
        (met.shown, met.failures)
    }
}

impl Met {
    fn take(&mut self, session: std::io::Result<String>) {
        match session {
            Ok(sha256) => {
                let again = self.last == sha256;
                self.in_a_row = if again { self.in_a_row + 1 } else { 1 };
                self.shown.insert(sha256.clone());
                self.last = sha256;
            }
            Err(error) => self.failures.push(error.to_string()),
        }
    }
}
