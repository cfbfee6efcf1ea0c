//! Loads without a disk: the tests make up what a load finds.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Environment, Given, IdentityFiles},
    facts::Problem,
    store::{Changes, Loaded as OnDisk},
    supervisor::plan::Loaded,
    tls::{material::Identity, testing},
};

/// Returns TLS material that differs from that of every other number.
fn material(number: usize) -> Material {
    static IDENTITIES: OnceLock<Vec<Arc<Identity>>> = OnceLock::new();
    let all = IDENTITIES.get_or_init(|| (0..4).map(|_| testing::any_identity("one")).collect());
    Material {
        identities: vec![Arc::clone(&all[number % all.len()])],
        listeners: vec![],
        system_roots: vec![],
    }
}

/// Returns what a reading brings that found the material of this number.
fn reading(loads: &Loads, number: usize, problems: Vec<Problem>) -> Reading {
    let current = loads.current();
    Reading {
        config: None,
        refused: vec![],
        loaded: OnDisk {
            material: Some(material(number)),
            problems,
            warnings: vec![],
            unseen: vec![],
            outcomes: vec![],
        },
        changes: Changes::default(),
        odd: Arc::default(),
        is_served: false,
        packs: Packs::default().next(&material(number)).unwrap(),
        held: None,
        changes_at: None,
        next: Next::of(&current, &current.config, &material(number), None),
    }
}

/// Runs `test` with loads that start with generation 1, made of the first material.
fn with_loads(test: impl FnOnce(Loads, Events)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let given = Given {
            listen: Some("127.0.0.1:1".parse().unwrap()),
            backend: Some("127.0.0.1:2".parse().unwrap()),
            ..Given::default()
        };
        let source = Source::new(&given, &Environment::of_process()).unwrap();
        let first = Generation {
            number: 1,
            loaded_at: Timestamp::now(),
            trigger: Trigger::Start,
            config: Arc::new(testing::config(vec![])),
            material: material(0),
            packs: Packs::default(),
        };
        let inbox = mpsc::unbounded_channel().0;
        let memo = Arc::new(Memo::default());
        let loads = Loads::new(
            (source, Origin::of_process(false)),
            memo,
            Files::default(),
            (first, Arc::default()),
            inbox,
            LoadsBook::default(),
        );
        test(loads, Events::default());
    });
}

/// Begins a load without reading anything.
fn begin(loads: &mut Loads, load: LoadId) {
    let unsettled = Unsettled {
        trigger: Trigger::ReloadTls,
        report: None,
        refusal: None,
    };
    loads.unsettled.insert(load, unsettled);
}

const NOW: Duration = Duration::ZERO;

#[test]
fn what_is_new_is_in_force_only_when_it_is_committed() {
    with_loads(|mut loads, mut events| {
        let load = LoadId(1);
        begin(&mut loads, load);
        let taken = loads.take(load, reading(&loads, 1, vec![]), &[], NOW, &mut events);
        assert_ne!(taken, Loaded::Same);
        loads.stage(load, 2);
        assert_eq!(loads.current().number, 1);
        assert_eq!(loads.commit(&mut events).unwrap().number, 2);
        assert_eq!(loads.current().number, 2);
        let served = Outcome::Served { workers: 1 };
        let (trigger, served) = loads.settle(load, vec![], served, &mut events).unwrap();
        assert_eq!(trigger, Trigger::ReloadTls);
        assert_eq!(served.unwrap().report.generation, 2);
        assert!(loads.unsettled.is_empty() && loads.last_error().is_none());
    });
}

#[test]
fn what_ends_when_is_handed_over_by_the_reading_and_holds_once_it_is_committed() {
    with_loads(|mut loads, mut events| {
        let load = LoadId(1);
        begin(&mut loads, load);
        let reading = reading(&loads, 1, vec![]);
        let ends = Arc::clone(&reading.next.as_ref().unwrap().ends);
        loads.take(load, reading, &[], NOW, &mut events);
        loads.stage(load, 2);
        assert!(loads.ends().list.is_empty());
        loads.commit(&mut events).unwrap();
        assert!(std::ptr::eq(loads.ends(), &raw const *ends));
        assert!(!loads.ends().list.is_empty());
    });
}

