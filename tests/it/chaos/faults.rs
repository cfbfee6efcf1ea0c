//! The faults, and the lanes in which they strike: one after the other within a lane, lanes in
//! parallel.

pub(crate) mod clients;
pub(crate) mod configuration;
pub(crate) mod control;
pub(crate) mod files;
pub(crate) mod helpers;
pub(crate) mod shortage;
pub(crate) mod supervisor;
pub(crate) mod surroundings;
pub(crate) mod workers;

use std::time::Instant;

use super::{journal::Entry, random::Random, run::Run, settings::Settings};
use crate::support::skip;

/// Something that goes wrong, or that an operator does.
pub(crate) struct Fault {
    /// Its name, by which it is chosen.
    pub(crate) name: &'static str,
    /// Whether commands may be refused while it lasts.
    pub(crate) excuses: bool,
    /// The function that makes it strike, and undoes it.
    pub(crate) strike: fn(&Run<'_>, &mut Random, Entry) -> Outcome,
}

impl Fault {
    const fn new(name: &'static str, strike: fn(&Run<'_>, &mut Random, Entry) -> Outcome) -> Self {
        Self {
            name,
            excuses: false,
            strike,
        }
    }

    /// Lets commands be refused while it lasts.
    const fn excusing(mut self) -> Self {
        self.excuses = true;
        self
    }
}

/// Whether a fault struck.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// It struck, and is undone.
    Struck,
    /// It did not, because there was nothing to strike; its turn comes again.
    NotNow,
    /// It cannot strike on this machine, or with this daemon, for this reason.
    Never(&'static str),
}

/// All faults, by lanes.
pub(crate) const ALL: [&[Fault]; 8] = [
    workers::LANE,
    helpers::LANE,
    supervisor::LANE,
    files::LANE,
    control::LANE,
    configuration::LANE,
    surroundings::LANE,
    clients::LANE,
];

/// Returns whether there is a fault of this name.
pub(crate) fn is_fault(name: &str) -> bool {
    ALL.iter()
        .flat_map(|lane| lane.iter())
        .any(|fault| fault.name == name)
}

/// Lets the faults of a lane strike, each time one of those that struck least, until the run is over.
pub(crate) fn strike_all(run: &Run<'_>, lane: &[Fault], settings: &Settings, mut random: Random) {
    let wanted = lane.iter().filter(|fault| settings.wants(fault.name));
    let mut struck: Vec<_> = wanted.map(|fault| (fault, 0_u32)).collect();
    while !run.is_over() && !struck.is_empty() {
        random.shuffle(&mut struck);
        struck.sort_by_key(|(_, times)| *times);
        for (fault, times) in &mut struck {
            run.wait(random.millis(50..500));
            if run.is_over() {
                return;
            }
            if strike(run, fault, &mut random) == Outcome::Struck {
                *times += 1;
                break;
            }
        }
    }
}

fn strike(run: &Run<'_>, fault: &Fault, random: &mut Random) -> Outcome {
    let _undone_before_the_daemon_is_judged = run.faults.read().unwrap();
    if run.is_over() {
        return Outcome::NotNow;
    }
    let journal = || run.journal.lock().unwrap();
    let entry = journal().begin(fault.name, fault.excuses, Instant::now());
    let outcome = (fault.strike)(run, random, entry);
    match outcome {
        Outcome::Struck => journal().end(entry, Instant::now()),
        Outcome::NotNow => journal().cancel(entry, Instant::now()),
        Outcome::Never(why) => {
            journal().cancel(entry, Instant::now());
            if journal().skip(fault.name, why) {
                skip(&format!("{}: {why}", fault.name));
            }
        }
    }
    outcome
}

#[test]
fn no_two_faults_share_a_name() {
    let names: Vec<_> = ALL.iter().flat_map(|lane| lane.iter()).collect();
    for fault in &names {
        let same = names.iter().filter(|it| it.name == fault.name);
        assert_eq!(same.count(), 1, "{}", fault.name);
    }
}
