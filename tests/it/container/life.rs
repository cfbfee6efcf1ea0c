//! The life of a container: it follows Secrets, outlives its workers, drains, and starts again.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::support::{
    PATIENCE,
    backend::Backend,
    client::{Client, Session, connect, handshake},
    eventually,
    pki::{Ca, Leaf},
    podman::{CONFINED, Container, Image, Volume},
    ports::free_port,
    process, until,
};
use crate::{metrics::ask, support::process::Known};

/// What the configuration says beside the drain's time and the places.
const CONFIGURATION: &str = "
workers = 1
drain_timeout = \"DRAIN\"
metrics = { bind = \"127.0.0.1:METRICS\" }

[[identity]]
name = \"default\"
cert = \"/secrets/server/tls.crt\"
key = \"/secrets/server/tls.key\"

[[listener]]
name = \"main\"
bind = \"127.0.0.1:0\"
protocol = \"tcp\"
backend = \"BACKEND\"
";

/// A name that only the container's `/etc/hosts` has.
const NAME: &str = "database.test";

/// A confined container that serves, with all that it is given.
pub(super) struct Served {
    pub(super) container: Container,
    pub(super) ca: Ca,
    /// Where its listener is.
    pub(super) address: SocketAddr,
    /// Where its metrics are.
    page: SocketAddr,
    secret: Volume,
    _backend: Backend,
    _others: [Volume; 3],
}

impl Served {
    /// Starts one with further options of `podman run`; `None` skips the test.
    pub(super) fn start(options: &[&str]) -> Option<Self> {
        Self::draining_for("30s", options)
    }

    fn draining_for(drain: &str, options: &[&str]) -> Option<Self> {
        let image = Image::of_this_build()?;
        let (ca, backend, port) = (Ca::new("authority"), Backend::tcp(), free_port());
        let place = backend.address().replace("127.0.0.1", NAME);
        let configuration = CONFIGURATION
            .replace("DRAIN", drain)
            .replace("METRICS", &port.to_string())
            .replace("BACKEND", &place);
        let secret = Volume::projected(&files(&ca.leaf("localhost")));
        let configuration = Volume::projected(&[("proxyd.toml", &configuration)]);
        let [state, runtime] = [Volume::empty(), Volume::empty()];
        let host = format!("--add-host={NAME}:127.0.0.1");
        let own = [
            configuration.read_only_at("/etc/proxyd"),
            secret.read_only_at("/secrets/server"),
            state.at("/var/lib/proxyd"),
            runtime.at("/run/proxyd"),
        ];
        let given = CONFINED.iter().chain(options).map(|it| (*it).to_owned());
        let options: Vec<_> = given
            .chain(["--network=host".to_owned(), host])
            .chain(own)
            .collect();
        let container = Container::start(&image, &options, &[]);
        Some(Self {
            address: container.address_of("main"),
            page: SocketAddr::from(([127, 0, 0, 1], port)),
            container,
            ca,
            secret,
            _backend: backend,
            _others: [configuration, state, runtime],
        })
    }

    /// Opens a session and waits until it is one that outlives its worker.
    fn kept(&self) -> Session {
        let mut session = Client::new(&self.ca).connect(self.address).unwrap();
        session.echo("before").unwrap();
        until("the session is kept", || {
            self.container.status()["sessions"]["kept"] == 1
        });
        session
    }
}

fn files(leaf: &Leaf) -> [(&'static str, &str); 2] {
    [("tls.crt", &leaf.cert), ("tls.key", &leaf.key)]
}

#[test]
fn a_container_follows_a_secret_and_its_sessions_outlive_its_workers() {
    let Some(served) = Served::start(&[]) else {
        return;
    };
    let container = &served.container;
    let mut session = served.kept();
    let renewed = served.ca.leaf("localhost");
    served.secret.project(&files(&renewed));
    until("the renewed certificate is shown", || {
        let shown = handshake(served.address, "localhost", &served.ca);
        shown.is_ok_and(|shown| shown.sha256 == renewed.sha256)
    });
    let init = container.init().pid;
    let worker = Known::new(process::workers(init)[0]).unwrap();
    worker.send(Signal::SIGKILL);
    session.echo("after").unwrap();
    assert!(!worker.is_alive());
    assert_eq!(container.init().pid, init);
    handshake(served.address, "localhost", &served.ca).unwrap();
}

#[test]
fn the_sessions_of_a_container_go_on_at_an_upgrade() {
    let Some(served) = Served::start(&[]) else {
        return;
    };
    let mut session = served.kept();
    let init = served.container.init();
    served.container.ctl(&["upgrade"]).answer();
    assert_eq!(served.container.init(), init);
    session.echo("after").unwrap();
    assert_eq!(served.container.status()["sessions"]["taken_over_total"], 1);
}

#[test]
fn a_container_that_is_terminated_lets_its_sessions_end_and_takes_no_new_ones() {
    let Some(served) = Served::start(&[]) else {
        return;
    };
    let healthy = |path| ask(served.page, "GET", path).0;
    assert_eq!((healthy("/healthz"), healthy("/readyz")), (200, 200));
    let mut session = served.kept();
    served.container.podman(&["kill", "--signal=TERM"]).answer();
    until("it is not ready any more", || healthy("/readyz") == 503);
    assert_eq!(healthy("/healthz"), 200);
    assert!(connect(served.address).is_err());
    session.echo("still").unwrap();
    session.close().unwrap();
    assert_eq!(served.container.wait(), 0);
    let log = served.container.log();
    assert!(log.contains("1 session ended by itself"), "{log}");
}

#[test]
fn sessions_are_cut_when_drain_timeout_is_over_and_the_container_ends_well() {
    let Some(served) = Served::draining_for("1s", &["--stop-timeout=20"]) else {
        return;
    };
    let mut session = served.kept();
    served.container.podman(&["stop"]).answer();
    assert!(session.echo("too late").is_err());
    assert_eq!(served.container.wait(), 0);
    let log = served.container.log();
    assert!(log.contains("was cut"), "{log}");
}

#[test]
fn a_container_with_too_little_grace_is_killed_and_starts_again_with_the_same_volumes() {
    let Some(served) = Served::start(&["--stop-timeout=1"]) else {
        return;
    };
    let mut session = served.kept();
    served.container.podman(&["stop"]).answer();
    assert_eq!(served.container.wait(), 128 + 9);
    assert!(session.echo("cut").is_err());

    served.container.podman(&["start"]).answer();
    let address = served.container.address_of("main");
    eventually("clients are served", PATIENCE, || {
        handshake(address, "localhost", &served.ca).ok()
    });
    let log = served.container.log();
    assert!(!log.contains("worker of an earlier supervisor"), "{log}");
}

#[test]
fn a_container_has_as_many_workers_as_its_share_of_the_processors() {
    let Some(image) = Image::of_this_build() else {
        return;
    };
    let options = [&CONFINED[..], &["--network=none", "--cpus=1.5"]].concat();
    let options: Vec<_> = options.into_iter().map(str::to_owned).collect();
    let listener = ["--listen=127.0.0.1:3307", "--backend=127.0.0.1:3306"];
    let container = Container::start(&image, &options, &listener.map(str::to_owned));
    let workers = container.serves()["workers"].as_array().unwrap().len();
    assert_eq!(workers, 1);
}
