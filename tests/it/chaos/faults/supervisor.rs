//! Faults of the supervisor.

use nix::sys::signal::Signal;

use super::{
    Fault, Outcome,
    configuration::{add_listener, take_listener_away},
    shortage::Shortage,
    workers::{kill, victims},
};
use crate::{
    chaos::{
        commands::load, deaths::Blow, journal::Entry, judge::Question, random::Random, run::Run,
    },
    support::process,
};

/// The faults of the supervisor.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("supervisor-pause", pause),
    Fault::new("descriptors-and-kill", descriptors_and_kill).excusing(),
    Fault::new("descriptors-and-reload", descriptors_and_reload).excusing(),
    Fault::new("descriptors-and-renewal", descriptors_and_renewal).excusing(),
];

const NO_LIMIT: Outcome = Outcome::Never("the limits of the daemon cannot be changed");

fn pause(run: &Run<'_>, random: &mut Random, _: Entry) -> Outcome {
    let supervisor = run.daemon.pid();
    process::send(supervisor, Signal::SIGSTOP);
    run.wait(random.millis(100..900));
    process::send(supervisor, Signal::SIGCONT);
    Outcome::Struck
}

/// A shortage of the supervisor.
struct Starved<'run> {
    run: &'run Run<'run>,
    shortage: Option<Shortage>,
}

impl Drop for Starved<'_> {
    fn drop(&mut self) {
        drop(self.shortage.take());
        self.run.struck(self.run.daemon.pid());
    }
}

/// Leaves the supervisor few descriptors.
fn starve<'run>(run: &'run Run<'_>, random: &mut Random, entry: Entry) -> Option<Starved<'run>> {
    let spare = random.below(8);
    run.note(entry, format!("{spare} to spare"));
    let supervisor = run.daemon.pid();
    run.strike(supervisor, Blow::SupervisorShortage);
    let shortage = Shortage::begin(supervisor, spare);
    let starved = Starved { run, shortage };
    starved.shortage.is_some().then_some(starved)
}

/// A worker dies while there are no descriptors for its successor.
fn descriptors_and_kill(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let Some(victim) = victims(run, random).pop() else {
        return Outcome::NotNow;
    };
    let Some(shortage) = starve(run, random, entry) else {
        return NO_LIMIT;
    };
    kill(run, entry, victim, Signal::SIGKILL);
    run.wait(random.millis(200..1200));
    drop(shortage);
    Outcome::Struck
}

/// A reload adds a listener while there are no descriptors for its sockets.
fn descriptors_and_reload(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let configuration = run.configuration.lock().unwrap();
    let Some(shortage) = starve(run, random, entry) else {
        return NO_LIMIT;
    };
    add_listener(run);
    let answer = load(run, Question::Reload, &[]);
    run.note(entry, format!("reload: {:?}", answer.status));
    drop(shortage);
    take_listener_away(run);
    load(run, Question::Reload, &[]);
    drop(configuration);
    Outcome::Struck
}

/// A reload reads all files while there are few descriptors to open them.
fn descriptors_and_renewal(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let Some(shortage) = starve(run, random, entry) else {
        return NO_LIMIT;
    };
    let answer = load(run, Question::ReloadTls, &[]);
    run.note(entry, format!("reload-tls: {:?}", answer.status));
    drop(shortage);
    Outcome::Struck
}
