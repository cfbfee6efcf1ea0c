//! A daemon with one identity, and the certificate that will take its place.

use std::{
    os::unix::fs::chown,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;

use super::{
    builder::Builder,
    client::{self, Client, Session},
    daemon::TestDaemon,
    is_root, pause,
    pki::{Ca, Leaf},
    program::{NOBODY, as_nobody},
};

/// Handshakes that are taken for all: the kernel spreads them over the workers as it likes.
const MANY: usize = 8;

/// The name in the certificates.
pub(crate) const NAME: &str = "localhost";

/// A daemon that serves one identity, and what tests do with it.
pub(crate) struct Scene {
    /// Who issued the certificates.
    pub(crate) ca: Ca,
    /// What it serves at first.
    pub(crate) old: Leaf,
    /// What it is to serve later.
    pub(crate) new: Leaf,
    /// The daemon.
    pub(crate) daemon: TestDaemon,
}

impl Scene {
    /// Starts a daemon that serves the old certificate, changed by `change` before.
    pub(crate) fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let mut scene = Self::prepare(change);
        scene.daemon.start();
        scene
    }

    /// Does the same, and does not start it.
    pub(crate) fn prepare(change: impl FnOnce(Builder) -> Builder) -> Self {
        let ca = Ca::new("authority");
        let (old, new) = (ca.leaf(NAME), ca.leaf(NAME));
        let builder = TestDaemon::builder().identity("default", &old);
        let daemon = change(builder).prepare();
        Self {
            ca,
            old,
            new,
            daemon,
        }
    }

    /// Starts a daemon that serves the old certificate with one worker.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// Prepares a daemon that is not root and may read its files; `None` skips the test.
    pub(crate) fn unprivileged() -> Option<Self> {
        Self::unprivileged_of(env!("CARGO_BIN_EXE_proxyd"), |builder| builder)
    }

    /// Does the same with another build of the program.
    pub(crate) fn unprivileged_of(
        program: &str,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Option<Self> {
        let change = |builder: Builder| change(builder).program(Path::new(program));
        if !is_root() {
            return Some(Self::prepare(change));
        }
        let wrapper = as_nobody(program, NOBODY)?;
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let scene = Self::prepare(|builder| change(builder).wrapped(&wrapper));
        let files = scene.daemon.files("default");
        for path in [scene.daemon.folder(), &files.key, &files.cert] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Some(scene)
    }

    /// Puts the new certificate on disk.
    pub(crate) fn renew(&self) {
        self.daemon.files("default").put(&self.new);
    }

    /// Reloads the TLS files; returns the answer, which must be a success.
    #[track_caller]
    pub(crate) fn reload_tls(&self) -> Value {
        let text = self.daemon.ctl(&["--json", "reload-tls"]).answer();
        serde_json::from_str(&text).unwrap()
    }

    /// Opens a session.
    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        let client = Client::new(&self.ca);
        let mut session = client.connect(self.daemon.address()).unwrap();
        session.echo("hello").unwrap();
        session
    }

    /// Sees to it that everybody is shown this certificate.
    #[track_caller]
    pub(crate) fn shows(&self, leaf: &Leaf) {
        let address = self.daemon.address();
        for _ in 0..MANY {
            let shown = client::handshake(address, NAME, &self.ca).unwrap();
            assert_eq!(shown.sha256, leaf.sha256);
        }
    }

    /// Waits until so many workers have been restarted and all serve; returns the status.
    #[track_caller]
    pub(crate) fn await_restarts(&self, total: u64) -> Value {
        self.daemon
            .await_status("the workers serve again", |status| {
                let workers = status["workers"].as_array().unwrap();
                let serve = workers.iter().all(|worker| worker["state"] == "serving");
                serve && status["restarts"]["total"].as_u64().unwrap() >= total
            })
    }

    /// Begins to connect all the time.
    pub(crate) fn knock(&self) -> Knocker {
        Knocker::start(self.daemon.address())
    }
}

/// Somebody who connects again and again and counts how often nobody listens.
pub(crate) struct Knocker {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Knocker {
    /// Begins to connect to an address.
    pub(crate) fn start(address: std::net::SocketAddr) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let thread = thread::spawn(move || {
            let mut refusals = Vec::new();
            while !told.load(Ordering::Relaxed) {
                refusals.extend(client::connect(address).err().map(|it| it.to_string()));
                pause(Duration::from_millis(2));
            }
            refusals
        });
        Self { enough, thread }
    }

    /// Ends it.
    ///
    /// # Panics
    ///
    /// When a connection was ever refused.
    #[track_caller]
    pub(crate) fn was_never_refused(self) {
        self.enough.store(true, Ordering::Relaxed);
        let refusals = self.thread.join().unwrap();
        assert!(refusals.is_empty(), "{refusals:?}");
    }
}
