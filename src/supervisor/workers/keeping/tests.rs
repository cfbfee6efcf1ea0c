//! Tests of keeping, with workers that say anything.

use std::{
    collections::BTreeSet,
    io::Read as _,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::link::{Message as _, ToWorker};

const FIRST: WorkerId = WorkerId(1);
const SECOND: WorkerId = WorkerId(2);
const THIRD: WorkerId = WorkerId(3);

/// Returns an id of a session of a worker, whose origin is ten times its own id.
fn session(worker: WorkerId, number: u64) -> SessionId {
    SessionId {
        origin: worker.0 * 10,
        number,
    }
}

fn sessions(worker: WorkerId, count: u64) -> Vec<SessionId> {
    (1..=count).map(|number| session(worker, number)).collect()
}

fn sockets(sessions: usize) -> Vec<OwnedFd> {
    let pairs = (0..sessions).map(|_| UnixStream::pair().unwrap());
    pairs
        .flat_map(|(one, other)| [one.into(), other.into()])
        .collect()
}

/// Keeps sessions of these workers.
fn keeping(workers: &[WorkerId]) -> Keeping {
    let mut keeping = Keeping::new(None, 1000).unwrap();
    for worker in workers {
        keeping.begin(*worker, worker.0 * 10).unwrap();
    }
    keeping
}

/// Keeps so many sessions of a worker.
fn keep(keeping: &mut Keeping, worker: WorkerId, count: u64) {
    let ids = sessions(worker, count);
    keeping.keep(worker, &ids, sockets(ids.len()));
}

fn ended(worker: WorkerId, end: End) -> Ended {
    Ended {
        handed_over: false,
        slot: 0,
        pid: u32::try_from(worker.0).unwrap(),
        end,
        was_killed: false,
        as_told: false,
        unkept: 0,
    }
}

fn end(keeping: &mut Keeping, worker: WorkerId, end: End) {
    keeping.end(worker, ended(worker, end));
}

/// Hands the only sessions that wait to a worker; returns the messages.
fn hand(keeping: &mut Keeping, heir: WorkerId) -> Vec<Parcel> {
    let [waiting] = keeping.waiting()[..] else {
        panic!("not one estate: {:?}", keeping.waiting());
    };
    let parcels = keeping.hand(waiting.key, heir).unwrap();
    for (message, along) in &parcels {
        assert!(message.descriptors().contains(&along.len()), "{message:?}");
    }
    parcels
}

fn inherited(parcels: &[Parcel]) -> Vec<(u64, Death)> {
    let tables = parcels.iter().filter_map(|(message, _)| match message {
        ToWorker::Inherit { table, death, .. } => Some((*table, *death)),
        _ => None,
    });
    tables.collect()
}

fn handed_ids(parcels: &[Parcel]) -> Vec<SessionId> {
    let ids = parcels.iter().filter_map(|(message, _)| match message {
        ToWorker::Sockets { ids } => Some(ids.clone()),
        _ => None,
    });
    ids.flatten().collect()
}

fn lost(reason: LossReason, count: u64) -> LossCounts {
    LossCounts::only(reason, count)
}

const KILLED: End = End::Signal(9);
const CRASHED: End = End::Signal(11);

#[test]
fn sessions_of_a_dead_worker_go_to_another_with_their_sockets() {
    let mut keeping = keeping(&[FIRST, SECOND]);
    keep(&mut keeping, FIRST, 300);
    end(&mut keeping, FIRST, KILLED);
    assert!(keeping.waits_in(0) && !keeping.waits_in(1));
    let parcels = hand(&mut keeping, SECOND);
    assert_eq!(inherited(&parcels), [(1, Death::Killed)]);
    assert_eq!(handed_ids(&parcels), sessions(FIRST, 300));
    assert!(matches!(parcels.last(), Some((ToWorker::TakeOver, _))));
    assert_eq!(keeping.counts().kept, 300);
    keeping.over(SECOND, &[session(FIRST, 7)]);
    let taken = (299, lost(LossReason::Damaged, 1));
    let taken = keeping.took_over(SECOND, &[1], taken).unwrap();
    assert!(taken.is_all && taken.taken == 299);
    let counts = keeping.counts();
    assert_eq!((counts.kept, counts.taken_over), (299, 299));
    assert_eq!(counts.lost, lost(LossReason::Damaged, 1));
    // It says of them from now on what it says of its own.
    keeping.over(SECOND, &sessions(FIRST, 300));
    assert_eq!(keeping.counts().kept, 0);
}

#[test]
fn what_an_heir_had_not_taken_over_goes_on_with_its_own_to_the_next() {
    let mut keeping = keeping(&[FIRST, SECOND, THIRD]);
    keep(&mut keeping, FIRST, 2);
    end(&mut keeping, FIRST, KILLED);
    hand(&mut keeping, SECOND);
    keep(&mut keeping, SECOND, 1);
    end(&mut keeping, SECOND, CRASHED);
    let parcels = hand(&mut keeping, THIRD);
    let tables = [(1, Death::Killed), (2, Death::Fault)];
    assert_eq!(inherited(&parcels), tables);
    assert_eq!(handed_ids(&parcels).len(), 3);
    assert!(
        keeping
            .took_over(THIRD, &[1], (2, LossCounts::default()))
            .is_none()
    );
    let all = keeping.took_over(THIRD, &[2, 1], (3, LossCounts::default()));
    assert!(all.unwrap().is_all);
}

#[test]
fn an_heir_that_dies_after_it_took_over_leaves_one_table_with_all() {
    let mut keeping = keeping(&[FIRST, SECOND, THIRD]);
    keep(&mut keeping, FIRST, 2);
    end(&mut keeping, FIRST, KILLED);
    hand(&mut keeping, SECOND);
    keeping.took_over(SECOND, &[1], (2, LossCounts::default()));
    end(&mut keeping, SECOND, KILLED);
    let parcels = hand(&mut keeping, THIRD);
    assert_eq!(inherited(&parcels), [(2, Death::Killed)]);
    assert_eq!(handed_ids(&parcels), sessions(FIRST, 2));
}

#[test]
fn sessions_of_a_worker_that_lives_are_offered_once_and_those_that_end_meanwhile_are_not_taken_over()
 {
    let mut keeping = keeping(&[FIRST, SECOND]);
    assert_eq!(keeping.offer(FIRST, (0, 1)), 0);
    keep(&mut keeping, FIRST, 3);
    assert_eq!(keeping.offer(FIRST, (0, 1)), 3);
    assert_eq!(keeping.offer(FIRST, (0, 1)), 0);
    let waiting = keeping.waiting()[0].key;
    assert!(keeping.is_offered(waiting));
    keeping.over(FIRST, &[session(FIRST, 1)]);
    let parcels = hand(&mut keeping, SECOND);
    assert_eq!(inherited(&parcels), [(1, Death::HandedOver)]);
    assert_eq!(handed_ids(&parcels), sessions(FIRST, 3)[1..]);
    // No other worker, and no other table.
    assert_eq!(keeping.offering(FIRST, &[1]), []);
    assert_eq!(keeping.offering(SECOND, &[2]), []);
    assert_eq!(keeping.offering(SECOND, &[1]), [FIRST]);
    keeping.over(FIRST, &[session(FIRST, 2)]);
    assert_eq!(keeping.end_offer(FIRST), Some((1, vec![SECOND])));
    let told = Ended {
        handed_over: true,
        ..ended(FIRST, End::Code(0))
    };
    keeping.end(FIRST, told);
    assert_eq!(keeping.waiting(), []);
    let taken = keeping.took_over(SECOND, &[1], (1, LossCounts::default()));
    assert_eq!(taken.unwrap().taken, 1);
    let counts = keeping.counts();
    assert_eq!((counts.kept, counts.lost.sum()), (1, 0));
}

#[test]
fn an_heir_that_dies_while_the_worker_still_serves_is_followed_by_another() {
    let mut keeping = keeping(&[FIRST, SECOND, THIRD]);
    keep(&mut keeping, FIRST, 2);
    keeping.offer(FIRST, (0, 1));
    hand(&mut keeping, SECOND);
    end(&mut keeping, SECOND, KILLED);
    let waiting = keeping.waiting()[0].key;
    assert!(keeping.is_offered(waiting));
    hand(&mut keeping, THIRD);
    assert_eq!(keeping.offering(THIRD, &[1, 2]), [FIRST]);
    // One that is handed it later need not wait for the end of the first.
    end(&mut keeping, THIRD, KILLED);
    assert_eq!(keeping.end_offer(FIRST), Some((1, vec![])));
    keeping.begin(WorkerId(4), 40).unwrap();
    let lives = |(message, _): &Parcel| matches!(message, ToWorker::Inherit { lives: true, .. });
    assert!(!hand(&mut keeping, WorkerId(4)).iter().any(lives));
}

#[test]
fn a_death_that_the_supervisor_caused_is_the_fault_of_the_worker() {
    let mut keeping = keeping(&[FIRST, SECOND]);
    keep(&mut keeping, FIRST, 1);
    let killed = Ended {
        was_killed: true,
        ..ended(FIRST, KILLED)
    };
    keeping.end(FIRST, killed);
    assert_eq!(inherited(&hand(&mut keeping, SECOND)), [(1, Death::Fault)]);
}

#[test]
fn a_worker_that_ended_as_it_was_told_leaves_nothing() {
    let mut keeping = keeping(&[FIRST]);
    keep(&mut keeping, FIRST, 3);
    let told = Ended {
        as_told: true,
        unkept: 5,
        ..ended(FIRST, End::Code(0))
    };
    keeping.end(FIRST, told);
    assert!(!keeping.waits_in(0));
    assert_eq!(keeping.counts(), KeepingCounts::default());
}

#[test]
fn sessions_that_were_not_kept_are_lost_with_their_worker_and_told_of() {
    let mut keeping = keeping(&[FIRST]);
    let dead = Ended {
        unkept: 5,
        ..ended(FIRST, KILLED)
    };
    keeping.end(FIRST, dead);
    assert!(!keeping.waits_in(0));
    assert_eq!(keeping.counts().lost, lost(LossReason::NotKept, 5));
}

#[test]
fn sessions_that_nobody_can_take_are_lost_and_their_clients_hear_it() {
    let mut keeping = keeping(&[FIRST]);
    let (kept, mut client) = UnixStream::pair().unwrap();
    let other = UnixStream::pair().unwrap().0;
    let pair = vec![kept.into(), other.into()];
    keeping.keep(FIRST, &[session(FIRST, 1)], pair);
    end(&mut keeping, FIRST, KILLED);
    keeping.abandon(keeping.waiting()[0].key, LossReason::Ending);
    assert_eq!(keeping.counts().lost, lost(LossReason::Ending, 1));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn tables_that_kill_each_worker_are_kept_from_others_and_then_given_up() {
    for (end_of_heirs, apart, most) in [(CRASHED, 2, 4), (KILLED, 8, 16)] {
        let mut keeping = keeping(&[FIRST]);
        keep(&mut keeping, FIRST, 1);
        end(&mut keeping, FIRST, CRASHED);
        for heirs in 1..=most {
            assert_eq!(keeping.waiting()[0].others, heirs <= apart);
            let heir = WorkerId(1 + heirs);
            keeping.begin(heir, heir.0 * 10).unwrap();
            hand(&mut keeping, heir);
            end(&mut keeping, heir, end_of_heirs);
        }
        assert_eq!(keeping.waiting(), []);
        assert_eq!(keeping.counts().lost, lost(LossReason::Suspect, 1));
    }
}

#[test]
fn only_so_many_are_kept_and_the_rest_is_counted_once() {
    let mut keeping = keeping(&[FIRST, SECOND]);
    keeping.set_most(3);
    for _ in 0..2 {
        keep(&mut keeping, FIRST, 5);
    }
    let counts = keeping.counts();
    assert_eq!(counts.kept, 3);
    assert_eq!(counts.unkept.of(UnkeptReason::Descriptors), 2);
    // Their records are in the table without sockets.
    end(&mut keeping, FIRST, KILLED);
    hand(&mut keeping, SECOND);
    let claimed = lost(LossReason::Descriptors, 99);
    let taken = keeping.took_over(SECOND, &[1], (3, claimed)).unwrap();
    assert_eq!(taken.lost, lost(LossReason::Descriptors, 2));
}

#[test]
fn sockets_that_did_not_arrive_are_counted() {
    let mut keeping = keeping(&[FIRST]);
    keeping.keep(FIRST, &sessions(FIRST, 4), Vec::new());
    keeping.over(FIRST, &[session(FIRST, 1)]);
    let unkept = keeping.counts().unkept;
    assert_eq!(unkept.of(UnkeptReason::Descriptors), 4);
    end(&mut keeping, FIRST, KILLED);
    assert_eq!(keeping.counts().lost, lost(LossReason::Descriptors, 3));
}

#[test]
fn a_worker_can_have_nothing_kept_that_is_another_worker_s() {
    let mut keeping = keeping(&[FIRST, SECOND]);
    keep(&mut keeping, FIRST, 1);
    for stolen in [session(FIRST, 1), session(FIRST, 2), session(THIRD, 1)] {
        keeping.keep(SECOND, &[stolen], sockets(1));
        keeping.keep(SECOND, &[stolen], Vec::new());
        keeping.over(SECOND, &[stolen]);
    }
    assert_eq!(keeping.counts().kept, 1);
    assert_eq!(keeping.counts().unkept, UnkeptCounts::default());
    // Nor twice the same.
    keep(&mut keeping, FIRST, 1);
    assert_eq!(keeping.counts().kept, 1);
}

#[test]
fn what_is_no_socket_of_a_session_is_not_kept() {
    let mut keeping = keeping(&[FIRST]);
    let file = std::fs::File::open("/dev/null").unwrap();
    let sent = vec![UnixStream::pair().unwrap().0.into(), file.into()];
    keeping.keep(FIRST, &[session(FIRST, 1)], sent);
    assert_eq!(keeping.counts().kept, 0);
}

#[test]
fn a_worker_claims_no_tables_and_no_more_sessions_than_it_was_handed() {
    let mut keeping = keeping(&[FIRST, SECOND]);
    keep(&mut keeping, FIRST, 2);
    end(&mut keeping, FIRST, KILLED);
    hand(&mut keeping, SECOND);
    let most = (u64::MAX, LossCounts::new(|_| u64::MAX));
    for wrong in [&[][..], &[2], &[9]] {
        assert!(keeping.took_over(SECOND, wrong, most).is_none());
    }
    let taken = keeping.took_over(SECOND, &[1, 9], most).unwrap();
    assert_eq!((taken.taken, taken.lost.sum()), (2, 0));
    assert!(keeping.took_over(SECOND, &[1], most).is_none());
    assert_eq!(keeping.counts().taken_over, 2);
}

#[test]
fn what_a_worker_could_not_keep_grows_only_and_outlives_it() {
    let mut keeping = keeping(&[FIRST]);
    let said = |count| UnkeptCounts::new(|_| count);
    for (count, most, expected) in [(5, 10, 5), (3, 10, 5), (u64::MAX, 10, 10)] {
        keeping.note_unkept(FIRST, &said(count), most);
        assert_eq!(keeping.counts().unkept, said(expected));
    }
    end(&mut keeping, FIRST, KILLED);
    assert_eq!(keeping.counts().unkept, said(10));
}

#[test]
fn without_a_table_nothing_is_kept_or_taken_over() {
    let mut keeping = Keeping::new(Some("no counts".to_owned()), 1000).unwrap();
    assert!(keeping.begin(FIRST, 10).is_none());
    keep(&mut keeping, FIRST, 2);
    keeping.keep(FIRST, &sessions(FIRST, 2), Vec::new());
    assert_eq!(keeping.counts(), KeepingCounts::default());
    end(&mut keeping, FIRST, KILLED);
    assert_eq!(keeping.waiting(), []);
}

#[test]
fn ten_thousand_sockets_are_closed_beside_the_loop() {
    let (limit, _) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let count = (limit.saturating_sub(600) / 2).min(5000);
    let mut keeping = Keeping::new(None, 5000).unwrap();
    keeping.begin(FIRST, 10);
    let (kept, mut client) = UnixStream::pair().unwrap();
    let kept = OwnedFd::from(kept);
    for number in 1..=count {
        let pair = vec![kept.try_clone().unwrap(), kept.try_clone().unwrap()];
        keeping.keep(FIRST, &[session(FIRST, number)], pair);
    }
    drop(kept);
    let told = Ended {
        as_told: true,
        ..ended(FIRST, End::Code(0))
    };
    let begin = Instant::now();
    keeping.end(FIRST, told);
    assert!(begin.elapsed() < Duration::from_millis(200));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// What workers that were taken over may say and how they may end.
#[derive(Debug, Clone)]
enum Move {
    Keep(u64, Vec<(u64, u64)>, bool),
    Over(u64, Vec<(u64, u64)>),
    TookOver(u64, Vec<u64>, u64),
    End(u64, bool),
    Hand(u64),
    Abandon,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let ids = || proptest::collection::vec((0..5_u64, 0..6_u64), 0..6);
    let worker = || 0..5_u64;
    let one = prop_oneof![
        4 => (worker(), ids(), any::<bool>()).prop_map(|(it, ids, full)| Move::Keep(it, ids, full)),
        2 => (worker(), ids()).prop_map(|(it, ids)| Move::Over(it, ids)),
        3 => (worker(), proptest::collection::vec(0..9_u64, 0..6), any::<u64>())
            .prop_map(|(it, tables, taken)| Move::TookOver(it, tables, taken)),
        2 => (worker(), any::<bool>()).prop_map(|(it, as_told)| Move::End(it, as_told)),
        3 => worker().prop_map(Move::Hand),
        1 => Just(Move::Abandon),
    ];
    proptest::collection::vec(one, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_workers_say_no_session_is_kept_twice_and_no_count_runs_away(moves in moves()) {
        let mut keeping = keeping(&[0, 1, 2, 3, 4].map(WorkerId));
        keeping.set_most(8);
        let to_ids = |ids: &[(u64, u64)]| -> Vec<SessionId> {
            ids.iter().map(|(worker, number)| session(WorkerId(*worker), *number)).collect()
        };
        let mut sent = 0;
        for step in moves {
            match step {
                Move::Keep(worker, ids, full) => {
                    let sockets = if full { sockets(ids.len()) } else { Vec::new() };
                    sent += ids.len() as u64;
                    keeping.keep(WorkerId(worker), &to_ids(&ids), sockets);
                }
                Move::Over(worker, ids) => keeping.over(WorkerId(worker), &to_ids(&ids)),
                Move::TookOver(worker, tables, taken) => {
                    let lost = LossCounts::new(|_| taken);
                    keeping.took_over(WorkerId(worker), &tables, (taken, lost));
                }
                Move::End(worker, as_told) => {
                    let ended = Ended { as_told, ..ended(WorkerId(worker), CRASHED) };
                    keeping.end(WorkerId(worker), ended);
                }
                Move::Hand(worker) => {
                    if let Some(waiting) = keeping.waiting().first() {
                        keeping.hand(waiting.key, WorkerId(worker));
                    }
                }
                Move::Abandon => {
                    if let Some(waiting) = keeping.waiting().first() {
                        keeping.abandon(waiting.key, LossReason::Ending);
                    }
                }
            }
            let holders = keeping.holders.values();
            let held = holders.flat_map(|it| {
                let inherited = it.inherited.iter().map(|it| &it.kept);
                std::iter::once(&it.kept).chain(inherited)
            });
            let waiting = keeping.waiting.iter().map(|it| &it.kept);
            let all: Vec<_> = held.chain(waiting).flat_map(|it| it.keys()).collect();
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            prop_assert!(all.len() <= 8);
            let counts = keeping.counts();
            prop_assert_eq!(counts.kept, all.len() as u64);
            prop_assert!(counts.lost.sum() <= 2 * sent);
            let keys: BTreeSet<_> = keeping.waiting().iter().map(|it| it.key).collect();
            prop_assert_eq!(keys.len(), keeping.waiting().len());
            prop_assert!(!keys.contains(&0));
        }
    }
}
