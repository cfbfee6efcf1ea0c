//! A worker, its supervisor and the next one, in one process.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, LocalSet, spawn_local},
    time::timeout,
};

use super::super::{life::Ended, work};
use crate::{
    config::{Address, Config, Limits, TlsMode, TlsPolicy},
    facts::{Confinement, Death, Enforcement, PROGRAM_VERSION, SessionId, Trigger},
    link::{
        FromWorker, Generation, Handover, ListenerKey, Packs, ToWorker,
        board::{Board, ClientSecret, ListenerNumber},
        door::{self, OfSupervisor},
        end,
        worker::About,
    },
    protocol::Protocol,
    session::{
        record::VERSION,
        table::{Left, layout},
    },
    sys::table,
    telemetry::log::{Form, Pipe},
    tls::{
        material::{ListenerMaterial, Material},
        testing,
    },
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the sessions of the worker begin with.
const ORIGIN: u64 = 7;

/// A worker and what its supervisor has given it.
struct Scene {
    worker: JoinHandle<Ended>,
    link: OfSupervisor,
    backend: TcpListener,
    /// Where clients come to the worker's own socket, and to a spare one.
    addresses: [SocketAddr; 2],
    table: OwnedFd,
    folder: TempDir,
}

/// An open session: its client and its backend.
struct Session {
    client: TcpStream,
    backend: TcpStream,
}

impl Session {
    async fn echo(&mut self) {
        let mut heard = [0; 4];
        self.client.write_all(b"ping").await.unwrap();
        self.backend.read_exact(&mut heard).await.unwrap();
        self.backend.write_all(b"pong").await.unwrap();
        self.client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"pong");
    }

    /// Whether neither peer was told of an end.
    fn is_open(&self) -> bool {
        let ends = [&self.client, &self.backend];
        let waits =
            |it: io::Result<usize>| it.is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock);
        ends.into_iter().all(|it| waits(it.try_read(&mut [0])))
    }
}

impl Scene {
    /// Starts a worker that serves; `change` has changed its configuration before. It gets a table if it `keeps`
    /// sessions.
    async fn new(keeps: bool, change: impl FnOnce(&mut Config)) -> Self {
        let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = end::pair().unwrap();
        let (pipe, _) = end::pair().unwrap();
        let log = Pipe::to(pipe, Form::Text);
        let (receiver, sender) = end::open(theirs).unwrap();
        let worker = spawn_local(work((receiver, sender), log, free(), (0, ORIGIN)));
        let link: OfSupervisor = end::open(ours).unwrap();
        let table = table::create(layout::LENGTH).unwrap();
        let mut scene = Self {
            worker,
            link,
            addresses: [SocketAddr::from(([127, 0, 0, 1], 0)); 2],
            table,
            folder: tempfile::tempdir().unwrap(),
            backend,
        };
        scene.begin(keeps, change).await;
        scene
    }

    async fn begin(&mut self, keeps: bool, change: impl FnOnce(&mut Config)) {
        let mut config = config(self.backend.local_addr().unwrap());
        change(&mut config);
        let key = ListenerKey::of(&config.listeners[0]);
        let board = Board::new().unwrap();
        let secret = ClientSecret::new().unwrap();
        self.send(ToWorker::Board { secret }, &[&*board.descriptor()])
            .await;
        if keeps {
            let table = self.table.try_clone().unwrap();
            self.send(ToWorker::Table { number: 3 }, &[&table]).await;
        }
        let number = ToWorker::Number {
            listener: config.listeners[0].name.clone(),
            number: ListenerNumber::at(0).unwrap(),
        };
        self.send(number, &[]).await;
        let [own, spare] = [(); 2].map(|()| {
            let socket = StdTcpListener::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        self.addresses = [&own, &spare].map(|it| it.local_addr().unwrap());
        let (own, spare) = (OwnedFd::from(own), OwnedFd::from(spare));
        let accept = ToWorker::Accept {
            key: key.clone(),
            slot: 0,
        };
        self.send(accept, &[&own]).await;
        self.send(ToWorker::Spare { key, slot: 1 }, &[&spare]).await;
        let generation = generation(config);
        let (handover, packs) = Handover::new(None, &generation);
        let handover = handover.write().unwrap().descriptor();
        let along: Vec<&OwnedFd> = [&handover]
            .into_iter()
            .chain(&packs)
            .map(|it| &**it)
            .collect();
        self.send(ToWorker::Stage { offer: 0 }, &along).await;
        self.send(ToWorker::Serve { generation: 1 }, &[]).await;
        self.send(ToWorker::State, &[&*handover]).await;
        let owner = nix::unistd::getuid().as_raw();
        self.send(ToWorker::Door { owner }, &[&self.door()]).await;
        self.hear(|it| matches!(it, FromWorker::Serving { generation: 1 }))
            .await;
    }

    fn path(&self) -> SocketAddrUnix {
        SocketAddrUnix::new(self.folder.path().join("door")).unwrap()
    }

    fn door(&self) -> OwnedFd {
        let door = packet_socket();
        rustix::net::bind(&door, &self.path()).unwrap();
        rustix::net::listen(&door, 8).unwrap();
        door
    }

    async fn send(&self, message: ToWorker, along: &[&OwnedFd]) {
        let along: Vec<_> = along.iter().map(|it| it.as_fd()).collect();
        self.link.1.send(&message, &along).await.unwrap();
    }

    /// Receives until a message is the one that is waited for; returns all with their descriptors.
    async fn hear(&mut self, is_it: impl Fn(&FromWorker) -> bool) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let next = timeout(PATIENCE, self.link.0.receive()).await;
            let next = next.unwrap().unwrap().expect("the worker lives");
            let found = is_it(&next.message);
            heard.push((next.message, next.descriptors));
            if found {
                return heard;
            }
        }
    }

