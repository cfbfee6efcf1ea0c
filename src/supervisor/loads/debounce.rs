//! Decides which problems on disk to report now, and which may come from files still being written.
//! Pure.
//!
//! A certificate and its key are two files, and a renewal writes one after the other. A problem that a
//! load finds in between is no failure if the next write solves it. So a problem found by a load that
//! no operator asked for is reported only after its subject has stayed broken for `watch_grace`. A
//! reported problem stands until its subject is mended, even if the subject is broken in other ways
//! meanwhile.

use std::{collections::BTreeMap, time::Duration};

use crate::facts::Problem;

/// Everything that is broken on disk, by the problems' subject.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    broken: BTreeMap<String, Broken>,
    patience: Duration,
    asked: bool,
}

/// What is known of a broken subject.
#[derive(Debug, Default)]
struct Broken {
    /// The problems reported last.
    told: Option<Vec<Problem>>,
    /// Since when its problems have differed from those reported last.
    since: Option<Duration>,
}

/// What to do about the problems that a load found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Problems to report now.
    pub(super) told: Vec<Problem>,
    /// Problems that begin to wait with this load.
    pub(super) waiting: Vec<Problem>,
}

impl Debounce {
    /// Takes all problems of a load that ended at `now`; a problem is reported once it has lasted for
    /// `patience`.
    pub(super) fn split(
        &mut self,
        problems: &[Problem],
        now: Duration,
        patience: Duration,
    ) -> Split {
        self.asked = false;
        self.patience = patience;
        let mut last = std::mem::take(&mut self.broken);
        let (mut told, mut waiting) = (Vec::new(), Vec::new());
        for (subject, problems) in by_subject(problems) {
            let mut broken = last.remove(subject).unwrap_or_default();
            let is_new = broken.see(&problems, now, patience);
            told.extend(broken.told.iter().flatten().cloned());
            if is_new {
                waiting.extend(problems);
            }
            self.broken.insert(subject.to_owned(), broken);
        }
        Split { told, waiting }
    }

    /// Whether any problem may come from files still being written.
    pub(super) fn is_waiting(&self) -> bool {
        self.broken.values().any(|broken| broken.since.is_some())
    }

    /// Returns when to read the disk again, so as to report what is still broken then.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let since = self.broken.values().filter_map(|broken| broken.since);
        let first = since.min().filter(|_| !self.asked)?;
        Some(first + self.patience)
    }

    /// Notes that this reading was requested.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }
}

impl Broken {
    /// Takes the problems of now; returns whether they begin to wait.
    fn see(&mut self, problems: &[Problem], now: Duration, patience: Duration) -> bool {
        let is_told = self.told.as_deref() == Some(problems);
        let waited = self.since.take().filter(|_| !is_told);
        if is_told {
            return false;
        }
        let since = waited.unwrap_or(now);
        if now >= since + patience {
            self.told = Some(problems.to_vec());
            return false;
        }
        self.since = Some(since);
        waited.is_none()
    }
}

