//! The states of the files on disk over time: good, broken, or being written.

use std::{collections::BTreeMap, time::Instant};

/// How many states of each subject are remembered; a command sees a few of them at most.
const REMEMBERED: usize = 256;

/// The state of a subject's files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// They are whole, and hold the certificate of this number where they are an identity's.
    Good(usize),
    /// They are being written, so it is not known what a reader finds.
    Torn,
    /// They must not be served.
    Broken,
    /// They are good for a restart, but a reload must refuse them.
    ForRestart,
}

/// The states on disk, by subject: an identity, the authorities of clients, or the configuration.
#[derive(Debug, Default)]
pub(crate) struct Disk(BTreeMap<&'static str, Vec<(Instant, State)>>);

/// The subject of the configuration file.
pub(crate) const CONFIGURATION: &str = "configuration";

impl Disk {
    /// Notes the state of a subject's files from `at` on.
    pub(crate) fn set(&mut self, subject: &'static str, at: Instant, state: State) {
        let states = self.0.entry(subject).or_default();
        if states.len() == REMEMBERED {
            states.remove(0);
        }
        states.push((at, state));
    }

    /// Returns the state of a subject if it was one and the same from `begun` to `ended`.
    pub(crate) fn throughout(
        &self,
        subject: &str,
        begun: Instant,
        ended: Instant,
    ) -> Option<State> {
        let states = self.0.get(subject)?;
        let (since, state) = states.iter().rev().find(|(since, _)| *since <= ended)?;
        (*since <= begun).then_some(*state)
    }

    /// Returns the state of a subject now.
    pub(crate) fn now(&self, subject: &str) -> Option<State> {
        let (_, state) = self.0.get(subject)?.last()?;
        Some(*state)
    }

    /// Returns all subjects.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

#[test]
fn a_state_is_certain_only_if_it_did_not_change_meanwhile() {
    let start = Instant::now();
    let at = |seconds| start + std::time::Duration::from_secs(seconds);
    let mut disk = Disk::default();
    disk.set("alpha", at(0), State::Good(0));
    disk.set("alpha", at(10), State::Broken);
    assert_eq!(disk.throughout("alpha", at(1), at(9)), Some(State::Good(0)));
    assert_eq!(disk.throughout("alpha", at(9), at(11)), None);
    assert_eq!(
        disk.throughout("alpha", at(10), at(12)),
        Some(State::Broken)
    );
    assert_eq!(disk.throughout("beta", at(10), at(12)), None);
}
