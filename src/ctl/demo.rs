//! `demo`: what a reload and a crash do, seen by a real client.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Serialize;

use super::{
    CtlError, Output, pause,
    render::short,
    stage::{DemoError, Stage},
};
use crate::{
    cli::{exit, proxyctl::Proxyctl},
    control::{Request, Response, Status, WorkerState},
    facts::{Partial, Reads},
    tls::probe::Session,
};

const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// Something that was done and what was seen then.
#[derive(Debug, Serialize)]
struct Step {
    did: &'static str,
    saw: String,
}

/// The demonstration, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    steps: Vec<Step>,
    error: Option<String>,
    log: Vec<String>,
}

/// Plays the demonstration and tells how it went.
pub(super) fn run(arguments: &Proxyctl, output: &mut Output) -> Result<u8, CtlError> {
    let mut stage = Stage::open(arguments.timeout())?;
    let mut teller = Teller {
        output,
        steps: Vec::new(),
    };
    let played = play(&mut stage, &mut teller);
    let failed = played.is_err();
    let report = Report {
        ok: !failed,
        steps: teller.steps,
        log: if failed { stage.log_tail() } else { Vec::new() },
        error: played.as_ref().err().map(ToString::to_string),
    };
    drop(stage);
    let done = "The daemon has ended and its folder is gone.\n";
    output.answer(&report, |_| done.to_owned())?;
    if let Err(error) = played {
        let lines = if output.json { &[][..] } else { &report.log };
        for line in lines {
            output.log(line);
        }
        return Err(error.into());
    }
    Ok(exit::DONE)
}

/// Tells each step as it happens, and remembers it.
struct Teller<'a> {
    output: &'a mut Output,
    steps: Vec<Step>,
}

impl Teller<'_> {
    fn tell(&mut self, did: &'static str, saw: String) -> Result<(), DemoError> {
        if !self.output.json {
            let line = format!("{}. {did}\n   {saw}\n", self.steps.len() + 1);
            let told = self.output.text(&line);
            told.map_err(|source| DemoError::Prepare {
                step: "tell what happens",
                source,
            })?;
        }
        self.steps.push(Step { did, saw });
        Ok(())
    }
}

fn play(stage: &mut Stage, teller: &mut Teller<'_>) -> Result<(), DemoError> {
    let status = stage.serving()?;
    let workers = status.workers.len();
    let pid = status.supervisor.pid;
    let saw = format!("supervisor {pid} and {workers} workers serve; certificates were created");
    teller.tell("Start a daemon in front of an echoing backend", saw)?;
    let mut session = stage.connect(&status)?;
    session.echo("first")?;
    let saw = format!(
        "{} with certificate {}",
        session.shown().version,
        fingerprint(&session)
    );
    teller.tell("Connect a client", saw)?;
    reload(stage, teller, &status, &mut session)?;
    crash(stage, teller, &mut session)
}

fn reload(
    stage: &mut Stage,
    teller: &mut Teller<'_>,
    status: &Status,
    old: &mut Session,
) -> Result<(), DemoError> {
    stage.issue()?;
    let Response::Reloaded(report) =
        stage.ask(&Request::ReloadTls(Partial::Allow, Reads::Changed))?
    else {
        return Err(DemoError::Wrong(
            "the reload was answered with something else",
        ));
    };
    let (generation, workers) = (report.generation, report.workers);
    let saw = format!("generation {generation} is served by {workers} workers");
    teller.tell("Put a new certificate on disk and reload", saw)?;
    let mut new = stage.connect(status)?;
    new.echo("second")?;
    if new.shown().sha256 == old.shown().sha256 {
        return Err(DemoError::Wrong(
            "a new client still sees the old certificate",
        ));
    }
    teller.tell(
        "Connect a new client",
        format!("certificate {}", fingerprint(&new)),
    )?;
    old.echo("still here")?;
    let saw = format!("it still echoes, under certificate {}", fingerprint(old));
    teller.tell("Use the session from before the reload", saw)?;
    stage.living()
}

