use std::fs;

use super::*;

/// A piece of one file in a folder of its own.
fn piece() -> (tempfile::TempDir, Piece) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "one").unwrap();
    (
        dir,
        Piece::new("thing".to_owned(), Parts::bundle(path, vec![]), 64),
    )
}

#[test]
fn a_file_that_was_just_written_is_read_again() {
    let (_dir, piece) = piece();
    let memo = Memo::default();
    let first = memo.digest(&piece);
    assert_eq!(memo.glance(&piece, Depth::Stamps), None);
    fs::write(&piece.paths.certs, "two").unwrap();
    assert_ne!(memo.digest(&piece), first);
}

/// Remembers a piece's file as one that was read at `read`, long after it was written.
fn rested(memo: &Memo, piece: &Piece, keeps_times: bool, read: Instant) {
    let seen = Seen {
        stamp: Stamp::of(&piece.paths.certs).unwrap(),
        digest: digest_of(&piece.read().certs),
        read,
        keeps_times,
    };
    lock(&memo.files).insert(piece.paths.certs.clone().into(), seen);
}

#[test]
fn a_file_that_rested_is_believed_until_its_stamp_changes() {
    let (_dir, piece) = piece();
    let memo = Memo::default();
    let first = piece.digest(&piece.read());
    rested(&memo, &piece, true, Instant::now());
    assert_eq!(memo.glance(&piece, Depth::Contents), None);
    for depth in [Depth::Promised, Depth::Stamps] {
        assert_eq!(memo.glance(&piece, depth), Some(first));
    }
    fs::write(&piece.paths.certs, "longer").unwrap();
    assert_eq!(memo.glance(&piece, Depth::Stamps), None);
    assert_ne!(memo.digest(&piece), first);
}

#[test]
fn a_write_shows_although_size_and_time_of_modification_are_as_before() {
    let (_dir, piece) = piece();
    let memo = Memo::default();
    rested(&memo, &piece, true, Instant::now());
    let file = fs::File::options()
        .write(true)
        .open(&piece.paths.certs)
        .unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    let before = Stamp::of(&piece.paths.certs).unwrap();
    // Another tick of the kernel's clock.
    while Stamp::of(&piece.paths.certs).unwrap() == before {
        fs::write(&piece.paths.certs, "two").unwrap();
        file.set_modified(modified).unwrap();
    }
    assert_eq!(file.metadata().unwrap().modified().unwrap(), modified);
    assert_eq!(memo.glance(&piece, Depth::Promised), None);
}

#[test]
fn a_file_that_may_change_unseen_is_believed_for_a_minute_and_by_no_operator() {
    let (_dir, piece) = piece();
    let memo = Memo::default();
    rested(&memo, &piece, false, Instant::now());
    assert_eq!(memo.glance(&piece, Depth::Promised), None);
    assert!(memo.glance(&piece, Depth::Stamps).is_some());
    let Some(read) = Instant::now().checked_sub(BELIEVED) else {
        return;
    };
    rested(&memo, &piece, false, read);
    assert_eq!(memo.glance(&piece, Depth::Stamps), None);
    rested(&memo, &piece, true, read);
    assert!(memo.glance(&piece, Depth::Stamps).is_some());
}

#[test]
fn what_was_read_before_all_files_were_demanded_is_read_again() {
    let (_dir, piece) = piece();
    let memo = Memo::default();
    rested(&memo, &piece, true, Instant::now());
    memo.demand_contents();
    assert_eq!(memo.glance(&piece, Depth::Stamps), None);
    rested(&memo, &piece, true, Instant::now());
    assert!(memo.glance(&piece, Depth::Promised).is_some());
}

#[test]
fn what_another_owner_needs_is_not_forgotten() {
    let ((_one, ours), (_other, theirs)) = (piece(), piece());
    let memo = Memo::default();
    let remember = |piece: &Piece| rested(&memo, piece, true, Instant::now());
    remember(&ours);
    remember(&theirs);
    memo.keep(Owner::InForce, [&ours].into_iter());
    assert_eq!(memo.glance(&theirs, Depth::Stamps), None);
    remember(&theirs);
    memo.keep(Owner::Other, [&theirs].into_iter());
    assert!(memo.glance(&ours, Depth::Stamps).is_some());
    memo.keep(Owner::Other, [].into_iter());
    assert!(memo.glance(&ours, Depth::Stamps).is_some());
    assert_eq!(memo.glance(&theirs, Depth::Stamps), None);
}

