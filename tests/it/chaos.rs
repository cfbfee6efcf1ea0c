//! Every fault at random, while clients and operators compare the daemon's answers with the truth.
//!
//! An ordinary test runs this for a minute, `tests/run chaos -- --minutes 60` for an hour;
//! `docs/chaos.md` says which faults strike and what is counted. The daemon of the first half logs to
//! a pipe, that of the second half to a file.

mod commands;
mod deaths;
mod disk;
mod ending;
mod faults;
mod growth;
mod identities;
mod journal;
mod judge;
mod poller;
mod probers;
mod pump;
mod random;
mod run;
mod scenery;
mod sessions;
mod settings;
mod settle;
mod small_disk;
mod summary;
mod takeovers;
mod tally;
mod truth;

use std::{
    fs,
    io::{self, Write as _},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use self::{
    journal::Journal,
    random::Random,
    run::Run,
    scenery::{Log, Scenery},
    settings::Settings,
    settle::{Calm, settle},
    summary::{Report, tail},
    tally::{Kind, Tally},
};

use crate::support::pause;

/// How many sessions are held at each listener.
const SESSIONS: usize = 4;

/// How often the daemon is checked with all faults undone.
const BETWEEN_SETTLES: Duration = Duration::from_secs(60);

/// The part of the time after which the daemon is measured first, as a divisor.
const FIRST_MEASURE: u32 = 5;

#[test]
fn chaos_refuses_no_client_loses_no_session_and_shows_no_wrong_certificate() {
    let settings = Settings::read();
    let unknown = settings.unknown(faults::is_fault);
    assert_eq!(unknown, None, "there is no such fault");
    say(&format!("chaos: seed {}", settings.seed));
    let (tally, journal) = (Tally::default(), Mutex::new(Journal::default()));
    let (start, begin) = (Instant::now(), Timestamp::now());
    let (mut calms, mut logs) = (Vec::new(), Vec::new());
    for log in [Log::Pipe, Log::File] {
        let (calm, text) = act(log, &settings, &tally, &journal);
        calms.push((log.name(), calm));
        logs.push(tail(&text));
    }
    let report = Report {
        settings: &settings,
        times: (begin, Timestamp::now()),
        tally: &tally,
        journal: &journal.into_inner().unwrap(),
        calms: &calms,
    };
    let summary = report.summary();
    say(&summary);
    if let Some(path) = &settings.summary {
        fs::write(path, &summary).unwrap();
    }
    let findings = report.findings(start);
    if !findings.is_empty() {
        let logs = logs.join("\n\n");
        panic!(
            "seed {}:\n{findings}\nthe ends of the logs:\n{logs}",
            settings.seed
        );
    }
}

/// Runs a daemon through half of the time; returns what it used, and its log.
fn act(log: Log, settings: &Settings, tally: &Tally, journal: &Mutex<Journal>) -> (Calm, String) {
    let mut scenery = Scenery::build(log);
    let run = scenery.run(tally, journal);
    let mut calm = Calm::default();
    thread::scope(|scope| {
        for place in &run.places {
            scope.spawn(|| probers::probe(&run, place));
            for number in 0..SESSIONS {
                let part = format!("session {number} at {}", place.name);
                let random = Random::new(settings.seed, &part);
                let run = &run;
                scope.spawn(move || sessions::hold(run, place, random));
            }
        }
        scope.spawn(|| poller::poll(&run));
        for (number, lane) in faults::ALL.iter().enumerate() {
            let part = format!("lane {number}, {}", log.name());
            let random = Random::new(settings.seed, &part);
            let run = &run;
            scope.spawn(move || faults::strike_all(run, lane, settings, random));
        }
        keep_time(&run, settings.time / 2, &mut calm);
    });
    takeovers::judge(&run);
    drop(run);
    ending::end(&mut scenery.daemon, tally);
    (calm, scenery.log())
}

/// Waits until the time is over; checks a settled daemon now and then, and at the end.
fn keep_time(run: &Run<'_>, time: Duration, calm: &mut Calm) {
    let end = Instant::now() + time;
    let mut pause = time / FIRST_MEASURE;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        run.wait(pause.min(left));
        let calmed = settle(run, calm);
        if left <= pause {
            return run.end();
        }
        drop(calmed);
        pause = BETWEEN_SETTLES;
        tell_progress(run);
    }
}

fn tell_progress(run: &Run<'_>) {
    let found: usize = Kind::ALL.iter().map(|kind| run.tally.found(*kind)).sum();
    let strikes: usize = run.journal.lock().unwrap().counts().values().sum();
    let handshakes = run.tally.handshakes.get();
    say(&format!(
        "chaos: {strikes} strikes, {handshakes} handshakes, {found} findings"
    ));
}

/// Waits until something is true; returns whether it became so in time.
fn within(deadline: Duration, mut look: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        if look() {
            return true;
        }
        pause(Duration::from_millis(20));
    }
    look()
}

/// Writes to the terminal past the test runner, which hides the output of a test that passes.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
