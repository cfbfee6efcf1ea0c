use super::*;

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// A resolver with small limits and a clock of its own; answers are numbers.
struct Scene {
    flights: Flights<u8>,
    now: Instant,
    number: u64,
}

fn host(name: &str) -> Wanted {
    Wanted::Host(name.to_owned())
}

fn path() -> Wanted {
    Wanted::Path("/run/db".into())
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            threads: 3,
            slow_threads: 2,
            asks: 10,
            asks_for_one: 4,
            ..Limits::default()
        };
        change(&mut limits);
        let mut scene = Self {
            flights: Flights::new(limits),
            now: Instant::now(),
            number: 0,
        };
        let names = ["a", "b", "c", "d", "e"].map(host);
        let all = names.into_iter().chain([path()]);
        assert_eq!(scene.event(Event::Configured(all.collect())), []);
        scene
    }

    fn event(&mut self, event: Event<u8>) -> Vec<Action<u8>> {
        self.flights.take(self.now, event)
    }

    /// A worker asks; its asks are numbered in their order, from 1.
    fn ask(&mut self, worker: u64, wanted: Wanted, within: Duration) -> Vec<Action<u8>> {
        self.number += 1;
        let asker = asker(worker, self.number);
        self.event(Event::Asked(Ask {
            asker,
            wanted,
            within,
        }))
    }

    fn end(&mut self, wanted: Wanted, result: Result<u8, Unresolved>) -> Vec<Action<u8>> {
        self.event(Event::Ended { wanted, result })
    }

    fn pass(&mut self, time: Duration) -> Vec<Action<u8>> {
        self.now += time;
        self.event(Event::Woken)
    }
}

fn asker(worker: u64, number: u64) -> Asker {
    Asker { worker, number }
}

fn answer(worker: u64, number: u64, answer: Result<u8, Unresolved>) -> Action<u8> {
    Action::Answer(asker(worker, number), answer)
}

fn start(name: &str) -> Action<u8> {
    Action::Start(host(name))
}

fn unknown() -> Unresolved {
    Unresolved::NoSuchName("Name or service not known".to_owned())
}

#[test]
fn all_workers_share_one_lookup_of_a_name() {
    let mut scene = Scene::new();
    assert_eq!(scene.ask(1, host("a"), SECOND), [start("a")]);
    assert_eq!(scene.ask(1, host("a"), SECOND), []);
    assert_eq!(scene.ask(2, host("a"), SECOND), []);
    let told = scene.end(host("a"), Ok(7));
    let expected = [(1, 1), (1, 2), (2, 3)];
    assert_eq!(told, expected.map(|(worker, n)| answer(worker, n, Ok(7))));
}

#[test]
fn addresses_are_remembered_for_one_second_and_failures_for_two() {
    for (result, seconds) in [(Ok(7), 1), (Err(unknown()), 2)] {
        let mut scene = Scene::new();
        scene.ask(1, host("a"), SECOND);
        scene.end(host("a"), result.clone());
        let instant = Duration::from_millis(1);
        scene.pass((SECOND * seconds).saturating_sub(instant));
        assert_eq!(scene.ask(1, host("a"), SECOND), [answer(1, 2, result)]);
        scene.pass(instant);
        assert_eq!(scene.ask(1, host("a"), SECOND), [start("a")]);
    }
}

#[test]
fn a_worker_whose_time_is_over_is_told_so_and_the_lookup_goes_on() {
    let mut scene = Scene::new();
    scene.ask(1, host("a"), SECOND);
    scene.ask(1, host("a"), SECOND * 3);
    assert_eq!(scene.flights.wake_at(), Some(scene.now + SECOND));
    let late = Unresolved::NoAnswer(SECOND);
    assert_eq!(scene.pass(SECOND), [answer(1, 1, Err(late))]);
    assert_eq!(scene.end(host("a"), Ok(7)), [answer(1, 2, Ok(7))]);
    assert_eq!(scene.flights.wake_at(), None);
}

#[test]
fn a_worker_does_not_wait_for_a_lookup_that_has_lasted_longer_than_it_would() {
    let mut scene = Scene::new();
    scene.ask(1, host("a"), SECOND);
    scene.pass(SECOND * 4);
    let hangs = Err(Unresolved::NoAnswer(SECOND * 4));
    assert_eq!(scene.ask(1, host("a"), SECOND * 3), [answer(1, 2, hangs)]);
    assert_eq!(scene.ask(1, host("a"), SECOND * 5), []);
    assert_eq!(scene.end(host("a"), Ok(7)), [answer(1, 3, Ok(7))]);
}