fn crash(stage: &mut Stage, teller: &mut Teller<'_>, old: &mut Session) -> Result<(), DemoError> {
    let status = until_kept(stage)?;
    stage.issue()?;
    let newest = on_disk(stage)?;
    let victim = victim(&status).ok_or(DemoError::Wrong("no worker serves"))?;
    let pid = Pid::from_raw(victim.cast_signed());
    let saw = format!("certificate {} waits on disk", short(&newest));
    teller.tell("Put another certificate on disk and do not reload", saw)?;
    kill(pid, Signal::SIGKILL).map_err(|error| DemoError::Prepare {
        step: "kill a worker",
        source: error.into(),
    })?;
    let gap = until_served(stage, &status, &newest)?;
    teller.tell(
        "Kill the worker that serves the session, with signal 9",
        gap.text(victim, &newest),
    )?;
    old.echo("and still here")?;
    let status = stage.serving()?;
    if status.sessions.taken_over_total == 0 {
        return Err(DemoError::Wrong(
            "the session of the worker that was killed was not taken over",
        ));
    }
    let saw = format!(
        "it still echoes, in another worker, under certificate {}",
        fingerprint(old)
    );
    teller.tell("Use the session again", saw)?;
    if status.restarts.total == 0 {
        return Err(DemoError::Wrong("the status does not tell of the restart"));
    }
    let (restarts, generation) = (status.restarts.total, status.tls.generation);
    let trigger = status.tls.trigger;
    let saw = format!(
        "restarts: {restarts}; generation {generation}, loaded because of: {trigger}; all workers serve"
    );
    teller.tell("Ask for the status", saw)
}

/// Returns the status once the session that is open outlives its worker.
fn until_kept(stage: &mut Stage) -> Result<Status, DemoError> {
    let start = Instant::now();
    while start.elapsed() < stage.timeout() {
        let status = stage.serving()?;
        if status.sessions.kept > 0 && status.workers.iter().any(|it| it.connections > 0) {
            return Ok(status);
        }
        pause(BETWEEN_TRIES);
    }
    Err(DemoError::Wrong("the session is not kept"))
}

/// What clients noticed of a crash.
struct Gap {
    served_after: Duration,
    slowest: Duration,
    tries: u32,
    failures: u32,
}

impl Gap {
    fn text(&self, victim: u32, newest: &str) -> String {
        format!(
            "worker {victim} died; certificate {} was served after {} ms; \
             of {} handshakes meanwhile {} failed, the slowest took {} ms",
            short(newest),
            self.served_after.as_millis(),
            self.tries,
            self.failures,
            self.slowest.as_millis(),
        )
    }
}

/// Connects again and again until the newest certificate is presented.
fn until_served(stage: &mut Stage, status: &Status, newest: &str) -> Result<Gap, DemoError> {
    let start = Instant::now();
    let mut gap = Gap {
        served_after: Duration::ZERO,
        slowest: Duration::ZERO,
        tries: 0,
        failures: 0,
    };
    while start.elapsed() < stage.timeout() {
        stage.living()?;
        let try_start = Instant::now();
        let session = stage.connect(status);
        gap.tries += 1;
        gap.slowest = gap.slowest.max(try_start.elapsed());
        match session {
            Ok(session) if session.shown().sha256 == newest => {
                gap.served_after = start.elapsed();
                return Ok(gap);
            }
            Ok(_) => {}
            Err(_) => gap.failures += 1,
        }
        pause(BETWEEN_TRIES);
    }
    Err(DemoError::Wrong(
        "the successor does not present the newest certificate",
    ))
}

/// Returns the fingerprint of the certificate on disk, as the daemon reads it.
fn on_disk(stage: &Stage) -> Result<String, DemoError> {
    let Response::Verified(report) = stage.ask(&Request::Verify)? else {
        return Err(DemoError::Wrong(
            "the dry run was answered with something else",
        ));
    };
    let disk = report
        .identities
        .into_iter()
        .find_map(|identity| identity.disk);
    disk.map(|facts| facts.sha256.clone())
        .ok_or(DemoError::Wrong("the certificate on disk would not load"))
}

/// Returns the worker that serves the most sessions.
fn victim(status: &Status) -> Option<u32> {
    let workers = status.workers.iter();
    let serving = workers.filter(|worker| worker.state == WorkerState::Serving);
    serving.max_by_key(|worker| worker.connections)?.pid
}

fn fingerprint(session: &Session) -> &str {
    short(&session.shown().sha256)
}