    /// Opens a session over the worker's own socket (0) or the spare one (1).
    async fn open(&self, at: usize) -> Session {
        let mut client = TcpStream::connect(self.addresses[at]).await.unwrap();
        client.write_all(b"!").await.unwrap();
        let accepted = timeout(PATIENCE, self.backend.accept()).await;
        let (mut backend, _) = accepted.expect("the client is served").unwrap();
        backend.read_exact(&mut [0]).await.unwrap();
        let mut session = Session { client, backend };
        session.echo().await;
        session
    }

    /// Ends the supervisor, and comes in by the door as the next one, which asks for all that the worker has.
    async fn succeed(&mut self) {
        let (unread, mute) = end::pair().unwrap();
        drop(unread);
        self.link = end::open(mute).unwrap();
        let socket = packet_socket();
        rustix::net::connect(&socket, &self.path()).unwrap();
        let greeted = timeout(PATIENCE, door::greet(socket)).await;
        let asked = greeted.unwrap().unwrap().ask(&ToWorker::Tell);
        self.link = timeout(PATIENCE, asked).await.unwrap().unwrap();
    }

    async fn ended(&mut self) -> Ended {
        timeout(PATIENCE, &mut self.worker).await.unwrap().unwrap()
    }

    async fn tell_to_hand_over(&mut self) {
        let record = VERSION;
        self.send(ToWorker::HandOver { record }, &[]).await;
    }

    /// Returns what the worker says until it says how far its handover is, which is that so many sessions stay.
    async fn hear_that_stay(&mut self, stays: u64) -> Vec<Heard> {
        let is_it = |it: &FromWorker| matches!(it, FromWorker::HandedOver { .. });
        let heard = self.hear(is_it).await;
        let (last, _) = heard.last().unwrap();
        assert_eq!(*last, FromWorker::HandedOver { stays });
        heard
    }

    /// Returns what the worker says until it is ready to leave its sessions.
    async fn hear_ready(&mut self) -> Vec<Heard> {
        self.hear(|it| *it == FromWorker::HandedOver { stays: 0 })
            .await
    }

    /// Has the worker leave its sessions, which it does at once.
    async fn leaves(&mut self) {
        self.send(ToWorker::Leave, &[]).await;
        assert_eq!(self.ended().await, Ended::HandedOver);
    }
}

/// A message with its descriptors.
type Heard = (FromWorker, Vec<OwnedFd>);

/// What is reported of a process that may do anything.
fn free() -> Confinement {
    Confinement {
        files: Enforcement::None,
        scopes: false,
        system_calls: false,
        missing: vec![],
    }
}

