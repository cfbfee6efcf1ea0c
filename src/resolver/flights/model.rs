//! What must hold whatever happens: each ask gets one answer in its time, and no limit is passed.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{tests::SECOND, *};

const WORKERS: u64 = 3;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn limits() -> Limits {
    Limits {
        threads: 3,
        slow_threads: 2,
        asks: 8,
        asks_for_one: 3,
        ..Limits::default()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Configure(Vec<bool>),
    Ask {
        worker: u64,
        which: usize,
        within: u64,
    },
    /// One of the lookups that run ends.
    End {
        which: usize,
        is_good: bool,
    },
    Leave(u64),
    Pass(u64),
}

/// Returns a name, or for those behind the names a path.
fn wanted(which: usize) -> Wanted {
    match NAMES.get(which) {
        Some(name) => Wanted::Host((*name).to_owned()),
        None => Wanted::Path(format!("/run/{which}").into()),
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let things = NAMES.len() + 2;
    prop_oneof![
        1 => proptest::collection::vec(any::<bool>(), things).prop_map(Step::Configure),
        8 => (0..WORKERS, 0..things, 0_u64..6000)
            .prop_map(|(worker, which, within)| Step::Ask { worker, which, within }),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_good)| Step::End { which, is_good }),
        1 => (0..WORKERS).prop_map(Step::Leave),
        3 => (0_u64..3000).prop_map(Step::Pass),
    ]
}

/// What is known from outside.
struct World {
    flights: Flights<u64>,
    now: Instant,
    configured: BTreeSet<Wanted>,
    /// Asks that have no answer yet: what they want and when their time is over.
    open: HashMap<Asker, (Wanted, Instant)>,
    running: Vec<Wanted>,
    /// The answers given so far, each of which is another connection for paths.
    connections: HashSet<u64>,
    next: u64,
}

impl World {
    fn new() -> Self {
        Self {
            flights: Flights::new(limits()),
            now: Instant::now(),
            configured: BTreeSet::new(),
            open: HashMap::new(),
            running: Vec::new(),
            connections: HashSet::new(),
            next: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Configure(which) => {
                let which = which.iter().enumerate().filter(|(_, is)| **is);
                let configured: BTreeSet<_> = which.map(|(it, _)| wanted(it)).collect();
                self.event(Event::Configured(configured.clone()));
                // What was due before this came was refused rightly.
                self.configured = configured;
            }
            Step::Ask {
                worker,
                which,
                within,
            } => self.ask(worker, wanted(which), Duration::from_millis(within)),
            Step::End { which, is_good } => self.end(which, is_good),
            Step::Leave(worker) => {
                // An ask whose time is over at this very moment may still be answered.
                self.event(Event::Left { worker });
                self.open.retain(|asker, _| asker.worker != worker);
            }
            Step::Pass(time) => self.pass(Duration::from_millis(time)),
        }
    }

    fn ask(&mut self, worker: u64, wanted: Wanted, within: Duration) {
        self.next += 1;
        let asker = Asker {
            worker,
            number: self.next,
        };
        self.open.insert(asker, (wanted.clone(), self.now + within));
        self.event(Event::Asked(Ask {
            asker,
            wanted,
            within,
        }));
    }

    fn end(&mut self, which: usize, is_good: bool) {
        if self.running.is_empty() {
            return;
        }
        let wanted = self.running.remove(which % self.running.len());
        self.next += 1;
        let failure = Unresolved::Failed("refused".to_owned());
        let result = if is_good { Ok(self.next) } else { Err(failure) };
        self.event(Event::Ended { wanted, result });
    }

    /// Lets time pass as the resolver would see it: it is woken when it asked for that.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.flights.wake_at().filter(|it| *it <= end) {
            self.now = self.now.max(wake);
            self.event(Event::Woken);
            assert!(self.flights.wake_at().is_none_or(|it| it > self.now));
        }
        self.now = end;
    }

    fn event(&mut self, event: Event<u64>) {
        for action in self.flights.take(self.now, event) {
            match action {
                Action::Start(wanted) => {
                    assert!(!self.running.contains(&wanted), "two lookups: {wanted}");
                    self.running.push(wanted);
                }
                Action::Answer(asker, answer) => self.answered(asker, &answer),
            }
        }
        self.check();
    }

    fn answered(&mut self, asker: Asker, answer: &Result<u64, Unresolved>) {
        let (wanted, until) = self.open.remove(&asker).expect("an ask without an answer");
        assert!(self.now <= until, "late: {wanted}");
        if let (Ok(number), Wanted::Path(_)) = (answer, &wanted) {
            assert!(self.connections.insert(*number), "one connection for two");
        }
        let is_refused = answer == &Err(Unresolved::NotConfigured);
        assert!(!is_refused || !self.configured.contains(&wanted));
    }

    fn check(&self) {
        let limits = limits();
        assert!(self.running.len() <= limits.threads);
        assert_eq!(self.running.len(), self.flights.running);
        assert!(self.flights.slow <= limits.slow_threads);
        let queued: BTreeSet<_> = self.flights.queue.iter().collect();
        assert_eq!(queued.len(), self.flights.queue.len(), "a name waits twice");
        for worker in 0..WORKERS {
            let open = self.open.iter().filter(|(it, _)| it.worker == worker);
            assert!(open.count() <= limits.asks);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_ask_gets_one_answer_in_its_time_and_no_limit_is_passed(
        steps in proptest::collection::vec(any_step(), 1..150),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.pass(SECOND * 10);
        prop_assert_eq!(&world.open, &HashMap::new());
        prop_assert_eq!(world.flights.wake_at(), None);
        // Nothing is kept of what is neither configured nor looked up.
        while !world.running.is_empty() {
            world.end(0, true);
        }
        world.event(Event::Configured(BTreeSet::new()));
        prop_assert!(world.flights.all.is_empty() && world.flights.queue.is_empty());
    }
}
