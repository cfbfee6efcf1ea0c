//! Sessions that go on from their records, in the middle of anything.

mod deaths;

use std::{
    future::poll_fn,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream as StdTcpStream},
    os::unix::net::UnixStream as StdUnixStream,
    sync::Arc,
};

use proptest::prelude::*;
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::{
    facts::SessionId,
    protocol::watcher::Watcher,
    session::{
        chains::Chains,
        counters::Counters,
        leg::Leg,
        record::{Record, samples},
        socket::Socket,
    },
    tls::{
        records::{
            Role, Suite, Version,
            suite::SUITES,
            tests::peer::{self, Peer},
        },
        stream::TlsStream,
    },
};

/// The most turns in which all that was said must arrive.
const PATIENCE: usize = 10_000;

/// A socket of either kind, outside.
trait Duplex: Read + Write {}
impl<S: Read + Write> Duplex for S {}

/// The kind of a session's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Unix,
}

/// Returns a connection: the end outside, and the session's own, which has opened it if it is a `role` of client.
fn connect(kind: Kind, role: Role) -> (Box<dyn Duplex>, Socket) {
    if kind == Kind::Unix {
        let (socket, ours) = StdUnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        ours.set_nonblocking(true).unwrap();
        return (
            Box::new(socket),
            Socket::Unix(UnixStream::from_std(ours).unwrap()),
        );
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let opened = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    for socket in [&opened, &accepted] {
        socket.set_nonblocking(true).unwrap();
        socket.set_nodelay(true).unwrap();
    }
    let (socket, ours) = match role {
        Role::Client => (accepted, opened),
        Role::Server => (opened, accepted),
    };
    (
        Box::new(socket),
        Socket::Tcp(TcpStream::from_std(ours).unwrap()),
    )
}

/// One end of a session, outside.
struct End {
    socket: Box<dyn Duplex>,
    tls: Option<Peer>,
    /// What is to be sent yet, as it goes over the wire.
    outgoing: Vec<u8>,
    /// What was said in all.
    said: Vec<u8>,
    heard: Vec<u8>,
}

impl End {
    /// Makes an end, and the session's own leg to it.
    fn new(suite: Option<&Suite>, role: Role, kind: Kind) -> (Self, Leg) {
        let (socket, ours) = connect(kind, role);
        let mut leg = Leg::new(ours);
        let tls = suite.map(|suite| {
            let (records, peer, behind) = peer::session(suite, role, 2);
            leg.set_tls(TlsStream::resume(records.state().clone(), &mut Vec::new()));
            (peer, behind)
        });
        let (tls, outgoing) = tls.map_or((None, Vec::new()), |(peer, behind)| (Some(peer), behind));
        let end = Self {
            socket,
            tls,
            outgoing,
            said: Vec::new(),
            heard: Vec::new(),
        };
        (end, leg)
    }

    fn say(&mut self, length: usize) {
        let from = self.said.len();
        let byte = |it: usize| u8::try_from(it % 251).unwrap();
        let plain: Vec<u8> = (from..from + length).map(byte).collect();
        match &mut self.tls {
            Some(tls) => self.outgoing.extend(tls.seal(&plain)),
            None => self.outgoing.extend(&plain),
        }
        self.said.extend(plain);
    }

    fn update_key(&mut self, suite: Option<&Suite>) {
        if let Some(tls) = &mut self.tls
            && suite.is_some_and(|it| it.version() == Version::Tls13)
        {
            self.outgoing.extend(tls.update_key());
        }
    }

    /// Sends and receives what it can, at most so much.
    fn turn(&mut self, most: usize) {
        let piece = &self.outgoing[..self.outgoing.len().min(most)];
        match self.socket.write(piece) {
            Ok(sent) => drop(self.outgoing.drain(..sent)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let mut space = vec![0; most];
        match self.socket.read(&mut space) {
            Ok(read) => match &mut self.tls {
                Some(tls) => {
                    self.heard.extend(tls.open(&space[..read]).unwrap());
                    // Answers to what it was asked, such as for new keys.
                    self.outgoing.extend(tls.flight());
                }
                None => self.heard.extend(&space[..read]),
            },
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A side says so many bytes.
    Say(Side, usize),
    /// A side changes its keys, and asks for the same.
    UpdateKey(Side),
    /// Both ends move at most so many bytes, and the relay has a turn.
    Turn(usize),
    /// The session goes on from its record.
    Keep,
}

fn live() -> LiveSession {
    let id = SessionId {
        origin: 1,
        number: 1,
    };
    LiveSession::new(id, Arc::new(Counters::new("main".to_owned())), None, 1)
}

fn relay_of(conversation: Conversation<Watcher>, session: &Arc<LiveSession>) -> Relay<Watcher> {
    Relay::new(conversation, Patience::endless(), Arc::clone(session))
}

/// Lets a session go on from its record, as another process would that has its sockets.
fn keep(relay: Relay<Watcher>, session: &Arc<LiveSession>) -> Relay<Watcher> {
    let record = samples::now(&relay.conversation, session);
    let bytes = record.encode().unwrap();
    let Conversation {
        client, backend, ..
    } = relay.conversation;
    let record = Record::decode(&bytes).unwrap();
    assert_eq!(*record.encode().unwrap(), *bytes);
    let (client, backend) = (client.into_socket(), backend.into_socket());
    relay_of(
        Conversation::resume(client, backend, record).unwrap(),
        session,
    )
}

async fn turn(relay: &mut Relay<Watcher>) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *relay).poll(cx).is_pending(), "it goes on");
        Poll::Ready(())
    })
    .await;
    tokio::task::yield_now().await;
}

