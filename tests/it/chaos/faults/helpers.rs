//! Faults of the resolver, which finds backends for workers.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Fault, Outcome};
use crate::{
    chaos::{journal::Entry, random::Random, run::Run, within},
    support::process,
};

/// The faults of the resolver.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("resolver-killed", killed),
    Fault::new("resolver-hangs", hangs),
];

/// How long the daemon may take to start another resolver, or to find that one hangs.
const PATIENCE: Duration = Duration::from_secs(15);

fn resolver(run: &Run<'_>) -> Option<u32> {
    let is_it = |pid: &u32| process::name(*pid).as_deref() == Some("proxyd-resolver");
    process::children(run.daemon.pid()).into_iter().find(is_it)
}

/// Sends the resolver a signal and waits until another is there.
fn strike(run: &Run<'_>, entry: Entry, signal: Signal) -> Outcome {
    let Some(pid) = resolver(run) else {
        return Outcome::NotNow;
    };
    run.note(entry, format!("resolver {pid}"));
    process::send(pid, signal);
    let replaced = within(PATIENCE, || resolver(run).is_some_and(|it| it != pid));
    if !replaced && signal == Signal::SIGSTOP {
        // Workers that wait for it report that.
        process::send(pid, Signal::SIGCONT);
    }
    // Otherwise its failures come so fast that the pauses between starts grow.
    run.wait(Duration::from_secs(11));
    Outcome::Struck
}

fn killed(run: &Run<'_>, _: &mut Random, entry: Entry) -> Outcome {
    strike(run, entry, Signal::SIGKILL)
}

fn hangs(run: &Run<'_>, _: &mut Random, entry: Entry) -> Outcome {
    strike(run, entry, Signal::SIGSTOP)
}
