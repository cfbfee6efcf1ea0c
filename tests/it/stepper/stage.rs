//! A daemon of one worker, in front of a service, with sessions that were not used yet.

use super::{
    conversation::{Ended, Front, Kind, Talk},
    service::Service,
};
use crate::support::{
    PATIENCE, builder::Builder, client::Client, configuration::Listener, daemon::TestDaemon,
    eventually, orders::Obeying, process, scene::Scene,
};

/// The listener of the sessions.
const LISTENER: &str = "stage";

/// The daemon and its sessions.
pub(super) struct Stage {
    kind: Kind,
    daemon: Daemon,
    service: Service,
    client: Client,
    front: Front,
    /// One that is never worked on when its worker dies.
    witness: Talk,
    fresh: Vec<Talk>,
    /// How many sessions ended with their worker.
    ended: u64,
}

/// Either build of the daemon.
enum Daemon {
    Usual(Box<Scene>),
    Obeying(Box<Obeying>),
}

impl Daemon {
    fn scene(&self) -> &Scene {
        match self {
            Self::Usual(scene) => scene,
            Self::Obeying(obeying) => &obeying.scene,
        }
    }
}

impl Stage {
    /// Starts a daemon that keeps so many sessions of this kind.
    pub(super) fn new(kind: Kind, sessions: usize) -> Self {
        let mut service = None;
        let scene = Scene::with(|builder| configure(builder, kind, &mut service));
        Self::begin(kind, Daemon::Usual(Box::new(scene)), service, sessions)
    }

    /// Starts one whose worker can be told to die; `None` skips the test.
    pub(super) fn obeying(kind: Kind, sessions: usize) -> Option<Self> {
        let mut service = None;
        let obeying = Obeying::with(|builder| configure(builder, kind, &mut service))?;
        let daemon = Daemon::Obeying(Box::new(obeying));
        Some(Self::begin(kind, daemon, service, sessions))
    }

    fn begin(kind: Kind, daemon: Daemon, service: Option<Service>, sessions: usize) -> Self {
        let service = service.expect("it was started");
        let scene = daemon.scene();
        let client = Client::new(&scene.ca);
        let front = match kind {
            Kind::Unix => Front::Unix(scene.daemon.path("front.sock")),
            _ => Front::Tcp(scene.daemon.address_of(LISTENER)),
        };
        let open = |mode| {
            let line = kind.open(&front, &client);
            line.and_then(|line| Talk::begin(line, mode, &service))
                .unwrap()
        };
        let witness = open(Kind::ECHO);
        let fresh = (0..sessions).map(|_| open(kind.mode())).collect();
        scene
            .daemon
            .await_status("all sessions are kept", |status| {
                status["sessions"]["kept"] == sessions + 1
            });
        Self {
            kind,
            daemon,
            service,
            client,
            front,
            witness,
            fresh,
            ended: 0,
        }
    }

    pub(super) fn daemon(&self) -> &TestDaemon {
        &self.daemon.scene().daemon
    }

    /// Returns the daemon whose worker obeys.
    pub(super) fn obeys(&self) -> &Obeying {
        match &self.daemon {
            Daemon::Usual(_) => panic!("it takes no orders"),
            Daemon::Obeying(obeying) => obeying,
        }
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Returns the only worker, which is not this one.
    pub(super) fn worker_after(&self, last: u32) -> u32 {
        eventually("there is a worker", PATIENCE, || {
            let children = process::children(self.daemon().pid()).into_iter();
            let mut workers = children.filter(|pid| *pid != last && process::is_alive(*pid));
            workers.find(|pid| process::name(*pid).as_deref() == Some("proxyd-worker"))
        })
    }

    /// Has the conversation of a session that was not used yet.
    pub(super) fn converse(&mut self) -> Result<Ended, String> {
        self.fresh.pop().expect("there are some left").converse()
    }

    /// Opens one more session and has its conversation; a connection that ends is an end before all was heard.
    pub(super) fn converse_anew(&self) -> Result<Ended, String> {
        let line = self.kind.open(&self.front, &self.client);
        let talk = line.and_then(|line| Talk::begin(line, self.kind.mode(), &self.service));
        talk.map_or(Ok(Ended::Early), |mut talk| talk.converse())
    }

    /// Asserts that a conversation heard all, whether or not its worker died in the middle, and that a session that was
    /// idle meanwhile goes on.
    pub(super) fn judge(&mut self, said: Result<Ended, String>, died: bool, context: &str) {
        match said {
            Ok(Ended::Well) => {}
            // The kernel does not say whether a Unix socket took what its worker was just writing.
            Ok(Ended::Early) if self.kind == Kind::Unix && died => self.ended += 1,
            said => panic!("{:?}, {context}: {said:?}", self.kind),
        }
        self.assert_idle_one_lives(context);
    }

    /// Asserts that a session that was idle goes on.
    pub(super) fn assert_idle_one_lives(&mut self, context: &str) {
        let idle = self.witness.converse();
        assert!(
            matches!(idle, Ok(Ended::Well)),
            "{:?}, {context}, idle: {idle:?}",
            self.kind
        );
    }

    /// Asserts that sessions were lost for no reason but the one that is allowed here. A session may also be lost behind its
    /// last byte.
    pub(super) fn assert_lost(&self) {
        let sessions = &self.daemon().status()["sessions"];
        let lost = sessions["lost_total"].as_u64().unwrap();
        assert!(lost >= self.ended, "{sessions}, {} ended", self.ended);
        assert_eq!(sessions["lost_by_reason"]["unix_write"], lost, "{sessions}");
    }
}

fn configure(builder: Builder, kind: Kind, service: &mut Option<Service>) -> Builder {
    let service = service.insert(Service::start(kind, builder.folder()));
    let mut listener =
        Listener::tcp(LISTENER, &service.address()).line("tls = { mode = \"preferred\" }");
    if kind == Kind::Unix {
        let path = builder.folder().join("front.sock");
        listener = listener.bind(&format!("unix:{}", path.display()));
    }
    if kind == Kind::BothTls {
        listener = listener.line("backend_tls = { mode = \"require\" }");
    }
    builder
        .set("keep_after", "\"1ms\"")
        .set("heartbeat_timeout", "\"60s\"")
        .listener(listener)
}