async fn play(suites: [Option<&'static Suite>; 2], steps: &[Step]) {
    let session = Arc::new(live());
    let (client, front) = End::new(suites[0], Role::Server, Kind::Unix);
    let (backend, back) = End::new(suites[1], Role::Client, Kind::Unix);
    front
        .tls()
        .inspect(|tls| session.note_tls(tls, &Chains::default()));
    let mut ends = [client, backend];
    let mut relay = relay_of(Conversation::new(front, back, Watcher::None), &session);
    for step in steps {
        match *step {
            Step::Say(side, length) => ends[side as usize].say(length),
            Step::UpdateKey(side) => ends[side as usize].update_key(suites[side as usize]),
            Step::Keep => relay = keep(relay, &session),
            Step::Turn(most) => {
                for end in &mut ends {
                    end.turn(most);
                }
                turn(&mut relay).await;
            }
        }
    }
    for _ in 0..PATIENCE {
        for end in &mut ends {
            end.turn(1 << 20);
        }
        turn(&mut relay).await;
        if ends[0].heard.len() == ends[1].said.len() && ends[1].heard.len() == ends[0].said.len() {
            break;
        }
    }
    assert!(ends[0].heard == ends[1].said, "what the backend said");
    assert!(ends[1].heard == ends[0].said, "what the client said");
    let [client, backend] = [&ends[0].said, &ends[1].said].map(|it| it.len() as u64);
    assert_eq!(session.bytes(), (client, backend));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let side = || prop_oneof![Just(Side::Client), Just(Side::Server)];
    let length = prop_oneof![1..100_usize, 16_380..16_390_usize, 1..300_000_usize];
    let step = prop_oneof![
        3 => (side(), length).prop_map(|(side, length)| Step::Say(side, length)),
        1 => side().prop_map(Step::UpdateKey),
        4 => prop_oneof![1..50_usize, 1..100_000_usize].prop_map(Step::Turn),
        4 => Just(Step::Keep),
    ];
    prop::collection::vec(step, 1..40)
}

fn suite() -> impl Strategy<Value = Option<&'static Suite>> {
    prop_oneof![
        1 => Just(None),
        3 => (0..SUITES.len()).prop_map(|it| Some(&SUITES[it])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_session_goes_on_from_its_record_wherever_it_was(
        client in suite(), backend in suite(), steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(play([client, backend], &steps));
    }
}
