//! Tests of boards.

use std::{net::IpAddr, sync::atomic::AtomicU32, thread};

use proptest::prelude::*;

use super::*;

const LISTENER: Counted = Counted::Listener(ListenerNumber(3));

/// Workers with a board each, all of which see each other's.
struct Team {
    boards: Vec<Board>,
    workers: Vec<Arc<Boards>>,
}

impl Team {
    fn new(size: usize) -> Self {
        let boards: Vec<_> = (0..size).map(|_| Board::new().unwrap()).collect();
        let workers = boards.iter().map(worker_of);
        let team = Self {
            workers: workers.collect(),
            boards,
        };
        for worker in 0..size {
            team.introduce(worker);
        }
        team
    }

    /// Lets a worker and the others see each other's boards.
    fn introduce(&self, worker: usize) {
        for other in (0..self.workers.len()).filter(|it| *it != worker) {
            let (own, theirs) = (&self.boards[worker], &self.boards[other]);
            self.workers[worker]
                .add(other as u64, theirs.descriptor())
                .unwrap();
            self.workers[other]
                .add(worker as u64, own.descriptor())
                .unwrap();
        }
    }

    /// Lets a worker end, and another start in its place.
    fn replace(&mut self, worker: usize) {
        self.boards[worker].clear();
        for other in &self.workers {
            other.remove(worker as u64);
        }
        self.boards[worker] = Board::new().unwrap();
        self.workers[worker] = worker_of(&self.boards[worker]);
        self.introduce(worker);
    }
}

fn worker_of(board: &Board) -> Arc<Boards> {
    let boards = Boards::new(board.descriptor()).unwrap();
    board.close_to_writers().unwrap();
    Arc::new(boards)
}

/// Returns one of many clients whose entries lie at the same place.
fn client(number: u64) -> Counted {
    Counted::Client(ClientKey(number << 40))
}

/// Sessions of a listener, of one client, and of two clients whose entries lie at the same place.
const COUNTED: [Counted; 4] = [
    LISTENER,
    Counted::Client(ClientKey(7 << 40 | 5)),
    Counted::Client(ClientKey(1 << 40)),
    Counted::Client(ClientKey(2 << 40)),
];

#[derive(Debug, Clone)]
enum Move {
    Take(usize, usize),
    Give(usize, usize),
    Replace(usize),
    Limit(u32),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let counted = 0..COUNTED.len();
    let one = prop_oneof![
        8 => (0..3_usize, counted.clone()).prop_map(|(worker, of)| Move::Take(worker, of)),
        5 => (0..3_usize, counted).prop_map(|(worker, of)| Move::Give(worker, of)),
        1 => (0..3_usize).prop_map(Move::Replace),
        1 => (0..6_u32).prop_map(Move::Limit),
    ];
    proptest::collection::vec(one, 1..120)
}

proptest! {
    #[test]
    fn a_session_is_let_in_exactly_if_over_all_workers_there_are_fewer_than_the_limit(
        moves in moves(),
    ) {
        let mut team = Team::new(3);
        let mut held: [[Vec<Held>; COUNTED.len()]; 3] = Default::default();
        let mut most = 3;
        for step in moves {
            match step {
                Move::Take(worker, of) => {
                    let sum: usize = held.iter().map(|held| held[of].len()).sum();
                    let taken = team.workers[worker].take(COUNTED[of], most);
                    prop_assert_eq!(taken.is_some(), sum < most as usize);
                    held[worker][of].extend(taken);
                }
                Move::Give(worker, of) => {
                    held[worker][of].pop();
                }
                Move::Replace(worker) => {
                    team.replace(worker);
                    held[worker] = Default::default();
                }
                Move::Limit(limit) => most = limit,
            }
        }
    }
}

/// Takes and gives again and again, and panics if there are ever more sessions than `most`.
fn contend(worker: &Arc<Boards>, counted: Counted, most: u32, open: &AtomicU32) {
    for _ in 0..20_000 {
        if let Some(held) = worker.take(counted, most) {
            let before = open.fetch_add(1, Ordering::SeqCst);
            assert!(before < most, "{} sessions", before + 1);
            open.fetch_sub(1, Ordering::SeqCst);
            drop(held);
        }
    }
}

#[test]
fn workers_that_contend_never_have_more_sessions_than_the_limit() {
    for (counted, most) in [(LISTENER, 1), (LISTENER, 3), (client(1), 1), (client(1), 2)] {
        let team = Team::new(4);
        let open = AtomicU32::new(0);
        thread::scope(|scope| {
            for worker in &team.workers {
                scope.spawn(|| contend(worker, counted, most, &open));
            }
        });
        let taken = (0..9).filter_map(|_| team.workers[1].take(counted, most));
        let taken: Vec<_> = taken.collect();
        assert_eq!(taken.len(), most as usize, "no place is lost");
    }
}