#[test]
fn a_disk_that_is_as_in_force_has_forgotten_what_another_configuration_needed() {
    with_loads(|loads, _| {
        let dir = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert", "key"].map(|it| dir.path().join(it));
        let leaf = testing::Ca::new("root").server(&["db.example.com"]);
        std::fs::write(&cert, &leaf.cert).unwrap();
        std::fs::write(&key, &leaf.key).unwrap();
        let reader = loads.reader();
        let mut other = Config::clone(&reader.current.config);
        let files = IdentityFiles::pem("other", cert, key);
        other.identities.push(files);
        let end = || reader.memo.changes_at(Owner::Other, Timestamp::MIN);
        let _ = reader.load_cold(&other);
        assert!(end().is_some());
        let _ = reader.load_cold(&reader.current.config);
        assert_eq!(end(), None);
    });
}

#[test]
fn what_a_worker_refuses_is_told_and_leaves_the_old_in_force() {
    with_loads(|mut loads, mut events| {
        let load = LoadId(1);
        begin(&mut loads, load);
        loads.take(load, reading(&loads, 1, vec![]), &[], NOW, &mut events);
        loads.stage(load, 2);
        loads.discard();
        let reason = "it has no descriptors".to_owned();
        loads.settle(load, vec![], Outcome::Refused { reason }, &mut events);
        assert_eq!(loads.current().number, 1);
        let error = &loads.last_error().unwrap().message;
        assert!(error.contains("it has no descriptors"), "{error}");
        assert!(loads.commit(&mut events).is_none());
    });
}

#[test]
fn what_cannot_be_packed_for_workers_is_told_and_leaves_the_old_in_force() {
    with_loads(|mut loads, mut events| {
        let load = LoadId(1);
        begin(&mut loads, load);
        let mut reading = reading(&loads, 1, vec![]);
        let full = std::io::Error::other("no memory");
        let cannot = |_: &OnDisk| Err(disk::cannot_pack(&full));
        reading.packs = disk::pack_or_hold(&mut reading.loaded, cannot);
        let taken = loads.take(load, reading, &[], NOW, &mut events);
        assert_eq!(taken, Loaded::Kept);
        let error = &loads.last_error().unwrap().message;
        assert!(
            error.contains("no memory; `proxyctl reload-tls` tries"),
            "{error}"
        );
        assert!(error.contains("still served, as generation 1"), "{error}");
    });
}

#[test]
fn what_is_broken_is_told_until_a_load_finds_it_whole() {
    with_loads(|mut loads, mut events| {
        let problem = Problem {
            subject: "identity \"one\"".to_owned(),
            file: None,
            reason: "it is empty".to_owned(),
        };
        for (load, problems, wrong) in [(1, vec![problem], true), (2, vec![], false)] {
            begin(&mut loads, LoadId(load));
            let reading = reading(&loads, 0, problems);
            let taken = loads.take(LoadId(load), reading, &[], NOW, &mut events);
            assert_eq!(taken, if wrong { Loaded::Kept } else { Loaded::Same });
            assert_eq!(loads.last_error().is_some(), wrong);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Loads: the material that each finds, and whether workers make it ready.
    #[test]
    fn what_is_served_is_what_was_last_committed(
        steps in proptest::collection::vec((0..4_usize, any::<bool>()), 1..20)
    ) {
        with_loads(|mut loads, mut events| {
            let (mut number, mut served) = (1, 0);
            for (load, (found, ready)) in (1..).map(LoadId).zip(steps) {
                begin(&mut loads, load);
                let taken = loads.take(load, reading(&loads, found, vec![]), &[], NOW, &mut events);
                assert_eq!(taken != Loaded::Same, found != served);
                let outcome = if taken == Loaded::Same {
                    Outcome::Served { workers: 1 }
                } else {
                    loads.stage(load, number + 1);
                    if ready {
                        loads.commit(&mut events);
                        (number, served) = (number + 1, found);
                        Outcome::Served { workers: 1 }
                    } else {
                        loads.discard();
                        Outcome::Refused { reason: "no".to_owned() }
                    }
                };
                loads.settle(load, vec![], outcome, &mut events);
                assert_eq!(loads.current().number, number);
                assert!(loads.current().material.is_same(&material(served)));
                assert!(loads.staged().is_none() && loads.unsettled.is_empty());
            }
        });
    }
}
