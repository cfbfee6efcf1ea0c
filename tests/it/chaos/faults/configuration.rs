//! Changes of the configuration file, good and broken.

use std::time::Duration;

use super::{Fault, Outcome};
use crate::{
    chaos::{
        commands::{ask, load},
        disk::{CONFIGURATION, State},
        journal::Entry,
        judge::Question,
        probers::attempt,
        random::Random,
        run::{Door, Place, Run},
        tally::Kind,
    },
    support::configuration::{Configuration, Listener},
};

/// The faults of the configuration file.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("listener-added", listener_added),
    Fault::new("limits-changed", limits_changed),
    Fault::new("configuration-broken", configuration_broken),
    Fault::new("workers-changed", workers_changed),
];

/// The name of the listener that comes and goes.
const GUEST: &str = "guest";

/// Texts that no daemon may take for its configuration.
const BROKEN: [&str; 5] = [
    "",
    "workers = ",
    "unknown_key = true\n",
    "[[listener]]\nname = \"alone\"\n",
    "\0\0\0\0",
];

/// Writes the configuration, changed by `change`.
fn write(run: &Run<'_>, change: impl FnOnce(&mut Configuration)) {
    let mut configuration = run.daemon.configuration.clone();
    change(&mut configuration);
    let text = configuration.text(run.daemon.folder());
    run.on_disk(CONFIGURATION, State::Torn);
    run.daemon.write_configuration(&text);
    run.on_disk(CONFIGURATION, State::Good(0));
}

/// Writes a configuration that a reload must refuse; [`restore`] takes it away again.
fn write_refused(run: &Run<'_>, text: &str, state: State) {
    run.on_disk(CONFIGURATION, State::Torn);
    run.daemon.write_configuration(text);
    run.on_disk(CONFIGURATION, state);
}

fn restore(run: &Run<'_>) {
    write(run, |_| ());
}

/// Writes the configuration with another listener.
pub(crate) fn add_listener(run: &Run<'_>) {
    write(run, |it| {
        let listener = Listener::tcp(GUEST, &run.daemon.backend.address());
        it.listeners
            .push(listener.line(&format!("identities = [{:?}]", run.names[0])));
    });
}

/// Writes the configuration without it.
pub(crate) fn take_listener_away(run: &Run<'_>) {
    restore(run);
}

fn listener_added(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let _alone = run.configuration.lock().unwrap();
    add_listener(run);
    let answer = load(run, Question::Reload, &[]);
    run.note(entry, format!("added: {:?}", answer.status));
    if answer.status == Some(0) {
        visit(run);
    }
    run.wait(random.millis(0..300));
    take_listener_away(run);
    let answer = load(run, Question::Reload, &[]);
    run.note(entry, format!("taken away: {:?}", answer.status));
    Outcome::Struck
}

/// Checks that the new listener serves.
fn visit(run: &Run<'_>) {
    let status = ask(run, &["status"]).json().unwrap_or_default();
    let listeners = status["listeners"].as_array().cloned().unwrap_or_default();
    let guest = listeners.iter().find(|it| it["name"] == GUEST);
    let address = guest.and_then(|it| it["bind"].as_str()?.parse().ok());
    let Some(address) = address else {
        let what = format!("{GUEST} was added and is not told of: {listeners:?}");
        return run.tally.find(Kind::WrongStatus, what);
    };
    let door = &run.places[0].doors[0];
    let place = Place {
        name: GUEST,
        address,
        doors: Vec::new(),
    };
    let door = Door {
        identity: door.identity,
        client: door.client.clone(),
    };
    attempt(run, &place, &door);
}

fn limits_changed(run: &Run<'_>, random: &mut Random, _: Entry) -> Outcome {
    let _alone = run.configuration.lock().unwrap();
    let most = 1000 + random.below(9000);
    write(run, |it| {
        let line = format!("limits = {{ max_connections = {most} }}");
        it.listener(run.places[0].name).lines.push(line);
    });
    load(run, Question::Reload, &[]);
    restore(run);
    load(run, Question::Reload, &[]);
    Outcome::Struck
}

fn configuration_broken(run: &Run<'_>, random: &mut Random, entry: Entry) -> Outcome {
    let _alone = run.configuration.lock().unwrap();
    let text = random.pick(&BROKEN);
    run.note(entry, format!("{text:?}"));
    write_refused(run, text, State::Broken);
    load(run, Question::Reload, &[]);
    run.wait(random.millis(0..500));
    restore(run);
    load(run, Question::Reload, &[]);
    Outcome::Struck
}

/// Changes a setting that needs a restart, so that a reload must refuse it.
fn workers_changed(run: &Run<'_>, _: &mut Random, entry: Entry) -> Outcome {
    let _alone = run.configuration.lock().unwrap();
    let mut configuration = run.daemon.configuration.clone();
    configuration.set("workers", "7");
    let text = configuration.text(run.daemon.folder());
    write_refused(run, &text, State::ForRestart);
    let answer = load(run, Question::Reload, &[]);
    run.note(entry, format!("{:?}", answer.status));
    run.wait(Duration::from_millis(100));
    restore(run);
    load(run, Question::Reload, &[]);
    Outcome::Struck
}