#[test]
fn a_worker_that_claims_any_number_counts_up_to_the_limit() {
    let team = Team::new(1);
    let board = Board::new().unwrap();
    let liar = Written::map(board.descriptor(), COUNTERS).unwrap();
    let honest = &team.workers[0];
    honest.add(7, board.descriptor()).unwrap();
    for counter in liar.counters() {
        counter.store(u64::MAX, Ordering::Relaxed);
    }
    assert!(honest.take(LISTENER, u32::MAX).is_none());
    board.clear();
    assert!(honest.take(LISTENER, 1).is_some());
}

#[test]
fn a_client_whose_entries_are_all_in_use_is_let_in() {
    let team = Team::new(1);
    let worker = &team.workers[0];
    let crowd = (1..=WINDOW as u64).map(|it| worker.take(client(it), 1).unwrap());
    let crowd: Vec<_> = crowd.collect();
    assert!(worker.take(client(1), 1).is_none());
    let late = client(99);
    for _ in 0..2 {
        worker.take(late, 1).unwrap();
    }
    drop(crowd);
    let _held = worker.take(late, 1).unwrap();
    assert!(worker.take(late, 1).is_none());
}

#[test]
fn entries_at_the_end_go_on_at_the_beginning() {
    let key = ClientKey(CLIENTS as u64 - 1);
    let indexes: Vec<_> = key.indexes().collect();
    assert_eq!(indexes[..2], [UNKEPT - 1, NUMBERS]);
    assert_eq!(indexes.len(), WINDOW);
}

#[test]
fn a_board_tells_whether_it_counts_sessions_of_a_listener() {
    let team = Team::new(1);
    let number = ListenerNumber::at(NUMBERS - 1).unwrap();
    assert!(!team.boards[0].counts(number));
    let held = team.workers[0].take(Counted::Listener(number), 1).unwrap();
    assert!(team.boards[0].counts(number));
    drop(held);
    assert!(!team.boards[0].counts(number));
    assert_eq!(ListenerNumber::at(NUMBERS), None);
}

#[test]
fn a_client_has_one_key_for_each_listener_and_secret() {
    let keys = ClientKeys::new(&ClientSecret::new().unwrap());
    let others = ClientKeys::new(&ClientSecret::new().unwrap());
    let [one, two] = [0, 1].map(|it| ListenerNumber::at(it).unwrap());
    let of = |text: &str| text.parse::<IpAddr>().unwrap();
    let key = keys.of(one, of("192.0.2.1"));
    assert_eq!(key, keys.of(one, of("::ffff:192.0.2.1")));
    let different = [
        keys.of(one, of("192.0.2.2")),
        keys.of(two, of("192.0.2.1")),
        keys.of(one, of("2001:db8::1")),
        others.of(one, of("192.0.2.1")),
    ];
    assert!(!different.contains(&key));
}

#[test]
fn sessions_that_would_end_with_their_worker_are_counted_until_it_has_ended() {
    let mut team = Team::new(2);
    let held = [(); 2].map(|()| team.workers[0].unkept());
    assert_eq!(team.boards[0].unkept(), 2);
    assert_eq!(team.boards[1].unkept(), 0);
    let [one, other] = held;
    drop(one);
    assert_eq!(team.boards[0].unkept(), 1);
    team.replace(0);
    assert_eq!(team.boards[0].unkept(), 0);
    drop(other);
}

/// Writes into a board what memory of a supervisor's would hold ([`crate::sys::rewritten`]).
fn forge(written: &Written, held: &[u8]) {
    const FRONT: usize = 64 << 10;
    let half = (COUNTERS * 8 - FRONT) / 2;
    let told = [1_u64.to_ne_bytes(), (held.len() as u64).to_ne_bytes()].concat();
    let newest = [&told, held].concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &newest);
    let mut bytes = vec![0; COUNTERS * 8];
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, b"PRXHALVE");
    put(8, &(half as u64).to_ne_bytes());
    put(16, &1_u64.to_ne_bytes());
    put(FRONT + half, digest.as_ref());
    put(FRONT + half + 32, &newest);
    for (counter, bytes) in written.counters().iter().zip(bytes.chunks_exact(8)) {
        counter.store(
            u64::from_ne_bytes(bytes.try_into().unwrap()),
            Ordering::Relaxed,
        );
    }
}

#[test]
fn a_worker_cannot_write_into_its_board_what_a_supervisor_would_believe() {
    let board = Board::new().unwrap();
    let written = Written::map(board.descriptor(), COUNTERS).unwrap();
    board.close_to_writers().unwrap();
    forge(&written, b"a book");
    let own = rustix::process::geteuid().as_raw();
    assert!(crate::sys::rewritten::read(&*board.descriptor(), own).is_err());
}