/// Returns the problems of each subject, in the order in which subjects first come up.
fn by_subject(problems: &[Problem]) -> Vec<(&str, Vec<Problem>)> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<(&str, Vec<Problem>)> = Vec::new();
    for problem in problems {
        let place = *places.entry(&problem.subject).or_insert_with(|| {
            groups.push((&problem.subject, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(problem.clone());
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn problem(subject: &str, reason: &str) -> Problem {
        Problem {
            subject: subject.to_owned(),
            file: None,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn what_is_mended_in_time_is_never_told() {
        let mut debounce = Debounce::default();
        let torn = [problem("a", "no match")];
        let split = debounce.split(&torn, at(1), PATIENCE);
        assert_eq!((split.told, split.waiting), (vec![], torn.to_vec()));
        assert_eq!(debounce.deadline(), Some(at(11)));
        let split = debounce.split(&torn, at(9), PATIENCE);
        assert_eq!((split.told, split.waiting), (vec![], vec![]));
        let split = debounce.split(&[], at(10), PATIENCE);
        assert_eq!((split.told, split.waiting), (vec![], vec![]));
        assert_eq!(debounce.deadline(), None);
        assert_eq!(debounce.split(&torn, at(12), PATIENCE).told, []);
        assert_eq!(debounce.deadline(), Some(at(22)));
    }

    #[test]
    fn what_stays_broken_is_told_at_the_end_and_stands() {
        let mut debounce = Debounce::default();
        debounce.split(&[problem("a", "empty")], at(1), PATIENCE);
        // The wait goes on although the subject is broken in another way now.
        let broken = [problem("a", "no match")];
        assert_eq!(debounce.split(&broken, at(5), PATIENCE).told, []);
        assert_eq!(debounce.split(&broken, at(11), PATIENCE).told, broken);
        assert!(!debounce.is_waiting());
        assert_eq!(debounce.split(&broken, at(12), PATIENCE).told, broken);
    }

    #[test]
    fn an_attempt_to_mend_what_was_told_has_its_own_grace() {
        let mut debounce = Debounce::default();
        let (broken, torn) = ([problem("a", "empty")], [problem("a", "no match")]);
        debounce.split(&broken, at(0), Duration::ZERO);
        let split = debounce.split(&torn, at(100), PATIENCE);
        assert_eq!(
            (split.told, split.waiting),
            (broken.to_vec(), torn.to_vec())
        );
        assert_eq!(debounce.deadline(), Some(at(110)));
        assert_eq!(debounce.split(&torn, at(110), PATIENCE).told, torn);
    }

    #[test]
    fn a_neighbour_waits_for_nobody() {
        let mut debounce = Debounce::default();
        debounce.split(&[problem("b", "empty")], at(0), PATIENCE);
        let both = [problem("a", "torn"), problem("b", "empty")];
        let split = debounce.split(&both, at(10), PATIENCE);
        assert_eq!(split.told, both[1..]);
        assert_eq!(split.waiting, both[..1]);
    }

    #[test]
    fn who_asks_is_told_at_once_and_it_stays_told() {
        let mut debounce = Debounce::default();
        let torn = [problem("a", "torn")];
        debounce.split(&torn, at(0), PATIENCE);
        assert_eq!(debounce.split(&torn, at(1), Duration::ZERO).told, torn);
        assert_eq!(debounce.split(&torn, at(2), PATIENCE).told, torn);
    }

    #[test]
    fn the_end_of_the_grace_is_asked_about_once() {
        let mut debounce = Debounce::default();
        let torn = [problem("a", "torn")];
        debounce.split(&torn, at(0), PATIENCE);
        debounce.ask();
        assert_eq!(debounce.deadline(), None);
        debounce.split(&torn, at(5), PATIENCE);
        assert_eq!(debounce.deadline(), Some(at(10)));
    }

    proptest! {
        /// Loads, each with the seconds since the one before and how each of three things is
        /// broken; 0 is not at all.
        #[test]
        fn a_thing_is_told_of_if_and_only_if_it_was_broken_for_long(
            loads in vec((0_u64..8, [0_u8..3, 0..3, 0..3]), 1..40)
        ) {
            let mut debounce = Debounce::default();
            let mut now = 0;
            let mut since = [None; 3];
            for (passed, states) in loads {
                now += passed;
                let mut problems = Vec::new();
                for (thing, state) in states.into_iter().enumerate() {
                    if state == 0 {
                        since[thing] = None;
                    } else {
                        since[thing] = since[thing].or(Some(now));
                        problems.push(problem(&thing.to_string(), &state.to_string()));
                    }
                }
                let split = debounce.split(&problems, at(now), PATIENCE);
                for (thing, since) in since.iter().enumerate() {
                    let long = since.is_some_and(|since| now >= since + PATIENCE.as_secs());
                    let told = split.told.iter().any(|it| it.subject == thing.to_string());
                    prop_assert_eq!(told, long);
                }
                prop_assert_eq!(debounce.is_waiting(), debounce.deadline().is_some());
                prop_assert!(debounce.deadline().is_none_or(|due| due > at(now)));
            }
        }

        #[test]
        fn without_patience_everything_is_told_as_it_is(
            loads in vec([0_u8..3, 0..3, 0..3], 1..20)
        ) {
            let mut debounce = Debounce::default();
            for (now, states) in (0..).zip(loads) {
                let broken = states.into_iter().enumerate().filter(|(_, state)| *state != 0);
                let problems: Vec<_> = broken
                    .map(|(thing, state)| problem(&thing.to_string(), &state.to_string()))
                    .collect();
                let split = debounce.split(&problems, at(now), Duration::ZERO);
                prop_assert_eq!(split.told, problems);
                prop_assert!(!debounce.is_waiting());
            }
        }
    }
}