fn packet_socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// Returns the configuration of a listener with this backend, whose sessions are kept after a minute.
fn config(backend: SocketAddr) -> Config {
    let mut listener = testing::listener(&["default"]);
    listener.protocol = Protocol::Tcp;
    listener.backends = backend.to_string().parse::<Address>().unwrap().into();
    listener.tls = TlsPolicy {
        mode: TlsMode::Preferred,
        ..TlsPolicy::default()
    };
    listener.limits = Limits {
        max_connections: 100,
        per_client: 0,
        handshake_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        idle_timeout: Duration::ZERO,
        dead_peer_timeout: Duration::ZERO,
    };
    Config {
        heartbeat_timeout: Duration::from_secs(1),
        drain_timeout: PATIENCE,
        orphan_timeout: PATIENCE,
        keep_after: Some(Duration::from_secs(60)),
        ..testing::config(vec![listener])
    }
}

fn generation(config: Config) -> Generation {
    let material = Material {
        identities: vec![testing::any_identity("default")],
        listeners: vec![ListenerMaterial {
            name: config.listeners[0].name.clone(),
            clients: None,
            backend: None,
            backend_identity: None,
        }],
        system_roots: vec![],
    };
    Generation {
        number: 1,
        loaded_at: Timestamp::UNIX_EPOCH,
        trigger: Trigger::Start,
        config: Arc::new(config),
        packs: Packs::default().next(&material).unwrap(),
        material,
    }
}

fn id(number: u64) -> SessionId {
    SessionId {
        origin: ORIGIN,
        number,
    }
}

/// Returns the sessions whose sockets were sent.
fn kept(heard: &[Heard]) -> Vec<SessionId> {
    let mut all = Vec::new();
    for (message, along) in heard {
        if let FromWorker::Keep { ids } = message {
            assert_eq!(along.len(), 2 * ids.len());
            all.extend(ids);
        }
    }
    all.sort();
    all
}

