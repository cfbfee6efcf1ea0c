//! Asks for the status, the page and `check` all the time, and judges the answers.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{commands, journal::before, probers::DEADLINE, run::Run, tally::Kind};

/// The pause between two rounds.
const PACE: Duration = Duration::from_millis(200);

/// How long after a worker's death or a shortage it may be true that no worker serves.
const RECOVERY: Duration = Duration::from_secs(10);

/// Values of the status document before.
#[derive(Debug, Default)]
struct Last {
    generation: u64,
    restarts: u64,
    ended: Option<Value>,
}

/// Asks until the run is over.
pub(crate) fn poll(run: &Run<'_>) {
    let mut last = Last::default();
    for round in 0_u64.. {
        if run.is_over() {
            return;
        }
        let traffic = run.traffic.read().unwrap();
        look_at_status(run, &mut last);
        match round % 4 {
            0 => look_at_page(run, "/healthz"),
            1 => look_at_page(run, "/readyz"),
            2 => look_at_page(run, "/metrics"),
            _ => look_at_check(run),
        }
        drop(traffic);
        run.wait(PACE);
    }
}

fn look_at_status(run: &Run<'_>, last: &mut Last) {
    let answer = commands::ask(run, &["status"]);
    let Some(status) = answer.json() else {
        if answer.status == Some(1) {
            let what = format!("status failed: {}", answer.outcome.stderr);
            run.tally.find(Kind::WrongStatus, what);
        }
        return;
    };
    run.tally.looks.one();
    let names: Vec<_> = run.places.iter().map(|place| place.name).collect();
    for wrong in contradictions(&status, last, &names) {
        run.tally.find(Kind::WrongStatus, wrong);
    }
    judge_identities(run, &status, answer.begun);
    judge_end(run, &status, last);
}

/// Returns what cannot be true in a status document, or in it and the one before.
fn contradictions(status: &Value, last: &mut Last, listeners: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let empty = Vec::new();
    let all_of = |name: &str| status[name].as_array().unwrap_or(&empty);
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let serving = all_of("workers")
        .iter()
        .filter(|it| it["state"] == "serving");
    let says_serving = status["supervisor"]["state"] == "serving";
    if says_serving != (serving.count() > 0) {
        wrong.push(format!(
            "the state is {} with workers {}",
            status["supervisor"]["state"], status["workers"]
        ));
    }
    let generation = number(&status["tls"]["generation"]);
    let restarts = number(&status["restarts"]["total"]);
    if generation < last.generation || restarts < last.restarts {
        wrong.push(format!(
            "generation {generation} and {restarts} restarts after {} and {}",
            last.generation, last.restarts
        ));
    }
    (last.generation, last.restarts) = (generation, restarts);
    let newer = |it: &&Value| number(&it["generation"]) > generation;
    if let Some(worker) = all_of("workers").iter().find(newer) {
        wrong.push(format!("{worker} is newer than generation {generation}"));
    }
    for name in listeners {
        if !all_of("listeners").iter().any(|it| it["name"] == **name) {
            wrong.push(format!("the listener {name} is not told of"));
        }
    }
    wrong
}

fn judge_identities(run: &Run<'_>, status: &Value, begun: Instant) {
    for name in &run.names {
        let identities = status["tls"]["identities"].as_array();
        let told = identities.and_then(|all| all.iter().find(|it| it["name"] == **name));
        let sha256 = told
            .and_then(|it| it["sha256"].as_str())
            .unwrap_or("nothing");
        if let Some(Err(wrong)) = run.truth(name, |truth| truth.judge(sha256, begun)) {
            let what = format!("status tells of {sha256} for {name}: {wrong}");
            run.tally.find(Kind::WrongStatus, what);
        }
    }
}

/// Judges the end of the last worker in a status, if that end is new.
fn judge_end(run: &Run<'_>, status: &Value, last: &mut Last) {
    let ended = &status["restarts"]["last"];
    if ended.is_null() || last.ended.as_ref() == Some(ended) {
        return;
    }
    last.ended = Some(ended.clone());
    let now = Instant::now();
    let pid = ended["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok());
    let explained = run.deaths(|it| it.explain(pid.unwrap_or_default(), now));
    let starved = ended["kind"] == "start" && run.excuses(before(now, RECOVERY), now);
    if !explained && !starved {
        let what = format!("a worker that was left alone ended: {ended}");
        run.tally.find(Kind::LostWorker, what);
    }
}

fn look_at_check(run: &Run<'_>) {
    let answer = commands::ask(run, &["check"]);
    run.tally.looks.one();
    if !matches!(answer.status, Some(0..=2)) {
        let what = format!("check: {:#?}", answer.outcome);
        run.tally.find(Kind::WrongStatus, what);
    }
}

fn look_at_page(run: &Run<'_>, path: &str) {
    let begun = Instant::now();
    let answer = get(run, path);
    let ended = Instant::now();
    run.tally.looks.one();
    let starved = run.excuses(begun, ended);
    // A worker that is stopped for long has served no client since it was stopped.
    let weak = starved || run.deaths(|it| it.any(before(begun, RECOVERY), ended));
    match answer {
        Ok(200) => {}
        Ok(503) if path == "/readyz" && weak => {}
        Err(_) if starved && ended - begun < DEADLINE => {}
        Ok(code) => run.tally.find(Kind::WrongStatus, format!("{path}: {code}")),
        Err(error) => {
            let what = format!("{path}: {error} after {:?}", ended - begun);
            run.tally.find(Kind::HungCommand, what);
        }
    }
}

/// Asks for a page; returns the status code of the answer.
pub(crate) fn get(run: &Run<'_>, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&run.page, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.ok_or_else(|| io::Error::other(format!("no HTTP: {answer:?}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({
            "supervisor": {"state": "serving"},
            "workers": [{"state": "serving", "generation": 3}],
            "restarts": {"total": 1},
            "tls": {"generation": 3},
            "listeners": [{"name": "plain"}],
        })
    }

    fn wrongs(status: &Value) -> usize {
        let mut last = Last {
            generation: 3,
            restarts: 1,
            ended: None,
        };
        contradictions(status, &mut last, &["plain"]).len()
    }

    #[test]
    fn a_true_status_contradicts_nothing() {
        assert_eq!(wrongs(&status()), 0);
    }

    #[test]
    fn each_contradiction_is_found() {
        for (pointer, value) in [
            ("/supervisor/state", json!("degraded")),
            ("/workers/0/state", json!("waiting")),
            ("/workers/0/generation", json!(4)),
            ("/restarts/total", json!(0)),
            ("/listeners", json!([])),
        ] {
            let mut status = status();
            *status.pointer_mut(pointer).unwrap() = value;
            assert_eq!(wrongs(&status), 1, "{pointer}");
        }
    }

    #[test]
    fn a_generation_that_goes_back_is_found() {
        let mut status = status();
        status["tls"]["generation"] = json!(2);
        status["workers"][0]["generation"] = json!(2);
        assert_eq!(wrongs(&status), 1);
    }
}
