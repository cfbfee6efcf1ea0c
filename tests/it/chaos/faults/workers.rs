//! Faults of workers.

use std::{thread, time::Duration};

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Fault, Outcome, shortage::Shortage};
use crate::{
    chaos::{commands::ask, deaths::Blow, journal::Entry, random::Random, run::Run, within},
    support::{is_root, process},
};

/// The faults of workers.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("kill", |run, random, entry| {
        blow(run, random, entry, Signal::SIGKILL)
    }),
    Fault::new("segv", |run, random, entry| {
        blow(run, random, entry, Signal::SIGSEGV)
    }),
    Fault::new("abort", |run, random, entry| {
        blow(run, random, entry, Signal::SIGABRT)
    }),
    Fault::new("term", |run, random, entry| {
        blow(run, random, entry, Signal::SIGTERM)
    }),
    Fault::new("two-killed", two_killed),
    Fault::new("hang", hang),
    Fault::new("pause", pause),
    Fault::new("worker-descriptors", worker_descriptors).excusing(),
];

/// How long a worker may take to end after it was killed, or after it has hung for the heartbeat timeout.
const END: Duration = Duration::from_secs(15);

/// How long to watch a worker that must ignore a signal.
const SHRUG: Duration = Duration::from_secs(1);

/// From how many failures in a row on the pauses between starts are long.
const FEW_FAILURES: u64 = 3;

/// How long a worker must have served for its failure to count as the first in a row again.
const HEALTHY: f64 = 11.0;

/// How long a worker must have served for a fault to strike it although other workers have failed.
const YOUNG: f64 = 2.0;

/// Returns, in random order, the serving workers that may be struck: their end does not begin a long
/// pause before the next start. Such a pause is intended when workers fail again and again.
pub(crate) fn victims(run: &Run<'_>, random: &mut Random) -> Vec<u32> {
    let status = ask(run, &["status"]).json().unwrap_or_default();
    let failures = status["restarts"]["consecutive"].as_u64().unwrap_or(0);
    let workers = status["workers"].as_array().cloned().unwrap_or_default();
    let serving = workers.iter().filter(|it| it["state"] == "serving");
    let mut victims: Vec<u32> = serving
        .filter_map(|worker| {
            let pid = u32::try_from(worker["pid"].as_u64()?).ok()?;
            let age = age(worker)?;
            let ripe = age > HEALTHY || age > YOUNG && failures < FEW_FAILURES;
            (ripe || run.first_workers.contains(&pid)).then_some(pid)
        })
        .collect();
    random.shuffle(&mut victims);
    victims
}

/// Returns the seconds since a worker started.
fn age(worker: &Value) -> Option<f64> {
    let started: Timestamp = worker["started_at"].as_str()?.parse().ok()?;
    Some(Timestamp::now().duration_since(started).as_secs_f64())
}

/// Returns a worker that may be struck; waits for one for a while.
fn victim(run: &Run<'_>, random: &mut Random) -> Option<u32> {
    for _ in 0..4 {
        if let Some(pid) = victims(run, random).pop() {
            return Some(pid);
        }
        run.wait(Duration::from_millis(500));
    }
    None
}

fn blow(run: &Run<'_>, random: &mut Random, entry: Entry, signal: Signal) -> Outcome {
    let Some(pid) = victim(run, random) else {
        return Outcome::NotNow;
    };
    kill(run, entry, pid, signal);
    Outcome::Struck
}

/// Sends a worker a signal and waits until it has ended, if the signal ends workers.
pub(crate) fn kill(run: &Run<'_>, entry: Entry, pid: u32, signal: Signal) {
    run.note(entry, format!("worker {pid}"));
    let leaves_it = signal == Signal::SIGTERM;
    let (kind, patience) = if leaves_it {
        (Blow::Passing, SHRUG)
    } else {
        (Blow::Deadly, END)
    };
    run.strike(pid, kind);
    process::send(pid, signal);
    within(patience, || !process::is_alive(pid));
    run.struck(pid);
}

fn two_killed(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let victims = victims(run, random);
    let [one, other, ..] = victims[..] else {
        return Outcome::NotNow;
    };
    thread::scope(|scope| {
        scope.spawn(|| kill(run, entry, one, Signal::SIGKILL));
        kill(run, entry, other, Signal::SIGKILL);
    });
    Outcome::Struck
}

fn hang(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let Some(pid) = victim(run, random) else {
        return Outcome::NotNow;
    };
    kill(run, entry, pid, Signal::SIGSTOP);
    // If the supervisor does not find it hung, the held sessions and the probers report that.
    process::send(pid, Signal::SIGCONT);
    Outcome::Struck
}

fn pause(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let Some(pid) = victim(run, random) else {
        return Outcome::NotNow;
    };
    run.note(entry, format!("worker {pid}"));
    run.strike(pid, Blow::Passing);
    process::send(pid, Signal::SIGSTOP);
    run.wait(random.millis(100..700));
    process::send(pid, Signal::SIGCONT);
    run.struck(pid);
    Outcome::Struck
}

fn worker_descriptors(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    if !is_root() {
        return Outcome::Never("only root may limit a worker that protects its memory");
    }
    let Some(pid) = victim(run, random) else {
        return Outcome::NotNow;
    };
    let spare = random.below(6);
    run.note(entry, format!("worker {pid} with {spare} to spare"));
    run.strike(pid, Blow::Shortage);
    let Some(shortage) = Shortage::begin(pid, spare) else {
        run.struck(pid);
        return Outcome::NotNow;
    };
    run.wait(random.millis(300..1500));
    drop(shortage);
    run.struck(pid);
    Outcome::Struck
}
