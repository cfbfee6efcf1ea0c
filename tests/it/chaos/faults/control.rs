//! Commands of operators, also many at once, and the exit-failure command.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, thread};

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Fault, Outcome};
use crate::{
    chaos::{
        commands::{ask, load},
        journal::Entry,
        judge::Question,
        random::Random,
        run::Run,
        tally::Kind,
    },
    support::process,
};

/// The commands of operators.
pub(crate) const LANE: &[Fault] = &[
    Fault::new("reload-tls", |run, _, entry| {
        question(run, entry, Question::ReloadTls, &[])
    }),
    Fault::new("reload-tls-all-or-nothing", |run, _, entry| {
        question(run, entry, Question::ReloadTls, &["--all-or-nothing"])
    }),
    Fault::new("reload", |run, _, entry| {
        question(run, entry, Question::Reload, &[])
    }),
    Fault::new("verify", |run, _, entry| {
        question(run, entry, Question::Verify, &[])
    }),
    Fault::new("hangup", hangup),
    Fault::new("many-at-once", many_at_once),
    Fault::new("hook-set", |run, random, entry| {
        set_hook(run, random, entry, "hook-works")
    }),
    Fault::new("hook-hangs", |run, random, entry| {
        set_hook(run, random, entry, "hook-hangs")
    }),
    Fault::new("hook-fails", |run, random, entry| {
        set_hook(run, random, entry, "hook-fails")
    }),
    Fault::new("hook-cleared", hook_cleared),
];

/// The exit-failure commands and what they do. The configuration names the first.
const HOOKS: [(&str, &str); 3] = [
    ("hook-works", "exit 0"),
    ("hook-hangs", "sleep 600"),
    ("hook-fails", "echo failing on purpose; exit 3"),
];

/// How long a command may run before the daemon kills it.
const HOOK_TIMEOUT: &str = "500ms";

/// How many hangups and commands come at a time.
const MANY: usize = 6;

/// Writes the exit-failure commands into a folder; returns the line of the configuration's.
pub(crate) fn write_hooks(folder: &Path) -> String {
    for (name, body) in HOOKS {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = folder.join(HOOKS[0].0);
    let path = path.display();
    format!("{{ command = [\"{path}\"], timeout = {HOOK_TIMEOUT:?} }}")
}

fn question(run: &Run<'_>, entry: Entry, question: Question, options: &[&str]) -> Outcome {
    let answer = load(run, question, options);
    run.note(entry, format!("{:?}", answer.status));
    Outcome::Struck
}

fn hangup(run: &Run<'_>, _: &mut Random, _: Entry) -> Outcome {
    process::send(run.daemon.pid(), Signal::SIGHUP);
    Outcome::Struck
}

fn many_at_once(run: &Run<'_>, _: &mut Random, _: Entry) -> Outcome {
    thread::scope(|scope| {
        for number in 0..MANY {
            let question = [Question::ReloadTls, Question::Reload, Question::Verify][number % 3];
            scope.spawn(move || load(run, question, &[]));
            process::send(run.daemon.pid(), Signal::SIGHUP);
        }
    });
    Outcome::Struck
}

fn set_hook(run: &Run<'_>, _: &mut Random, entry: Entry, name: &str) -> Outcome {
    let _alone = run.hook.lock().unwrap();
    let path = run.daemon.path(name);
    let path = path.to_str().unwrap();
    let set = ["set-on-exit-failure", "--timeout", HOOK_TIMEOUT, "--", path];
    let answer = ask(run, &set);
    run.note(entry, format!("{:?}", answer.status));
    if answer.status == Some(0) {
        shows(run, path);
    } else if !run.excuses(answer.begun, answer.ended) {
        let what = format!("{name} was not set: {:?}", answer.outcome);
        run.tally.find(Kind::WrongAnswer, what);
    }
    Outcome::Struck
}

fn hook_cleared(run: &Run<'_>, _: &mut Random, entry: Entry) -> Outcome {
    let _alone = run.hook.lock().unwrap();
    let answer = ask(run, &["set-on-exit-failure", "--clear"]);
    run.note(entry, format!("{:?}", answer.status));
    if answer.status == Some(0) {
        shows(run, run.daemon.path(HOOKS[0].0).to_str().unwrap());
    } else if !run.excuses(answer.begun, answer.ended) {
        let what = format!("the hook was not cleared: {:?}", answer.outcome);
        run.tally.find(Kind::WrongAnswer, what);
    }
    Outcome::Struck
}

/// Checks that an exit-failure command is the one in force.
fn shows(run: &Run<'_>, path: &str) {
    let answer = ask(run, &["set-on-exit-failure", "--show"]);
    let shown = answer.json().unwrap_or_default();
    if answer.status == Some(0) && shown["command"] != json!([path]) {
        let what = format!("{path} was set, and {shown} is in force");
        run.tally.find(Kind::WrongAnswer, what);
    }
}