#[test]
fn names_wait_for_a_thread_in_turn() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c"] {
        assert_eq!(scene.ask(1, host(name), SECOND), [start(name)]);
    }
    assert_eq!(scene.ask(1, host("d"), SECOND), []);
    assert_eq!(scene.ask(1, host("e"), SECOND * 2), []);
    assert_eq!(
        scene.end(host("b"), Ok(7)),
        [answer(1, 2, Ok(7)), start("d")]
    );
    scene.pass(SECOND);
    let none = Unresolved::NoThread(SECOND * 2);
    assert_eq!(scene.pass(SECOND), [answer(1, 5, Err(none))]);
    // No worker waits for the last one any more.
    assert_eq!(scene.end(host("a"), Ok(7)), []);
    assert_eq!(scene.ask(1, host("e"), SECOND), [start("e")]);
}

#[test]
fn names_that_were_slow_leave_a_thread_for_others() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.ask(1, host(name), SECOND);
    }
    scene.pass(SECOND * 5);
    for name in ["a", "b", "c"] {
        scene.end(host(name), Err(unknown()));
    }
    scene.pass(SECOND * 2);
    assert_eq!(scene.ask(1, host("a"), SECOND * 9), [start("a")]);
    assert_eq!(scene.ask(1, host("b"), SECOND * 9), [start("b")]);
    assert_eq!(scene.ask(1, host("c"), SECOND * 9), []);
    assert_eq!(scene.ask(1, host("d"), SECOND * 9), [start("d")]);
    assert_eq!(scene.end(host("d"), Ok(7)), [answer(1, 7, Ok(7))]);
    let told = scene.end(host("a"), Ok(7));
    assert_eq!(told, [answer(1, 4, Ok(7)), start("c")]);
}

#[test]
fn a_worker_cannot_wait_for_too_much_and_keeps_no_other_from_waiting() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.ask(1, host("a"), SECOND);
    }
    let refused = || Err(Unresolved::TooMany);
    assert_eq!(scene.ask(1, host("a"), SECOND), [answer(1, 5, refused())]);
    assert_eq!(scene.ask(2, host("a"), SECOND), []);
    for _ in 0..6 {
        scene.ask(1, host("not configured"), SECOND);
    }
    assert_eq!(scene.ask(1, host("b"), SECOND), [answer(1, 13, refused())]);
    assert_eq!(scene.ask(2, host("b"), SECOND), [start("b")]);
}

#[test]
fn what_is_not_configured_waits_a_moment_for_its_configuration() {
    let mut scene = Scene::new();
    assert_eq!(scene.ask(1, host("new"), SECOND * 5), []);
    assert_eq!(scene.ask(1, host("other"), SECOND * 5), []);
    scene.pass(SECOND / 2);
    let configured = BTreeSet::from([host("new")]);
    assert_eq!(scene.event(Event::Configured(configured)), [start("new")]);
    let refused = Err(Unresolved::NotConfigured);
    assert_eq!(scene.pass(SECOND / 2), [answer(1, 2, refused)]);
    // Its time began when it asked.
    let late = Err(Unresolved::NoAnswer(SECOND * 5));
    assert_eq!(scene.pass(SECOND * 4), [answer(1, 1, late)]);
}

#[test]
fn what_is_no_longer_configured_is_not_answered_from_memory() {
    let mut scene = Scene::new();
    scene.ask(1, host("a"), SECOND);
    scene.end(host("a"), Ok(7));
    scene.ask(1, host("b"), SECOND);
    scene.event(Event::Configured(BTreeSet::new()));
    assert_eq!(scene.ask(1, host("a"), SECOND), []);
    assert_eq!(scene.end(host("b"), Ok(8)), [answer(1, 2, Ok(8))]);
    assert!(scene.flights.all.is_empty());
}

#[test]
fn a_connection_is_for_one_worker_and_is_not_remembered() {
    let mut scene = Scene::new();
    let begin = || Action::Start(path());
    assert_eq!(scene.ask(1, path(), SECOND), [begin()]);
    assert_eq!(scene.ask(2, path(), SECOND), []);
    assert_eq!(scene.end(path(), Ok(1)), [answer(1, 1, Ok(1)), begin()]);
    assert_eq!(scene.end(path(), Ok(2)), [answer(2, 2, Ok(2))]);
    assert_eq!(scene.ask(1, path(), SECOND), [begin()]);
}

#[test]
fn a_worker_that_left_is_told_nothing() {
    let mut scene = Scene::new();
    scene.ask(1, host("a"), SECOND);
    scene.ask(2, host("a"), SECOND);
    scene.ask(1, host("not configured"), SECOND);
    assert_eq!(scene.event(Event::Left { worker: 1 }), []);
    assert_eq!(scene.end(host("a"), Ok(7)), [answer(2, 2, Ok(7))]);
    assert_eq!(scene.flights.wake_at(), None);
}

#[test]
fn a_worker_may_say_that_it_waits_for_ever() {
    let mut scene = Scene::new();
    scene.ask(1, host("a"), Duration::MAX);
    let longest = Limits::default().longest_wait;
    assert_eq!(scene.flights.wake_at(), Some(scene.now + longest));
}