async fn run(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn sessions_of_any_age_are_handed_over_and_none_is_touched() {
    run(async {
        let mut scene = Scene::new(true, |_| ()).await;
        let sessions = [scene.open(0).await, scene.open(0).await];
        scene.tell_to_hand_over().await;
        let heard = scene.hear_that_stay(0).await;
        assert_eq!(kept(&heard), [id(1), id(2)]);
        scene.leaves().await;
        assert!(sessions.iter().all(Session::is_open));
        let table = scene.table.try_clone().unwrap();
        let left = Left::map(3, Death::HandedOver, table).unwrap();
        let mut noted: Vec<_> = left.rows().filter_map(|row| left.id(row)).collect();
        noted.sort_by_key(|(id, _)| *id);
        assert_eq!(
            noted.iter().map(|it| it.0).collect::<Vec<_>>(),
            [id(1), id(2)]
        );
        for (row, (_, state)) in left.rows().zip(noted) {
            left.read(row, state).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_hands_over_waits_for_a_session_that_is_being_opened() {
    run(async {
        let mut scene = Scene::new(true, |_| ()).await;
        let mut client = TcpStream::connect(scene.addresses[0]).await.unwrap();
        scene
            .hear(|it| matches!(it, FromWorker::Counts { counts, .. } if counts.open == 1))
            .await;
        scene.tell_to_hand_over().await;
        client.write_all(b"!").await.unwrap();
        let (mut backend, _) = scene.backend.accept().await.unwrap();
        backend.read_exact(&mut [0]).await.unwrap();
        assert_eq!(kept(&scene.hear_ready().await), [id(1)]);
        scene.leaves().await;
        assert!(Session { client, backend }.is_open());
    })
    .await;
}

#[tokio::test]
async fn a_worker_stays_for_sessions_that_cannot_be_kept_and_no_longer() {
    run(async {
        let mut scene = Scene::new(false, |_| ()).await;
        let mut session = scene.open(0).await;
        scene.tell_to_hand_over().await;
        scene.hear_that_stay(1).await;
        session.echo().await;
        drop(session);
        scene.hear_that_stay(0).await;
        scene.leaves().await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_cannot_write_records_of_a_version_keeps_its_sessions() {
    run(async {
        let mut scene = Scene::new(true, |_| ()).await;
        let mut session = scene.open(0).await;
        let record = VERSION + 2;
        scene.send(ToWorker::HandOver { record }, &[]).await;
        scene.hear_that_stay(1).await;
        session.echo().await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_says_when_all_records_are_in_the_version_that_it_was_told() {
    run(async {
        let keep = |it: &mut Config| it.keep_after = Some(Duration::from_millis(1));
        let mut scene = Scene::new(true, keep).await;
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(scene.open(0).await);
            scene.hear(|it| matches!(it, FromWorker::Keep { .. })).await;
        }
        for version in [VERSION + 1, VERSION] {
            scene.send(ToWorker::Records { version }, &[]).await;
            let recorded = FromWorker::Recorded { version };
            let heard = scene.hear(|it| *it == recorded).await;
            assert!(kept(&heard).is_empty(), "no socket is sent again");
        }
        for session in &mut sessions {
            session.echo().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_without_a_supervisor_serves_all_slots_and_tells_the_next_one_all() {
    run(async {
        let keep = |it: &mut Config| it.keep_after = Some(Duration::from_millis(1));
        let mut scene = Scene::new(true, keep).await;
        let mut before = scene.open(0).await;
        scene.hear(|it| matches!(it, FromWorker::Keep { .. })).await;
        scene.succeed().await;
        before.echo().await;
        let alone = scene.open(1).await;
        let heard = scene.hear(|it| *it == FromWorker::Told).await;
        let about = heard.iter().find_map(|(message, along)| match message {
            FromWorker::About(about) => Some((About::clone(about), along.len())),
            _ => None,
        });
        let about_it = About {
            pid: std::process::id(),
            slot: 0,
            origin: ORIGIN,
            table: Some(3),
            generation: 1,
            version: PROGRAM_VERSION.to_owned(),
            accepts: true,
        };
        assert_eq!(about, Some((about_it, 1)));
        let count = |is_it: fn(&FromWorker) -> bool| heard.iter().filter(|it| is_it(&it.0)).count();
        assert_eq!(count(|it| matches!(it, FromWorker::Socket { .. })), 2);
        assert_eq!(count(|it| *it == FromWorker::Board), 1);
        assert_eq!(count(|it| *it == FromWorker::State), 1);
        // Beats tell them again when bytes have moved.
        assert!(count(|it| matches!(it, FromWorker::Counts { .. })) > 0);
        assert!(kept(&heard).contains(&id(1)));
        scene.tell_to_hand_over().await;
        let mut all = heard;
        all.extend(scene.hear_ready().await);
        let mut kept = kept(&all);
        // One that is asked for while word of it is on the way is told twice; the supervisor closes the second pair.
        kept.dedup();
        assert_eq!(kept, [id(1), id(2)]);
        scene.leaves().await;
        assert!(before.is_open() && alone.is_open());
    })
    .await;
}

#[tokio::test]
async fn a_worker_whose_second_supervisor_is_gone_too_waits_for_a_third() {
    run(async {
        let mut scene = Scene::new(true, |_| ()).await;
        let mut session = scene.open(0).await;
        for _ in 0..3 {
            scene.succeed().await;
            session.echo().await;
            scene.open(1).await.echo().await;
        }
        scene.tell_to_hand_over().await;
        scene.hear_ready().await;
        scene.leaves().await;
        assert!(session.is_open());
    })
    .await;
}

#[tokio::test]
async fn a_worker_for_which_no_supervisor_comes_drains_until_one_does() {
    run(async {
        let change = |it: &mut Config| it.orphan_timeout = Duration::ZERO;
        let mut scene = Scene::new(true, change).await;
        let mut session = scene.open(0).await;
        scene.succeed().await;
        assert!(TcpStream::connect(scene.addresses[0]).await.is_err());
        session.echo().await;
        let heard = scene.hear(|it| *it == FromWorker::Told).await;
        let accepts = heard.iter().find_map(|(message, _)| match message {
            FromWorker::About(about) => Some(about.accepts),
            _ => None,
        });
        assert_eq!(accepts, Some(false));
        scene.tell_to_hand_over().await;
        scene.hear_ready().await;
        scene.leaves().await;
        assert!(session.is_open());
    })
    .await;
}

#[tokio::test]
async fn a_worker_for_which_no_supervisor_comes_in_time_cuts_its_sessions() {
    run(async {
        let mut scene = Scene::new(true, |it| {
            it.orphan_timeout = Duration::from_millis(50);
            it.drain_timeout = Duration::from_millis(50);
        })
        .await;
        let mut session = scene.open(0).await;
        let (unread, mute) = end::pair().unwrap();
        drop(unread);
        scene.link = end::open(mute).unwrap();
        assert_eq!(scene.ended().await, Ended::Done);
        assert_eq!(session.client.read(&mut [0]).await.unwrap_or(0), 0);
    })
    .await;
}