#[test]
fn a_verdict_holds_until_time_alone_may_change_it() {
    #[derive(Clone)]
    struct Milk(Timestamp);
    impl Perishable for Milk {
        fn next_change(&self, _now: Timestamp) -> Timestamp {
            self.0
        }
    }
    let (_dir, piece) = piece();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let shelf = Shelf::default();
    let (bought, sour) = (at("2026-01-02T00:00:00Z"), at("2026-01-09T00:00:00Z"));
    shelf.put(&piece, [1; 32], &Verdict::good(Milk(sour), vec![]), bought);
    let finds = |digest, now| {
        let at = (Depth::Contents, now);
        shelf.find(&piece, digest, at).is_some()
    };
    assert!(finds([1; 32], bought));
    assert!(finds([1; 32], at("2026-01-08T23:59:59.999999999Z")));
    assert!(!finds([2; 32], bought));
    assert!(!finds([1; 32], sour));
    assert!(!finds([1; 32], at("2026-01-01T00:00:00Z")));
    let pieces = HashSet::from([piece_hash(&piece)]);
    assert_eq!(shelf.changes_at(&pieces, bought), Some(sour));
    assert_eq!(shelf.changes_at(&pieces, sour), None, "it has passed");
}

#[test]
fn what_is_not_valid_yet_is_believed_to_be_bad_until_it_is_valid() {
    let (_dir, piece) = piece();
    let shelf: Shelf<Vec<Der>> = Shelf::default();
    let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
    let valid = now + Duration::from_secs(8);
    let verdict = Verdict {
        until: Some(valid),
        ..Verdict::bad(vec![])
    };
    shelf.put(&piece, [1; 32], &verdict, now);
    let finds = |now| shelf.find(&piece, [1; 32], (Depth::Stamps, now)).is_some();
    assert!(finds(valid - Duration::from_nanos(1)));
    assert!(!finds(valid));
    assert!(
        !finds(now - Duration::from_secs(1)),
        "the clock was set back"
    );
    let pieces = HashSet::from([piece_hash(&piece)]);
    assert_eq!(shelf.changes_at(&pieces, now), Some(valid));
}

#[test]
fn only_what_an_owner_needs_has_it_judged_again() {
    let ((_one, ours), (_other, theirs)) = (piece(), piece());
    let memo = Memo::default();
    let now = Timestamp::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let soon = |until: Timestamp| Verdict {
        until: Some(until),
        ..Verdict::bad(vec![])
    };
    memo.keep(Owner::Other, [&theirs].into_iter());
    memo.keep(Owner::InForce, [&ours].into_iter());
    memo.bundles.put(&ours, [1; 32], &soon(at(9)), now);
    memo.bundles.put(&theirs, [1; 32], &soon(at(5)), now);
    assert_eq!(memo.changes_at(Owner::InForce, now), Some(at(9)));
    assert_eq!(memo.changes_at(Owner::Other, now), Some(at(5)));
    memo.forget(Owner::Other);
    assert_eq!(memo.changes_at(Owner::Other, now), None);
    assert_eq!(lock(&memo.bundles.0).len(), 1, "what nobody needs is gone");
}

#[test]
fn a_period_changes_when_it_begins_and_when_its_last_second_is_over() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let (from, end) = (at("2026-01-02T00:00:00Z"), at("2026-01-09T00:00:00Z"));
    let next = |now| next([(from.into(), Some(end.into()))].into_iter(), at(now));
    assert_eq!(next("2026-01-01T00:00:00Z"), from);
    assert_eq!(next("2026-01-02T00:00:00Z"), end + Duration::from_secs(1));
    assert_eq!(next("2026-01-09T00:00:00.5Z"), end + Duration::from_secs(1));
    assert_eq!(next("2026-01-09T00:00:01Z"), Timestamp::MAX);
}

#[test]
fn what_was_bad_is_believed_for_a_minute_by_those_who_do_not_read() {
    let (_dir, piece) = piece();
    let shelf: Shelf<Vec<Der>> = Shelf::default();
    let now = Timestamp::now();
    shelf.put(&piece, [1; 32], &Verdict::bad(vec![]), now);
    let finds = |depth, now| shelf.find(&piece, [1; 32], (depth, now)).is_some();
    assert!(finds(Depth::Stamps, now));
    assert!(!finds(Depth::Contents, now));
    assert!(!finds(
        Depth::Stamps,
        now + BELIEVED + Duration::from_secs(1)
    ));
}
