//! Runs of `proxyctl` with a deadline, and whether their answers can be true.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    disk::State,
    judge::{self, Question},
    run::Run,
    tally::Kind,
};
use crate::support::program::{End, Outcome, clean_command, run as run_program};

/// The timeout that `proxyctl` is given, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a run of `proxyctl` may take.
const DEADLINE: Duration = Duration::from_secs(40);

/// The exit statuses of `proxyctl` that say that no daemon answered.
const NO_ANSWER: [i32; 2] = [3, 4];

/// An answer.
pub(crate) struct Answer {
    /// The output and the exit of `proxyctl`.
    pub(crate) outcome: Outcome,
    /// Its exit status; `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    /// When `proxyctl` was started.
    pub(crate) begun: Instant,
    /// When `proxyctl` had ended.
    pub(crate) ended: Instant,
}

impl Answer {
    /// Returns the JSON document that was printed.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.outcome.stdout).ok()
    }
}

/// Runs a command; notes a finding if there is no answer in time.
pub(crate) fn ask(run: &Run<'_>, arguments: &[&str]) -> Answer {
    let mut command = clean_command(env!("CARGO_BIN_EXE_proxyctl"));
    command
        .arg("--socket")
        .arg(run.daemon.socket())
        .args(["--json", "--timeout", &format!("{}s", PATIENCE.as_secs())])
        .args(arguments);
    let begun = Instant::now();
    let outcome = run_program(command, DEADLINE);
    let ended = Instant::now();
    run.tally.commands.one();
    let status = match outcome.end {
        End::Exit(status) => Some(status),
        End::Signal(_) | End::Deadline => None,
    };
    let is_check = arguments.first() == Some(&"check");
    let silent = status.is_none_or(|it| !is_check && NO_ANSWER.contains(&it));
    if silent || ended - begun >= PATIENCE {
        let (took, stderr) = (ended - begun, &outcome.stderr);
        let what = format!("{arguments:?} after {took:?}: {:?}: {stderr}", outcome.end);
        run.tally.find(Kind::HungCommand, what);
    }
    Answer {
        outcome,
        status,
        begun,
        ended,
    }
}

/// Asks for a load or a dry run; judges the answer, and notes which certificates it confirms.
pub(crate) fn load(run: &Run<'_>, question: Question, options: &[&str]) -> Answer {
    let word = match question {
        Question::ReloadTls => "reload-tls",
        Question::Reload => "reload",
        Question::Verify => "verify",
    };
    let answer = ask(run, &[&[word], options].concat());
    let (begun, ended) = (answer.begun, answer.ended);
    let Some(status) = answer.status else {
        return answer;
    };
    let excused = run.excuses(begun, ended) || ended - begun >= PATIENCE;
    let judged = run.disk(|disk| judge::judge(question, (begun, ended), status, disk, excused));
    if let Err(wrong) = judged {
        let what = format!("{wrong}: {}", answer.outcome.stderr);
        run.tally.find(Kind::WrongAnswer, what);
    }
    if status == 0 && question != Question::Verify {
        confirm(run, &answer);
    }
    answer
}

/// Notes that the certificates in a reload's report are served from now on.
fn confirm(run: &Run<'_>, answer: &Answer) {
    let report = answer.json().unwrap_or_default();
    let changes = report["identities"].as_array().cloned().unwrap_or_default();
    for identity in &run.names {
        let change = changes.iter().find(|it| it["name"] == **identity);
        let told = change.and_then(|it| it["new"]["sha256"].as_str());
        let number = told.and_then(|sha256| run.truth(identity, |it| it.number(sha256))?);
        let Some(number) = number else {
            let what = format!("a reload's report tells of {identity}: {told:?}");
            run.tally.find(Kind::WrongAnswer, what);
            continue;
        };
        let disk = run.disk(|it| it.throughout(identity, answer.begun, answer.ended));
        if let Some(State::Good(least)) = disk
            && number < least
        {
            let what = format!("a reload took number {number} of {identity}; {least} was on disk");
            run.tally.find(Kind::WrongAnswer, what);
        }
        run.truth(identity, |it| it.confirm(answer.ended, number));
    }
}
