//! Workers that die at any point of a session, over sockets of the real kernel: the session goes on in another worker's
//! table, and no byte is lost, doubled or out of order.
//!
//! A death is thrown and caught here, so that what the worker had in memory is gone; its table and its sockets stay.

use std::{
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::*;
use crate::{
    facts::Death,
    session::{
        journal::{Journal, KeptTerms},
        keep::keep,
        keeper::{Keeper, Keeping},
        points::{Died, Point, arm},
        table::{self, Left, layout},
        takeover::resume,
    },
    sys::table::create,
};

/// A worker, of which there is one at a time.
struct Worker {
    table: OwnedFd,
    relay: Relay<Watcher>,
    session: Arc<LiveSession>,
}

/// What the supervisor keeps.
struct Kept {
    sockets: [OwnedFd; 2],
    deaths: u32,
}

fn new_table() -> OwnedFd {
    let table = create(layout::LENGTH).unwrap();
    table::begin(table.try_clone().unwrap(), 1).unwrap();
    table
}

/// A session in a first worker, which is not kept yet.
fn open(
    suites: [Option<&'static Suite>; 2],
    kinds: [Kind; 2],
) -> ([End; 2], Relay<Watcher>, Arc<LiveSession>) {
    let session = Arc::new(live());
    let (client, front) = End::new(suites[0], Role::Server, kinds[0]);
    let (backend, back) = End::new(suites[1], Role::Client, kinds[1]);
    front
        .tls()
        .inspect(|tls| session.note_tls(tls, &Chains::default()));
    let relay = relay_of(Conversation::new(front, back, Watcher::None), &session);
    ([client, backend], relay, session)
}

fn keeping() -> Keeping {
    let (keeper, _) = Keeper::new(Arc::default());
    Keeping {
        keeper,
        after: Duration::ZERO,
        number: 1,
        counts_client: false,
        unkept: Box::new(()),
    }
}

/// Begins a session in a first worker, and keeps it.
fn begin(suites: [Option<&'static Suite>; 2], kinds: [Kind; 2]) -> ([End; 2], Worker, Kept) {
    let table = new_table();
    let (ends, mut relay, session) = open(suites, kinds);
    let kept = with_scratch(|scratch| {
        let patience = relay.patience;
        let conversation = &mut relay.conversation;
        keep(conversation, &session, patience, &keeping(), scratch)
    });
    let (journal, sockets) = kept.unwrap();
    relay.journal = Some(journal);
    let worker = Worker {
        table,
        relay,
        session,
    };
    (ends, worker, Kept { sockets, deaths: 0 })
}

#[tokio::test]
async fn a_session_that_is_too_long_to_be_kept_goes_on_without() {
    let _table = new_table();
    let (mut ends, mut relay, session) = open([None; 2], [Kind::Unix; 2]);
    let long = vec![7; 300_000];
    relay.conversation.client.unread(&long);
    ends[0].said.extend(&long);
    relay.keeping = Some(Box::new(keeping()));
    relay.keep();
    assert!(relay.journal.is_none());
    for side in [0, 1, 0, 1] {
        ends[side].say(400_000);
        for _ in 0..50 {
            for end in &mut ends {
                end.turn(1 << 20);
            }
            turn(&mut relay).await;
        }
    }
    assert!(ends[1].heard == ends[0].said && ends[0].heard == ends[1].said);
    assert_eq!(session.bytes(), (1_100_000, 800_000));
}

impl Worker {
    /// Has the session do what it can; returns whether the worker lives.
    async fn turn(&mut self) -> bool {
        let alive = poll_fn(|cx| {
            let poll = AssertUnwindSafe(|| Pin::new(&mut self.relay).poll(cx));
            let polled = catch_unwind(poll);
            Poll::Ready(match polled {
                Ok(polled) => {
                    assert!(polled.is_pending(), "it goes on");
                    true
                }
                Err(thrown) => {
                    assert!(thrown.is::<Died>(), "it died of itself");
                    false
                }
            })
        })
        .await;
        tokio::task::yield_now().await;
        alive
    }

    /// Goes on with the session in another worker.
    fn replace(self, kept: &mut Kept) -> Self {
        let Self {
            table,
            relay,
            session,
        } = self;
        // The points are those of sessions that go on.
        let armed = arm(None);
        drop(relay);
        let left = Left::map(1, Death::Killed, table).unwrap();
        let heirs = new_table();
        kept.deaths += 1;
        let rows: Vec<u32> = left.rows().collect();
        assert_eq!(rows, [0]);
        let (id, state) = left.id(0).unwrap();
        assert_eq!(id, session.id);
        let read = left.read(0, state).unwrap();
        let sockets = kept
            .sockets
            .each_ref()
            .map(|socket| socket.try_clone().unwrap());
        let worked_on = left.worked_on() == Some(0);
        let record = read.record.about();
        let mut conversation = resume(&left, read, sockets, worked_on).unwrap();
        let session = LiveSession::taken_over(&record, Arc::clone(&session.counters));
        assert_eq!(session.takeovers(), kept.deaths);
        let session = Arc::new(session);
        let (keeper, _) = Keeper::new(Arc::default());
        let terms = KeptTerms {
            number: 1,
            counts_client: false,
            patience: record.patience,
            suspicion: 0,
        };
        let journal = with_scratch(|scratch| {
            Journal::begin(&mut conversation, &session, terms, &keeper, scratch)
        });
        let mut relay = relay_of(conversation, &session);
        relay.journal = Some(journal.unwrap());
        arm(armed);
        Self {
            table: heirs,
            relay,
            session,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Move {
    /// A side says so many bytes.
    Say(Side, usize),
    /// A side changes its keys, and asks for the same.
    UpdateKey(Side),
    /// Both ends move at most so many bytes, and the worker has a turn.
    Turn(usize),
    /// The worker is to die where it passes a point for so many times from now on.
    Arm(Point, u64),
    /// The worker dies between two steps.
    Die,
}

async fn play(suites: [Option<&'static Suite>; 2], kinds: [Kind; 2], moves: &[Move]) -> u32 {
    let (mut ends, mut worker, mut kept) = begin(suites, kinds);
    for step in moves {
        match *step {
            Move::Say(side, length) => ends[side as usize].say(length),
            Move::UpdateKey(side) => ends[side as usize].update_key(suites[side as usize]),
            Move::Arm(point, passing) => {
                arm(Some((point, passing)));
            }
            Move::Die => worker = worker.replace(&mut kept),
            Move::Turn(most) => {
                for end in &mut ends {
                    end.turn(most);
                }
                if !worker.turn().await {
                    worker = worker.replace(&mut kept);
                }
            }
        }
    }
    for _ in 0..PATIENCE {
        for end in &mut ends {
            end.turn(1 << 20);
        }
        if !worker.turn().await {
            worker = worker.replace(&mut kept);
        }
        if ends[0].heard.len() == ends[1].said.len() && ends[1].heard.len() == ends[0].said.len() {
            break;
        }
    }
    arm(None);
    assert!(ends[0].heard == ends[1].said, "what the backend said");
    assert!(ends[1].heard == ends[0].said, "what the client said");
    let [client, backend] = [&ends[0].said, &ends[1].said].map(|it| it.len() as u64);
    assert_eq!(worker.session.bytes(), (client, backend));
    kept.deaths
}

fn run(suites: [Option<&'static Suite>; 2], kinds: [Kind; 2], moves: &[Move]) -> u32 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play(suites, kinds, moves))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![3 => Just(Kind::Tcp), 1 => Just(Kind::Unix)]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let side = || prop_oneof![Just(Side::Client), Just(Side::Server)];
    let length = prop_oneof![1..100_usize, 16_380..16_390_usize, 1..300_000_usize];
    let point = (0..Point::ALL.len()).prop_map(|it| Point::ALL[it]);
    let step = prop_oneof![
        3 => (side(), length).prop_map(|(side, length)| Move::Say(side, length)),
        1 => side().prop_map(Move::UpdateKey),
        4 => prop_oneof![1..50_usize, 1..100_000_usize].prop_map(Move::Turn),
        3 => (point, 1..4_u64).prop_map(|(point, passing)| Move::Arm(point, passing)),
        1 => Just(Move::Die),
    ];
    prop::collection::vec(step, 1..40)
}

#[test]
fn a_session_goes_on_wherever_in_a_simple_exchange_its_worker_dies() {
    let points = [
        Point::AfterRead,
        Point::BeforeCommit,
        Point::BeforeFlip,
        Point::AfterCommit,
        Point::AfterConsume,
        Point::AfterWrite,
    ];
    let suite = Suite::find(0x1301);
    for kinds in [[Kind::Tcp; 2], [Kind::Unix; 2]] {
        for suites in [[None; 2], [suite; 2]] {
            for (point, passing) in points.into_iter().flat_map(|it| [(it, 1), (it, 2)]) {
                let moves = [
                    Move::Say(Side::Client, 40_000),
                    Move::Arm(point, passing),
                    Move::Turn(1 << 20),
                    Move::Say(Side::Server, 40_000),
                    Move::Turn(1 << 20),
                ];
                let deaths = run(suites, kinds, &moves);
                assert_eq!(deaths, 1, "{kinds:?} {point:?} {passing}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_session_goes_on_wherever_its_worker_dies(
        client in suite(), backend in suite(), kinds in [kind(), kind()], moves in moves(),
    ) {
        run([client, backend], kinds, &moves);
    }
}
