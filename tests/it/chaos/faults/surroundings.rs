//! Faults of the disk and the log.

use std::{fs, time::Duration};

use nix::sys::signal::Signal;

use super::{Fault, Outcome};
use crate::{
    chaos::{
        commands::{ask, load},
        journal::Entry,
        judge::Question,
        random::Random,
        run::{LogTo, Run},
        scenery::keep_lines,
        tally::Kind,
        within,
    },
    support::process,
};

/// The faults of the disk and the log.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("disk-full", disk_full).excusing(),
    Fault::new("log-renamed", log_renamed),
    Fault::new("log-unread", log_unread),
];

/// How long the daemon may take to reopen its log.
const REOPENED: Duration = Duration::from_secs(15);

/// How many hangups make the daemon log more than its pipe holds.
const HANGUPS: usize = 60;

/// The disk of the state and the log is full, while reloads go on and a command is set.
fn disk_full(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let Some(disk) = run.small_disk else {
        return Outcome::Never("no small disk can be mounted");
    };
    disk.fill();
    let answer = load(run, Question::ReloadTls, &[]);
    run.note(entry, format!("reload-tls: {:?}", answer.status));
    run.wait(random.millis(100..1000));
    disk.empty();
    Outcome::Struck
}

/// The log is renamed, as logrotate does, and the daemon is told to reopen it.
fn log_renamed(run: &Run<'_>, _: &mut Random, _: Entry) -> Outcome {
    let LogTo::File(path) = &run.log else {
        return Outcome::NotNow;
    };
    let renamed = path.with_extension("1");
    fs::rename(path, &renamed).unwrap();
    process::send(run.daemon.pid(), Signal::SIGUSR1);
    if !within(REOPENED, || path.exists()) {
        run.tally
            .find(Kind::WrongAnswer, "USR1 did not open the log again");
    }
    // The small disk has no room for all lines.
    keep_lines(&renamed, &run.daemon.path("log"));
    Outcome::Struck
}

/// Nothing reads the log until its pipe is full, and for a while longer.
fn log_unread(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let LogTo::Pipe(pump) = &run.log else {
        return Outcome::NotNow;
    };
    pump.pause();
    for _ in 0..HANGUPS {
        process::send(run.daemon.pid(), Signal::SIGHUP);
        run.wait(Duration::from_millis(10));
    }
    let status = ask(run, &["status"]).status;
    let answer = load(run, Question::ReloadTls, &[]);
    run.note(
        entry,
        format!("{status:?}, reload-tls: {:?}", answer.status),
    );
    run.wait(random.millis(0..800));
    pump.resume();
    Outcome::Struck
}
